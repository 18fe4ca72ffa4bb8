"""What each verb of the feature store does. Takes settings and the verb's options; prints for people or one
line of JSON.
"""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace as Arguments
from typing import TYPE_CHECKING, Any

from feature_repo.catalogue.build import write_catalogue
from feature_repo.contract import cli
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from feature_repo.registry import materialize as online
from feature_repo.registry import plan as plans
from feature_repo.registry import store
from feature_repo.registry.store import applied_store
from feature_repo.serving import app as server
from feature_repo.serving.access import add_token
from feature_repo.serving.nearest import Neighbourhood
from spark_jobs.session import spark_session

if TYPE_CHECKING:
    from feature_repo import definitions
else:
    definitions = lazy("feature_repo.definitions")  # their import is Feast's first, which `quiet` prepares


def plan(settings: Settings, chosen: Arguments) -> int:
    """Show what the definitions would change, and refuse what breaks a service."""
    store.quiet()  # before the definitions' first import of Feast

    defined, file = plans.shape_of(definitions.OBJECTS), chosen.against
    if chosen.update and file is None:
        raise plans.SnapshotError("--update needs --against FILE: the snapshot to write")
    if file is None:
        before = plans.shape_of_registry(store.feature_store(settings))
    else:
        before = plans.shape_of([]) if chosen.update and not file.exists() else plans.read_snapshot(file)
    changes = plans.compare(before, defined)
    if chosen.json:
        print(json_text.dumps(plans.as_rows(changes)))
    else:
        print("\n".join(map(str, changes)) or "no changes")
        if file is None and not before.views:
            print("nothing is applied yet; `python -m feature_repo apply` registers this", file=sys.stderr)
    plans.refuse_breaking(changes)
    if chosen.update:
        plans.write_snapshot(file, defined)
    return 0


def apply(settings: Settings, chosen: Arguments) -> int:
    """Write the definitions into the registry."""
    store.quiet()  # before the definitions' first import of Feast

    changes = plans.compare(
        plans.shape_of_registry(store.feature_store(settings)), plans.shape_of(definitions.OBJECTS)
    )
    if not chosen.break_services:
        plans.refuse_breaking(changes)
    store.apply(settings)
    text = f"applied {len(changes)} change(s) to the registry of {settings.home}"
    cli.show({"applied": len(changes), "home": str(settings.home)}, text, chosen.json)
    return 0


def materialize(settings: Settings, chosen: Arguments) -> int:
    """Bring the online store up to the Delta tables."""
    for done in online.materialize(settings, _spark(settings), views=chosen.views, full=chosen.full):
        print(json_text.dumps(asdict(done)))
    return 0


def serve(settings: Settings, chosen: Arguments) -> int:
    """Serve features over HTTP until stopped."""
    host, port = chosen.host or settings.http.host, settings.http.port if chosen.port is None else chosen.port
    server.serve(
        settings,
        server.ServeOptions(host, port, chosen.workers, _access(settings, chosen), chosen.allow_writes),
    )
    return 0


def token(settings: Settings, chosen: Arguments) -> int:
    """Make a token and print it."""
    token = add_token(_access(settings, chosen), chosen.name, chosen.services, chosen.write)
    cli.show({"name": chosen.name, "token": token}, token, chosen.json)
    return 0


def catalogue(settings: Settings, chosen: Arguments) -> int:
    """Write the catalogue page."""
    page = write_catalogue(
        settings,
        chosen.out or settings.home / "catalogue",
        None if chosen.no_statistics else _spark(settings),
    )
    cli.show({"page": str(page)}, str(page), chosen.json)
    return 0


def nearest(settings: Settings, chosen: Arguments) -> int:
    """Print what is nearest to a text."""
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

    return spark_session(settings, app="feature_repo")
