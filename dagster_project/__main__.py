"""``python -m dagster_project demo | ui``: the whole path through Dagster, and the graph in a browser; also
the models that serve. `intentstore` has the same verbs out of this file. Reads the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.contract import cli
from feature_repo.contract.lazy import lazy
from model.kernels.store import keep_under

if TYPE_CHECKING:
    from dagster_project.demo import demo
    from dagster_project.instance import ui
    from dagster_project.models import promotion
    from feature_repo.contract.settings import Settings
    from model.recommender import artifact
else:
    demo = lazy("dagster_project.demo.demo")
    ui = lazy("dagster_project.instance.ui")
    promotion = lazy("dagster_project.models.promotion")
    artifact = lazy("model.recommender.artifact")

app = cli.program("IntentStore through Dagster.")


@app.command(
    "demo",
    help="the whole path on real clicks, with a summary",
    epilog="Example: intentstore demo --max-clicks 500",
)
def _demo(
    config: cli.Config = None,
    home: cli.Home = None,
    max_clicks: Annotated[
        int, typer.Option("--max-clicks", help="replay at most so many held-out clicks; 0 = all")
    ] = 0,
) -> int:
    settings = cli.settings_of(config, home=home)
    keep_under(settings.home)
    cli.require("dagster", "pyspark", "torch", "feast", "rocksdict")  # the demo runs every part

    return _until_interrupted(lambda: demo.run(settings, config=_absolute(config), max_clicks=max_clicks))


@app.command(
    "ui",
    help="Dagster's graph on the state of the demo",
    epilog="Example: intentstore ui --port 3000",
)
def _ui(
    config: cli.Config = None,
    home: cli.Home = None,
    host: Annotated[str, typer.Option("--host", help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="port to listen on")] = 3000,
) -> int:
    settings = cli.settings_of(config, home=home)
    keep_under(settings.home)
    return _until_interrupted(lambda: ui.run(settings, host=host, port=port, config=_absolute(config)))


@app.command(
    "promote",
    help="let a model version serve from now on; consumer and HTTP side pick it up without a restart",
    epilog="Example: intentstore promote 20260301T120000 --why 'better on new items'",
)
def _promote(
    version: Annotated[str, typer.Argument(help="name of a folder of HOME/models")],
    config: cli.Config = None,
    home: cli.Home = None,
    why: Annotated[str, typer.Option("--why", help="kept in the record of promotions")] = "by hand",
    json: cli.Json = False,
) -> int:
    return _switch(cli.settings_of(config, home=home), version, why, json)


@app.command(
    "rollback",
    help="let the model serve that served before, or the one named",
    epilog="Example: intentstore rollback",
)
def _rollback(
    version: Annotated[
        str | None, typer.Argument(help="name of a folder of HOME/models; none = the one before")
    ] = None,
    config: cli.Config = None,
    home: cli.Home = None,
    json: cli.Json = False,
) -> int:
    return _switch(cli.settings_of(config, home=home), version, "rollback by hand", json)


def _switch(settings: Settings, version: str | None, why: str, json: bool) -> int:
    try:
        chosen = version or promotion.previous(settings)
        changed = promotion.promote(settings, chosen, why)
    except (promotion.PromotionError, artifact.ArtifactError) as error:
        raise cli.VerbError(str(error)) from None
    text = f"{chosen} serves now" if changed else f"{chosen} served already"
    cli.show({"version": chosen, "changed": changed}, text, json)
    return cli.DONE


def _absolute(config: Path | None) -> str | None:
    return str(config.absolute()) if config else None


def _until_interrupted(run: Callable[[], int]) -> int:
    try:
        return run()
    except KeyboardInterrupt:
        line = "interrupted; tables are at their last whole version, run it again to go on"
        raise cli.VerbError(line, cli.INTERRUPTED) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one word of the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; none = of this process.

    Returns
    -------
    int
        See `feature_repo.contract.cli`.
    """
    words = sys.argv[1:] if arguments is None else arguments
    return cli.run(cli.command_of(app), words, "python -m dagster_project", "dagster_project {verb}")


if __name__ == "__main__":
    raise SystemExit(main())
