"""The demo's table of named intents, read from the tables that the run left."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dagster_project.demo.sections import Section, titles_of
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from model.intent.ground.names import repeats_title
from spark_jobs.lake.log import DeltaLog

NAMED_SHOWN = 20
MOST_CHECKED = 2_000  # sessions whose names are held against their clicks; each has two
CLICKS_SHOWN, ITEMS_SHOWN = 4, 3


def named_intents(settings: Settings) -> Section:
    """Show intents by name, and how many of the names repeat a title that was clicked."""
    intents = DeltaLog(settings.table(columns.SESSION_INTENTS))
    texts = DeltaLog(settings.table(columns.SESSION_TEXT))
    head = ("session", "last clicks", "long: name, and what stands for it", "short: the same")
    if intents.version() < 0 or texts.version() < 0:
        return Section("Named intents", ("",), [("not made in this run",)])
    names = [name for name, _ in columns.SESSION_INTENT_NAME_FIELDS]
    wanted = _drawn(intents.read(["session_id"]).column("session_id"))
    among = pc.field("session_id").isin(wanted)
    rows = intents.read(["session_id", "event_timestamp", *names], filter=among).to_pylist()
    clicked = texts.read(["session_id", "event_timestamp", "items"], filter=among).to_pylist()
    items_of = {(row["session_id"], row["event_timestamp"]): row["items"] for row in clicked}
    titles, shown = titles_of(settings), list[tuple[str, ...]]()
    repeated = total = 0
    for row in sorted(rows, key=lambda row: (_draw(row["session_id"]), row["event_timestamp"])):
        items = items_of.get((row["session_id"], row["event_timestamp"]), [])
        said = [titles.get(item, "") for item in items]
        given = [row["long_name"] or "", row["short_name"] or ""]
        total += len(given)
        repeated += sum(repeats_title(name, said) for name in given)
        if len(shown) < NAMED_SHOWN:
            last = " > ".join(titles.get(item, item) for item in items[-CLICKS_SHOWN:])
            shown.append((row["session_id"], last, _view(row, "long", titles), _view(row, "short", titles)))
    note = f"Of {total:,} names {repeated:,} hold all words of a title that was clicked in their session."
    return Section(f"{len(shown)} named intents", head, shown or [("-", "-", "-", "-")], note)


def _view(row: Mapping[str, Any], view: str, titles: Mapping[str, str]) -> str:
    items = ", ".join(titles.get(item, item) for item in (row[f"{view}_shown"] or [])[:ITEMS_SHOWN])
    return f"{row[f'{view}_name'] or '-'}: {items or '-'}"


def _drawn(ids: pa.ChunkedArray) -> pa.Array:
    """Some session ids, the same in every run."""
    return pa.array(sorted(ids.unique().to_pylist(), key=_draw)[:MOST_CHECKED], pa.string())


def _draw(session_id: str) -> bytes:
    return hashlib.blake2b(session_id.encode(), digest_size=8).digest()
