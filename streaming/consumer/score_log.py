"""The score log between the consumer and Delta: one packed row per answered click, rolled into Arrow files by
offset range. No gap, no double.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from feature_repo.contract.session import SessionState, event_features
from feature_repo.contract.tables import SCORE_LOG_SCHEMA, SESSION_EVENT_FIELDS, SESSION_FEATURE_FIELDS
from streaming.consumer.state import PartitionStore
from streaming.errors import StreamingError
from streaming.serving.answers import Answer

log = logging.getLogger("intentstore.score_log")
ROLL_ROWS = 5_000  # about 5 MB a file
_CONVERT_ROWS = 64  # about a millisecond
_FEATURES = tuple(name for name, _ in SESSION_FEATURE_FIELDS)
_EVENTS = tuple(name for name, _ in SESSION_EVENT_FIELDS)
_COLUMNS = tuple(SCORE_LOG_SCHEMA.names)
_EVENT_ID = _COLUMNS.index("event_id")
Row = tuple[Any, ...]
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()
_NAME = re.compile(r"(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d{20})-(?P<last>\d{20})(?:\.\d+)?\.arrow")


def row_of(
    source: tuple[str, int, int],
    ids: tuple[str, str, str],
    state: SessionState,
    features: dict[str, Any],
    answer: Answer,
    times: tuple[int, int],
) -> Row:
    """Give one row.

    Parameters
    ----------
    source : (str, int, int)
        Topic, partition, offset.
    ids : (str, str, str)
        Event, session, item.
    state : SessionState
        After the click.
    features : dict
        Of that state.
    answer : Answer
        What was said.
    times : (int, int)
        Click and answer, microseconds UTC.

    Returns
    -------
    tuple
        The values in the order of ``SCORE_LOG_SCHEMA``.
    """
    events = event_features(state)
    return (
        *source,
        *ids,
        state.event_timestamp_us,
        state.created_us,
        *[features[name] for name in _FEATURES],
        [item.item_id for item in answer.items],
        [item.score for item in answer.items],
        answer.intents.source,
        answer.model_version,
        *times,
        *[events[name] for name in _EVENTS],
        list(answer.sources),
    )


def pack(row: Row) -> bytes:
    """Give a row as MessagePack, for the store."""
    return _ENCODER.encode(row)


def unpack(row: bytes) -> Row:
    """Give back what ``pack`` made; columns that came since are null."""
    values: list[Any] = _DECODER.decode(row)
    return (*values, *[None] * (len(_COLUMNS) - len(values)))


def batch_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Give rows as a batch of ``SCORE_LOG_SCHEMA``."""
    columns = list(zip(*rows, strict=True)) or [()] * len(_COLUMNS)
    arrays = [
        pa.array(column, type=field.type) for column, field in zip(columns, SCORE_LOG_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCORE_LOG_SCHEMA)


class ScoreLog:
    """Collects the rows of each partition and writes them to files ``topic-partition-first-last.arrow`` (with
    a number behind it where a topic made anew gives the same offsets again).

    The rows are also in the partition's store until their file is there, so a killed process loses none.

    Parameters
    ----------
    folder : Path
        Where the files go; made when missing.
    topic : str
        Clicks topic.
    """

    def __init__(self, folder: Path, topic: str) -> None:
        self._folder, self._topic = folder, topic
        self._fresh: dict[int, list[tuple[int, Row]]] = {}
        self._ready: dict[int, list[tuple[int, int, pa.RecordBatch]]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        # the first conversion imports a second's worth of libraries; not in the middle of the clicks
        batch_of([])

    def adopt(self, partition: int, store: PartitionStore) -> None:
        """Take over what a partition's store holds, without rows that a crash left there although their file
        was complete.

        Files are compared row by row: another consumer, with a state folder of its own, may have written
        those before and after ours.
        """
        rows = {offset: unpack(row) for offset, row in store.rows()}
        written = self._written(partition, min(rows), max(rows)) if rows else set()
        there = [offset for offset, row in rows.items() if (offset, row[_EVENT_ID]) in written]
        if there:
            store.drop_rows_at(there)
        self._ready[partition], self._fresh[partition] = (
            [],
            [(offset, row) for offset, row in rows.items() if offset not in set(there)],
        )

    def _written(self, partition: int, first: int, last: int) -> set[tuple[int, str]]:
        found: set[tuple[int, str]] = set()
        for file in self._folder.iterdir():
            match = self._match(file.name, partition)
            if match and int(match["first"]) <= last and int(match["last"]) >= first:
                with pa.OSFile(str(file)) as source:
                    table = pa.ipc.open_file(source).read_all()
                found |= set(zip(table["offset"].to_pylist(), table["event_id"].to_pylist(), strict=True))
        return found

    def add(self, partition: int, rows: Sequence[tuple[int, Row]]) -> None:
        """Take rows that were just stored; converts them a few at a time, so that no turn of the loop pays
        for thousands.
        """
        fresh = self._fresh.setdefault(partition, [])
        fresh.extend(rows)
        if len(fresh) >= _CONVERT_ROWS:
            self._convert(partition)

    def forget(self, partition: int) -> None:
        """Let go of a partition; its unwritten rows stay in its store."""
        self._ready.pop(partition, None)
        self._fresh.pop(partition, None)

    def hand_over(self, partition: int, store: PartitionStore, unsure: Collection[int] = ()) -> int:
        """Write the rows of a store that may stay on this disk for good, as its partition is another's now.

        Parameters
        ----------
        partition : int
        store : PartitionStore
        unsure : collection of int
            Offsets whose answer may not be out: another consumer may give it, so their rows stay.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        StreamingError
            No room for the file; nothing is lost, the rows stay in the store.
        """
        rows = [(offset, unpack(row)) for offset, row in store.rows() if offset not in unsure]
        if not rows:
            return 0
        written = self._written(partition, rows[0][0], rows[-1][0])
        left = [(offset, row) for offset, row in rows if (offset, row[_EVENT_ID]) not in written]
        if left:
            batch = batch_of([row for _, row in left])
            self._write(self._file(partition, left[0][0], left[-1][0]), pa.Table.from_batches([batch]))
        store.drop_rows_at([offset for offset, _ in rows])
        return len(left)

    def full(self) -> bool:
        """Whether some partition has as many rows as a file should have."""
        return any(map(self._is_full, self._ready))

    def _is_full(self, partition: int) -> bool:
        return bool(sum(part.num_rows for _, _, part in self._ready[partition]) >= ROLL_ROWS)

    def roll(self, partition: int, store: PartitionStore) -> int:
        """Write all rows of a partition to a file, then forget them.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        StreamingError
            No room for the file; nothing is lost, the rows stay in the store.
        """
        self._convert(partition)
        parts = self._ready.get(partition)
        if not parts:
            return 0
        first, last = parts[0][0], parts[-1][1]
        table = pa.Table.from_batches([part for _, _, part in parts])
        self._write(self._file(partition, first, last), table)
        store.drop_rows(last)
        self._ready[partition] = []
        return int(table.num_rows)

    def _convert(self, partition: int) -> None:
        fresh = self._fresh.get(partition)
        if fresh:
            batch = batch_of([row for _, row in fresh])
            self._ready.setdefault(partition, []).append((fresh[0][0], fresh[-1][0], batch))
            self._fresh[partition] = []

    def _file(self, partition: int, first: int, last: int) -> Path:
        """Return the path of a new file; one that is there has rows of another log with these offsets."""
        name = f"{self._topic}-{partition}-{first:020d}-{last:020d}"
        names = itertools.chain([name], (f"{name}.{number}" for number in itertools.count(2)))
        paths = (self._folder / f"{one}.arrow" for one in names)
        return next(path for path in paths if not path.exists())

    def _match(self, name: str, partition: int) -> re.Match[str] | None:
        match = _NAME.fullmatch(name)
        return (
            match
            if match and match["topic"] == self._topic and int(match["partition"]) == partition
            else None
        )

    # Not synced to the disk, as little as the store is: a killed process loses nothing, a power cut loses the
    # last seconds of both alike.
    def _write(self, file: Path, table: pa.Table) -> None:
        part = file.with_suffix(".part")
        try:
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            part.replace(file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StreamingError(
                f"score log: '{file.name}' cannot be written to '{self._folder}' ({error}); free some room "
                "and start again"
            ) from None
