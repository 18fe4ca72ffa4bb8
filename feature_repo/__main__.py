"""`python -m feature_repo`: apply, plan, materialize, serve, token, catalogue, nearest; `intentstore
features` has the same verbs out of this file. The only file here that reads the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace as Arguments
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.contract import cli
from feature_repo.contract.lazy import lazy

if TYPE_CHECKING:
    from feature_repo import commands
else:
    commands = lazy("feature_repo.commands")

app = cli.program("The feature store: registry, online store, catalogue, HTTP.")
Access = Annotated[
    Path | None,
    typer.Option("--access", metavar="FILE", help="file of tokens and rights; none = HOME/feast/access.toml"),
]


class Kind(StrEnum):
    """What `nearest` looks among."""

    items = "items"
    sessions = "sessions"


@app.callback()
def _root(context: typer.Context, config: cli.Config = None, home: cli.Home = None) -> None:
    context.obj = {"config": config, "home": home}


@app.command(
    "plan",
    help=(
        "Show what the definitions would change in the registry; exit code 1 when a versioned service "
        "would break."
    ),
    epilog="Example: intentstore features plan --json",
)
def _plan_verb(
    context: typer.Context,
    config: cli.Config = None,
    home: cli.Home = None,
    json: cli.Json = False,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="FILE",
            help=(
                "a committed snapshot (feature_repo/services.json) to compare with in place of the registry"
            ),
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="then note the definitions in that snapshot, unless a service would break",
        ),
    ] = False,
) -> int:
    return _run(context, "plan", config, home, json=json, against=against, update=update)


@app.command(
    "apply",
    help="Write the definitions into the registry, after the same check as plan.",
    epilog="Example: intentstore features apply",
)
def _apply_verb(
    context: typer.Context,
    config: cli.Config = None,
    home: cli.Home = None,
    break_services: Annotated[
        bool, typer.Option("--break-services", help="apply even what breaks a versioned service")
    ] = False,
    json: cli.Json = False,
) -> int:
    return _run(context, "apply", config, home, break_services=break_services, json=json)


@app.command(
    "materialize",
    help="Bring the online store up to the Delta tables; one line of JSON a view.",
    epilog="Example: intentstore features materialize --views session_features,item_popularity",
)
def _materialize_verb(
    context: typer.Context,
    config: cli.Config = None,
    home: cli.Home = None,
    views: Annotated[
        str | None,
        typer.Option("--views", metavar="VIEW,VIEW", help="none = all that have a table"),
    ] = None,
    full: Annotated[
        bool,
        typer.Option("--full", help="write every latest row again, not only what is new"),
    ] = False,
    json: cli.Json = False,
) -> int:
    return _run(context, "materialize", config, home, views=_names(views), full=full, json=json)


@app.command(
    "catalogue",
    help="Write the static catalogue (index.html and catalogue.json).",
    epilog="Example: intentstore features catalogue --out public/features",
)
def _catalogue_verb(
    context: typer.Context,
    config: cli.Config = None,
    home: cli.Home = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="folder; none = HOME/catalogue")
    ] = None,
    no_statistics: Annotated[
        bool,
        typer.Option(
            "--no-statistics",
            help="from the registry alone, without reading tables (needs no Spark)",
        ),
    ] = False,
    json: cli.Json = False,
) -> int:
    return _run(context, "catalogue", config, home, out=out, no_statistics=no_statistics, json=json)


@app.command(
    "serve",
    help="Serve features over HTTP: POST /get-online-features, POST /nearest, GET /health.",
    epilog="Example: intentstore features serve --port 6566 --workers 2",
)
def _serve_verb(
    context: typer.Context,
    config: cli.Config = None,
    home: cli.Home = None,
    host: Annotated[str | None, typer.Option("--host", help="address to listen on")] = None,
    port: Annotated[int | None, typer.Option("--port", help="port to listen on")] = None,
    workers: Annotated[int, typer.Option("--workers", help="processes")] = 2,
    access: Access = None,
    allow_writes: Annotated[
        bool,
        typer.Option("--allow-writes", help="let tokens that may write use /push and /write-to-online-store"),
    ] = False,
) -> int:
    return _run(
        context,
        "serve",
        config,
        home,
        host=host,
        port=port,
        workers=workers,
        access=access,
        allow_writes=allow_writes,
    )


@app.command(
    "token",
    help="Make a token for `serve` and print it once.",
    epilog="Example: intentstore features token ads-team --services session_ranker_v1",
)
def _token_verb(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="who holds it")],
    services: Annotated[
        str,
        typer.Option("--services", metavar="NAME,NAME", help="service,service or * for all"),
    ],
    config: cli.Config = None,
    home: cli.Home = None,
    write: Annotated[bool, typer.Option("--write", help="may write too")] = False,
    access: Access = None,
    json: cli.Json = False,
) -> int:
    return _run(
        context,
        "token",
        config,
        home,
        name=name,
        services=_names(services),
        write=write,
        access=access,
        json=json,
    )


@app.command(
    "nearest",
    help="Print the items, or the sessions, nearest to a text.",
    epilog="Example: intentstore features nearest 'running shoes' -k 5 --category sport",
)
def _nearest_verb(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="what to look for")],
    config: cli.Config = None,
    home: cli.Home = None,
    k: Annotated[int, typer.Option("-k", help="how many")] = 10,
    of: Annotated[Kind, typer.Option("--of", help="what to look among")] = Kind.items,
    category: Annotated[
        str | None,
        typer.Option("--category", help="only items of this category, or with it as a whole word of theirs"),
    ] = None,
    words: Annotated[str | None, typer.Option("--words", help="only entries whose text holds this")] = None,
    json: cli.Json = False,
) -> int:
    return _run(
        context,
        "nearest",
        config,
        home,
        text=text,
        k=k,
        of=of.value,
        category=category,
        words=words,
        json=json,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        See `feature_repo.contract.cli`.
    """
    words = sys.argv[1:] if arguments is None else arguments
    return cli.run(cli.command_of(app), words, "python -m feature_repo", "feature_repo {verb}")


def _run(
    context: typer.Context,
    verb: str,
    config: Path | None,
    home: str | None,
    **options: Any,
) -> int:
    before = context.obj or {}  # options that stood before the verb
    settings = cli.settings_of(config or before.get("config"), home=home or before.get("home"))

    try:
        return int(getattr(commands, verb)(settings, Arguments(**options)))
    except ModuleNotFoundError:
        raise  # told by its extra
    except Exception as error:  # noqa: BLE001 - the last resort of an entry point: one line, never an empty one
        known = isinstance(error, (ValueError, RuntimeError, OSError)) and str(error).strip()
        line = str(error) if known else f"{type(error).__name__} {error}"
        raise cli.VerbError(" ".join(line.split())) from None


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


if __name__ == "__main__":
    sys.exit(main())
