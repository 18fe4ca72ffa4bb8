"""The score log between the consumer and Delta: one packed row per answered click, rolled into Arrow files by offset range. No gap, no double."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from feature_repo.contract.columns import SCORE_LOG_SCHEMA, SESSION_FEATURE_FIELDS
from feature_repo.contract.session import SessionState
from streaming.answers import Answer
from streaming.errors import StreamingError
from streaming.state import PartitionStore

log = logging.getLogger("intentstore.score_log")
ROLL_ROWS = 5_000  # about 5 MB a file
_FEATURES = tuple(name for name, _ in SESSION_FEATURE_FIELDS)
_COLUMNS = tuple(SCORE_LOG_SCHEMA.names)
_ENCODER, _DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()
_NAME = re.compile(r"(?P<topic>.+)-(?P<partition>\d+)-(?P<first>\d{20})-(?P<last>\d{20})\.arrow")


def pack(
    source: tuple[str, int, int], ids: tuple[str, str, str], state: SessionState, features: dict[str, Any], answer: Answer, times: tuple[int, int]
) -> bytes:
    """Pack one row.

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
    bytes
        MessagePack of the values in the order of ``SCORE_LOG_SCHEMA``.
    """
    return _ENCODER.encode((
        *source, *ids, state.event_timestamp_us, state.created_us, *(features[name] for name in _FEATURES),
        [item.item_id for item in answer.items], [item.score for item in answer.items], answer.intents.source, answer.model_version, *times,
    ))  # fmt: skip


def unpack(rows: Sequence[bytes]) -> pa.Table:
    """Give packed rows as a table of ``SCORE_LOG_SCHEMA``."""
    columns = list(zip(*(_DECODER.decode(row) for row in rows), strict=True)) or [()] * len(_COLUMNS)
    arrays = [pa.array(column, type=field.type) for column, field in zip(columns, SCORE_LOG_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCORE_LOG_SCHEMA)


class ScoreLog:
    """Writes the rows of a partition's store to files ``topic-partition-first-last.arrow``.

    Parameters
    ----------
    folder : Path
        Where the files go; made when missing.
    topic : str
        Clicks topic.
    """

    def __init__(self, folder: Path, topic: str) -> None:
        self._folder, self._topic = folder, topic
        folder.mkdir(parents=True, exist_ok=True)

    def recover(self, partition: int, store: PartitionStore) -> None:
        """Forget rows that a crash left in the store although their file was complete."""
        last = max((int(m["last"]) for f in self._folder.iterdir() if (m := self._match(f.name, partition))), default=-1)
        if last > store.logged_through():
            store.drop_rows(last)

    def roll(self, partition: int, store: PartitionStore) -> int:
        """Write all rows of a store to files, then forget them.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        StreamingError
            No room for the file; nothing is lost, the rows stay in the store.
        """
        written = 0
        while True:
            chunk = [pair for pair, _ in zip(store.rows(), range(ROLL_ROWS), strict=False)]
            if not chunk:
                return written
            first, last = chunk[0][0], chunk[-1][0]
            self._write(self._folder / f"{self._topic}-{partition}-{first:020d}-{last:020d}.arrow", unpack([row for _, row in chunk]))
            store.drop_rows(last)
            written += len(chunk)
            if len(chunk) < ROLL_ROWS:
                return written

    def _match(self, name: str, partition: int) -> re.Match[str] | None:
        match = _NAME.fullmatch(name)
        return match if match and match["topic"] == self._topic and int(match["partition"]) == partition else None

    def _write(self, file: Path, table: pa.Table) -> None:
        part = file.with_suffix(".part")
        try:
            with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
            part.replace(file)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StreamingError(f"score log: '{file.name}' cannot be written to '{self._folder}' ({error}); free some room and start again") from None
