"""``python -m dagster_project demo | ui``: the whole path through Dagster, and the graph in a browser. Entry
point: reads the environment.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from feature_repo.contract.settings import Settings, SettingsError, load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one word of the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; none = of this process.

    Returns
    -------
    int
        0 all went well; 1 something failed, after one line that says what; 2 bad arguments; 130 interrupted.
    """
    given = _parser().parse_args(arguments)
    try:
        settings = load_settings(given.config, os.environ, {"home": given.home})
    except SettingsError as error:
        print(f"dagster_project {given.word}: {error}", file=sys.stderr)
        return 2
    try:
        return _run(settings, given)
    except KeyboardInterrupt:
        print("\ninterrupted; tables are at their last whole version, run it again to go on", file=sys.stderr)
        return 130


def _run(settings: Settings, given: argparse.Namespace) -> int:
    config = str(given.config.absolute()) if given.config else None
    if given.word == "ui":
        from dagster_project.instance import ui

        return ui.run(settings, host=given.host, port=given.port, config=config)
    from dagster_project.demo.demo import run

    return run(settings, config=config, max_clicks=given.max_clicks)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project", description="IntentStore through Dagster."
    )
    words = parser.add_subparsers(dest="word", required=True, metavar="demo|ui")
    demo = words.add_parser("demo", help="the whole path on real clicks, with a summary")
    demo.add_argument(
        "--max-clicks", type=int, default=0, help="replay at most so many held-out clicks; 0 = all"
    )
    ui = words.add_parser("ui", help="Dagster's graph on the state of the demo")
    ui.add_argument("--host", default="127.0.0.1")
    ui.add_argument("--port", type=int, default=3000)
    for word in (demo, ui):
        word.add_argument("--config", type=Path, help="settings file; none = intentstore.toml of this folder")
        word.add_argument("--home", help="folder of everything made at run time; none = as the settings say")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
