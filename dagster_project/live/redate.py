"""What is still to be replayed: held-out clicks that are not in the topic yet, moved to the present when they
are from before the year 2000.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from feature_repo.contract.files import replace_file
from feature_repo.contract.messages import EARLIEST_US, Click
from feature_repo.contract.settings import Settings
from spark_jobs.ingest.held_out import held_out_file
from spark_jobs.live.replay import clicks_of

SECOND_US = 1_000_000
SHIFT_FILE = Path("demo") / "replay" / "demo" / "shift_us"  # below the home; where older versions kept it


@dataclass(frozen=True)
class LeftToSend:
    """Held-out clicks that the topic lacks.

    Parameters
    ----------
    rows : pa.Table
        With the columns of ``held_out.HELD_OUT_COLUMNS``, in their original order.
    """

    rows: pa.Table

    def __len__(self) -> int:
        """Return the number of clicks."""
        return int(self.rows.num_rows)

    def __iter__(self) -> Iterator[Click]:
        """Yield the clicks in their order."""
        for batch in self.rows.to_batches(max_chunksize=10_000):
            yield from clicks_of(batch)


def still_to_send(settings: Settings, in_topic: Set[str]) -> LeftToSend:
    """Return the held-out clicks that the topic lacks.

    A consumer knows repeats only within its window, so what a killed or earlier replay has sent must not be
    sent again.

    Parameters
    ----------
    settings : Settings
        ``home`` with the clicks that ingest held back.
    in_topic : set of str
        Event ids that the topic holds.

    Returns
    -------
    LeftToSend
        Clicks from before the year 2000 (which the wire contract refuses) are all later by one and the same
        time, kept in the home, so that pauses and order stay and the newest was of the present at the first
        replay.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    source = held_out_file(settings)
    if not source.exists():
        return LeftToSend(pa.table({}))
    clicks = pq.read_table(source)
    times = clicks["event_time"].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if len(times) and pc.min(times).as_py() < EARLIEST_US:
        by = pa.scalar(_shift(settings.home / SHIFT_FILE, pc.max(times).as_py()), pa.int64())
        moved = pc.add(times, by).cast(pa.timestamp("us", "UTC"))
        clicks = clicks.set_column(clicks.schema.get_field_index("event_time"), "event_time", moved)
    known = pa.array(sorted(in_topic), pa.string())
    return LeftToSend(clicks.filter(pc.invert(pc.is_in(clicks["event_id"], value_set=known))))


def _shift(file: Path, newest_us: int) -> int:
    """Return by how many microseconds old clicks are moved: chosen once, whole seconds, then read from its
    file.
    """
    if not file.exists():
        replace_file(file, str((int(time.time()) - newest_us // SECOND_US) * SECOND_US))
    return int(file.read_text(encoding="utf-8"))
