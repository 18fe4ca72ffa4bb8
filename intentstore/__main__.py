"""``intentstore VERB``: every verb in the order of a user's day. The verbs of the parts are theirs, with
options, help and example; here stands only what each is called. Imports a part when its verb is used.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from feature_repo.contract import cli
from feature_repo.contract.version import version

if TYPE_CHECKING:
    Command = Any


class Verb(NamedTuple):
    """Where a verb comes from: the module that has `app`, and its name there; empty = the whole program."""

    module: str
    name: str


VERBS: dict[str, Verb] = {
    "init": Verb("intentstore.verbs", "init"),
    "demo": Verb("dagster_project.__main__", "demo"),
    "up": Verb("streaming.__main__", "up"),
    "down": Verb("streaming.__main__", "down"),
    "ingest": Verb("spark_jobs.__main__", "ingest"),
    "intents": Verb("spark_jobs.__main__", "intents"),
    "job": Verb("spark_jobs.__main__", ""),
    "features": Verb("feature_repo.__main__", ""),
    "train": Verb("model.__main__", "benchmark"),
    "study": Verb("model.__main__", "study"),
    "recommend": Verb("model.__main__", "recommend"),
    "promote": Verb("dagster_project.__main__", "promote"),
    "rollback": Verb("dagster_project.__main__", "rollback"),
    "consume": Verb("streaming.__main__", "consume"),
    "answer-intents": Verb("streaming.__main__", "intents"),
    "repartition": Verb("streaming.__main__", "repartition"),
    "serve": Verb("streaming.__main__", "serve"),
    "lag": Verb("streaming.__main__", "lag"),
    "dlq": Verb("streaming.__main__", "dlq"),
    "replay": Verb("spark_jobs.__main__", "replay"),
    "parity": Verb("spark_jobs.__main__", "parity"),
    "quality": Verb("spark_jobs.__main__", "live-quality"),
    "ui": Verb("dagster_project.__main__", "ui"),
    "doctor": Verb("intentstore.verbs", "doctor"),
}
HELP = """\
Click streams in, next-item recommendations with readable intents out.

A first day: intentstore doctor, intentstore demo. With your own data: intentstore init DIR.

Exit codes: 0 done; 1 failed, or the answer is no; 2 words, settings or input wrong; 130 interrupted.
"""


class _Commands(Mapping[str, "Command"]):
    """The verbs, each made when it is asked for."""

    def __init__(self) -> None:
        self._made: dict[str, Command] = {}

    def __getitem__(self, name: str) -> Command:
        verb = VERBS[name]
        if name not in self._made:
            whole = cli.command_of(importlib.import_module(verb.module).app)
            command: Command = whole.commands[verb.name] if verb.name else whole
            command.name = name
            self._made[name] = command
        return self._made[name]

    def __iter__(self) -> Any:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)

    def __contains__(self, name: object) -> bool:
        return name in VERBS


class _Group(typer.core.TyperGroup):
    """The root command, whose verbs are imported when they are used."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]

    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:
        return self.commands.get(cmd_name)


app = typer.Typer(
    cls=_Group,
    help=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback()
def _root(
    verbose: cli.Verbose = False,
    version: Annotated[bool, typer.Option("--version", help="show the version and leave")] = False,
) -> None:
    cli.verbose.set(verbose)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; none = of this process.

    Returns
    -------
    int
        See `feature_repo.contract.cli`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words == ["--version"]:
        print(version())
        return cli.DONE
    command = cli.command_of(app)
    if "_INTENTSTORE_COMPLETE" in os.environ:  # the shell asks what may come next
        command.main(args=words, prog_name="intentstore")
    _prepare_children()
    return cli.run(command, words, "intentstore")


def _prepare_children() -> None:
    """Let the processes that verbs start (``python -m ...``) import this installation, never a folder of the
    user's that happens to be called ``model`` or ``streaming``.
    """
    root = str(Path(__file__).resolve().parents[1])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ["PYTHONSAFEPATH"] = "1"
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, paths)])


if __name__ == "__main__":
    raise SystemExit(main())
