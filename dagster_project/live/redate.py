"""What is still to be replayed: held-out clicks that are not in the topic yet, moved to the present when they
are from before the year 2000.
"""

from __future__ import annotations

import os
import time
from collections.abc import Set
from pathlib import Path

from feature_repo.contract.messages import EARLIEST_US
from feature_repo.contract.settings import Settings

SECOND_US = 1_000_000
FOLDER = Path("demo") / "replay"
SHIFT = "shift_us"


def still_to_send(settings: Settings, bootstrap_servers: str, in_topic: Set[str]) -> tuple[Settings, int]:
    """Return the settings with which the rest of the held-out clicks is replayed, and how many clicks that
    is.

    A consumer knows repeats only within its window, so what a killed or earlier replay has sent must not be
    sent again.

    Parameters
    ----------
    settings : Settings
        ``home`` with the clicks that ingest held back.
    bootstrap_servers : str
        The broker, named outright because another home names no services.
    in_topic : set of str
        Event ids that the topic holds.

    Returns
    -------
    tuple of Settings and int
        With a ``home`` of its own that holds the rest of the clicks. Clicks from before the year 2000 (which
        the wire contract refuses) are all later by one and the same time, kept beside them, so that pauses
        and order stay and the newest was of the present at the first replay.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from spark_jobs.ingest.held_out import held_out_file

    source = held_out_file(settings)
    if not source.exists():
        return settings, 0
    clicks = pq.read_table(source)
    times = clicks["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    other = settings.model_copy(
        update={
            "home": settings.home / FOLDER,
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": bootstrap_servers}),
        }
    )
    target = held_out_file(other)
    target.parent.mkdir(parents=True, exist_ok=True)
    if len(times) and pc.min(times).as_py() < EARLIEST_US:
        moved = pc.add(
            times, pa.scalar(_shift(target.with_name(SHIFT), pc.max(times).as_py()), pa.int64())
        ).cast(pa.timestamp("us", "UTC"))
        clicks = clicks.set_column(clicks.schema.get_field_index("event_time"), "event_time", moved)
    left = clicks.filter(
        pc.invert(pc.is_in(clicks["event_id"], value_set=pa.array(sorted(in_topic), pa.string())))
    )
    part = target.with_suffix(f".{os.getpid()}")
    pq.write_table(left, part)
    part.replace(target)
    return other, left.num_rows


def _shift(file: Path, newest_us: int) -> int:
    """Return by how many microseconds old clicks are moved: chosen once, whole seconds, then read from its
    file.
    """
    if not file.exists():
        part = file.with_suffix(f".{os.getpid()}")
        part.write_text(str((int(time.time()) - newest_us // SECOND_US) * SECOND_US), encoding="utf-8")
        part.replace(file)
    return int(file.read_text(encoding="utf-8"))
