"""Old datasets for a live system: moves held-out clicks from before the year 2000, which the wire contract refuses, to the present, once."""

from __future__ import annotations

import os
import time
from pathlib import Path

from feature_repo.contract.events import EARLIEST_US
from feature_repo.contract.settings import Settings

SECOND_US = 1_000_000
FOLDER = Path("demo") / "redated"


def settings_for_replay(settings: Settings, bootstrap_servers: str) -> Settings:
    """Return the settings with which held-out clicks are replayed.

    Parameters
    ----------
    settings : Settings
        ``home`` with the clicks that ingest held back.
    bootstrap_servers : str
        The broker, named outright because another home names no services.

    Returns
    -------
    Settings
        As given when every click is recent enough. Otherwise with a ``home`` that holds the same clicks, all later by one and the same time, so
        that pauses and order stay and the newest is of now. The copy is kept: a second replay sends the very same clicks.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from spark_jobs.ingest_held_out import held_out_file

    source = held_out_file(settings)
    if not source.exists():
        return settings
    clicks = pq.read_table(source)
    times = clicks["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if not len(times) or pc.min(times).as_py() >= EARLIEST_US:
        return settings
    other = settings.model_copy(update={"home": settings.home / FOLDER, "kafka": settings.kafka.model_copy(update={"bootstrap_servers": bootstrap_servers})})
    target = held_out_file(other)
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        shift = (int(time.time()) - pc.max(times).as_py() // SECOND_US) * SECOND_US
        moved = pc.add(times, pa.scalar(shift, pa.int64())).cast(pa.timestamp("us", "UTC"))
        place = clicks.schema.get_field_index("event_time")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")
        pq.write_table(clicks.set_column(place, "event_time", moved), part)
        part.replace(target)
    return other
