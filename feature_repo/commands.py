"""What each verb of the feature store does. Takes settings and the verb's options; prints for people or one
line of JSON.
"""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace as Arguments
from typing import Any

from feature_repo.contract import cli
from feature_repo.contract.settings import Settings


def plan(settings: Settings, chosen: Arguments) -> int:
    """Show what the definitions would change, and refuse what breaks a service."""
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
        print(json_text.dumps(plan.as_rows(changes)))
    else:
        print("\n".join(map(str, changes)) or "no changes")
        if file is None and not before.views:
            print("nothing is applied yet; `python -m feature_repo apply` registers this", file=sys.stderr)
    plan.refuse_breaking(changes)
    if chosen.update:
        plan.write_snapshot(file, defined)
    return 0


def apply(settings: Settings, chosen: Arguments) -> int:
    """Write the definitions into the registry."""
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
    text = f"applied {len(changes)} change(s) to the registry of {settings.home}"
    cli.show({"applied": len(changes), "home": str(settings.home)}, text, chosen.json)
    return 0


def materialize(settings: Settings, chosen: Arguments) -> int:
    """Bring the online store up to the Delta tables."""
    from feature_repo.registry.materialize import materialize

    for done in materialize(settings, _spark(settings), views=chosen.views, full=chosen.full):
        print(json_text.dumps(asdict(done)))
    return 0


def serve(settings: Settings, chosen: Arguments) -> int:
    """Serve features over HTTP until stopped."""
    from feature_repo.serving.app import ServeOptions, serve

    host, port = chosen.host or settings.http.host, settings.http.port if chosen.port is None else chosen.port
    serve(settings, ServeOptions(host, port, chosen.workers, _access(settings, chosen), chosen.allow_writes))
    return 0


def token(settings: Settings, chosen: Arguments) -> int:
    """Make a token and print it."""
    from feature_repo.serving.access import add_token

    token = add_token(_access(settings, chosen), chosen.name, chosen.services, chosen.write)
    cli.show({"name": chosen.name, "token": token}, token, chosen.json)
    return 0


def catalogue(settings: Settings, chosen: Arguments) -> int:
    """Write the catalogue page."""
    from feature_repo.catalogue.build import write_catalogue

    page = write_catalogue(
        settings,
        chosen.out or settings.home / "catalogue",
        None if chosen.no_statistics else _spark(settings),
    )
    cli.show({"page": str(page)}, str(page), chosen.json)
    return 0


def nearest(settings: Settings, chosen: Arguments) -> int:
    """Print what is nearest to a text."""
    from feature_repo.registry.store import applied_store
    from feature_repo.serving.nearest import Neighbourhood

    neighbourhood = Neighbourhood(settings, applied_store(settings))
    found = neighbourhood.nearest(
        chosen.text, chosen.k, of=chosen.of, words=chosen.words, category=chosen.category
    )
    rows = [{"key": one.key, "cosine": one.cosine} for one in found]
    cli.show(rows, "\n".join(f"{one.cosine:7.4f}  {one.key}" for one in found), chosen.json)
    return 0


def _access(settings: Settings, chosen: Arguments) -> Path:
    return chosen.access or settings.home / "feast" / "access.toml"


def _spark(settings: Settings) -> Any:
    # The entry point alone knows the package above: library code here takes a session.
    from spark_jobs.session import spark_session

    return spark_session(settings, app="feature_repo")
