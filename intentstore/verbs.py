"""The verbs that belong to no part: `init` and `doctor`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feature_repo.contract import cli
from feature_repo.contract.lazy import lazy

if TYPE_CHECKING:
    from feature_repo.contract.dataset import folder as dataset
    from intentstore import own_data
    from intentstore.doctor import all as doctor
else:
    dataset = lazy("feature_repo.contract.dataset.folder")
    own_data = lazy("intentstore.own_data")
    doctor = lazy("intentstore.doctor.all")

app = cli.program("Begin, and find out what is wrong.")


@app.command(
    "init",
    help="look at your data and write a commented settings file for it",
    epilog="Example: intentstore init data/shop",
)
def _init(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="folder with clicks.* or sequences.txt, and optional items.*"),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="settings file to write")] = Path(
        "intentstore.toml"
    ),
    force: Annotated[bool, typer.Option("--force", help="replace a settings file that is there")] = False,
    json: cli.Json = False,
) -> int:
    if out.exists() and not force:
        raise cli.VerbError(
            f"'{out}' exists already; name another with --out, or replace it with --force", cli.WRONG
        )
    from datetime import UTC, datetime

    try:
        found = own_data.look(folder, datetime.now(UTC))
        if not found.clicks:
            raise dataset.DatasetFolderError(
                f"'{folder}' has no usable click ({found.refused.summary()}); correct clicks.*"
            )
        text = own_data.settings_text(found, f".intentstore/{folder.absolute().name}")
        temporary = out.with_name(f".{out.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(out)
    except dataset.DatasetFolderError as error:
        raise cli.VerbError(" ".join(str(error).split()), cli.WRONG) from None
    except OSError as error:
        raise cli.VerbError(
            f"'{out}' cannot be written ({error.strerror}); name another with --out"
        ) from None
    config = "" if out == Path("intentstore.toml") else f" --config {shlex.quote(str(out))}"
    following = f"intentstore demo{config}"
    lines = [*found.lines(), "", f"written: {out}", f"next: {following}"]
    cli.show({**found.to_dict(), "written": str(out), "next": following}, "\n".join(lines), json)
    return cli.DONE


@app.command(
    "doctor",
    help="look at everything that a run needs; each line says ok, warning or error and the remedy",
    epilog="Example: intentstore doctor --json",
)
def _doctor(config: cli.Config = None, home: cli.Home = None, json: cli.Json = False) -> int:
    settings = cli.settings_of(config, home=home)

    checks = doctor.examine(settings)
    cli.show([check.to_dict() for check in checks], "\n".join(check.to_line() for check in checks), json)
    return cli.FAILED if any(check.state == "error" for check in checks) else cli.DONE
