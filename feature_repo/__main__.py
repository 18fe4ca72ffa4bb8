"""`python -m feature_repo`: apply, plan, materialize, serve, token, catalogue, nearest. The only file here
that reads the environment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from feature_repo.contract.settings import Settings, SettingsError, load_settings

Arguments = argparse.Namespace
Command = Callable[[str, Any, str], argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0, or 1 after one clear line on standard error.
    """
    chosen = _parser().parse_args(arguments)
    try:
        settings = load_settings(chosen.config, os.environ, {"home": chosen.home})
        return int(chosen.run(settings, chosen) or 0)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the last resort of an entry point: one line, never an empty one
        known = isinstance(error, (ValueError, RuntimeError, SettingsError, OSError)) and str(error).strip()
        line = str(error) if known else f"{type(error).__name__} {error}"
        print(f"feature_repo {chosen.command}: {' '.join(line.split())}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m feature_repo",
        description="The feature store: registry, online store, catalogue, HTTP.",
    )
    parser.add_argument(
        "--config", type=Path, help="settings file; none = intentstore.toml where there is one"
    )
    parser.add_argument("--home", help="folder of run-time files; none = the settings'")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    _registry_commands(command)
    _serving_commands(command)
    return parser


def _registry_commands(command: Command) -> None:
    plan = command(
        "plan",
        _plan,
        (
            "Show what the definitions would change in the registry; exit code 1 when a versioned service "
            "would break."
        ),
    )
    plan.add_argument("--json", action="store_true")
    plan.add_argument(
        "--against",
        type=Path,
        help="a committed snapshot (feature_repo/services.json) to compare with in place of the registry",
    )
    plan.add_argument(
        "--update",
        action="store_true",
        help="then note the definitions in that snapshot, unless a service would break",
    )
    apply = command("apply", _apply, "Write the definitions into the registry, after the same check as plan.")
    apply.add_argument(
        "--break-services", action="store_true", help="apply even what breaks a versioned service"
    )
    materialize = command("materialize", _materialize, "Bring the online store up to the Delta tables.")
    materialize.add_argument("--views", type=_names, help="view,view; none = all that have a table")
    materialize.add_argument(
        "--full", action="store_true", help="write every latest row again, not only what is new"
    )
    catalogue = command(
        "catalogue", _catalogue, "Write the static catalogue (index.html and catalogue.json)."
    )
    catalogue.add_argument("--out", type=Path, help="folder; none = HOME/catalogue")
    catalogue.add_argument(
        "--no-statistics",
        action="store_true",
        help="from the registry alone, without reading tables (needs no Spark)",
    )


def _serving_commands(command: Command) -> None:
    serve = command(
        "serve", _serve, "Serve features over HTTP: POST /get-online-features, POST /nearest, GET /health."
    )
    serve.add_argument("--host")
    serve.add_argument("--port", type=int)
    serve.add_argument("--workers", type=int, default=2)
    serve.add_argument("--access", type=Path, help="file of tokens and rights; none = HOME/feast/access.toml")
    serve.add_argument(
        "--allow-writes",
        action="store_true",
        help="let tokens that may write use /push and /write-to-online-store",
    )
    token = command("token", _token, "Make a token for `serve` and print it once.")
    token.add_argument("name", help="who holds it")
    token.add_argument("--services", type=_names, required=True, help="service,service or * for all")
    token.add_argument("--write", action="store_true")
    token.add_argument("--access", type=Path)
    nearest = command("nearest", _nearest, "Print the items, or the sessions, nearest to a text.")
    nearest.add_argument("text")
    nearest.add_argument("-k", type=int, default=10)
    nearest.add_argument("--of", choices=("items", "sessions"), default="items")
    nearest.add_argument(
        "--category", help="only items of this category, or with it as a whole word of theirs"
    )
    nearest.add_argument("--words", help="only entries whose text holds this")


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _plan(settings: Settings, chosen: Arguments) -> int:
    from feature_repo.registry import store

    store.quiet()  # before the definitions' first import of Feast
    from feature_repo import definitions
    from feature_repo.registry import plan

    defined, file = plan.shape_of(definitions.OBJECTS), chosen.against
    if chosen.update and file is None:
        raise plan.SnapshotError("--update needs --against FILE: the snapshot to write")
    if file is None:
        before = plan.shape_of_registry(store.feature_store(settings))
    else:
        before = plan.shape_of([]) if chosen.update and not file.exists() else plan.read_snapshot(file)
    changes = plan.compare(before, defined)
    if chosen.json:
        print(json.dumps(plan.as_rows(changes)))
    else:
        print("\n".join(map(str, changes)) or "no changes")
        if file is None and not before.views:
            print("nothing is applied yet; `python -m feature_repo apply` registers this", file=sys.stderr)
    plan.refuse_breaking(changes)
    if chosen.update:
        plan.write_snapshot(file, defined)
    return 0


def _apply(settings: Settings, chosen: Arguments) -> int:
    from feature_repo.registry import store

    store.quiet()  # before the definitions' first import of Feast
    from feature_repo import definitions
    from feature_repo.registry import plan

    changes = plan.compare(
        plan.shape_of_registry(store.feature_store(settings)), plan.shape_of(definitions.OBJECTS)
    )
    if not chosen.break_services:
        plan.refuse_breaking(changes)
    store.apply(settings)
    print(f"applied {len(changes)} change(s) to the registry of {settings.home}")
    return 0


def _materialize(settings: Settings, chosen: Arguments) -> int:
    from feature_repo.registry.materialize import materialize

    for done in materialize(settings, _spark(settings), views=chosen.views, full=chosen.full):
        print(json.dumps(asdict(done)))
    return 0


def _serve(settings: Settings, chosen: Arguments) -> int:
    from feature_repo.serving.app import ServeOptions, serve

    host, port = chosen.host or settings.http.host, settings.http.port if chosen.port is None else chosen.port
    serve(settings, ServeOptions(host, port, chosen.workers, _access(settings, chosen), chosen.allow_writes))
    return 0


def _token(settings: Settings, chosen: Arguments) -> int:
    from feature_repo.serving.access import add_token

    print(add_token(_access(settings, chosen), chosen.name, chosen.services, chosen.write))
    return 0


def _catalogue(settings: Settings, chosen: Arguments) -> int:
    from feature_repo.catalogue.build import write_catalogue

    print(
        write_catalogue(
            settings,
            chosen.out or settings.home / "catalogue",
            None if chosen.no_statistics else _spark(settings),
        )
    )
    return 0


def _nearest(settings: Settings, chosen: Arguments) -> int:
    from feature_repo.registry.store import applied_store
    from feature_repo.serving.nearest import Neighbourhood

    neighbourhood = Neighbourhood(settings, applied_store(settings))
    for found in neighbourhood.nearest(
        chosen.text, chosen.k, of=chosen.of, words=chosen.words, category=chosen.category
    ):
        print(f"{found.cosine:7.4f}  {found.key}")
    return 0


def _access(settings: Settings, chosen: Arguments) -> Path:
    return chosen.access or settings.home / "feast" / "access.toml"


def _spark(settings: Settings) -> Any:
    # The entry point alone knows the package above: library code here takes a session.
    from spark_jobs.session import spark_session

    return spark_session(settings, app="feature_repo")


if __name__ == "__main__":
    sys.exit(main())
