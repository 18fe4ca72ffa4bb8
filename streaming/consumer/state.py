"""State of one partition in RocksDB: sessions, next offset, outbox and unwritten score-log rows, always
changed in one write. Knows no Kafka.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from feature_repo.contract import session
from feature_repo.contract.session import SessionState
from streaming.consumer.records import Marks, Outbox
from streaming.errors import StreamingError

log = logging.getLogger("intentstore.state")
# the last owner of a partition closes its store within one batch; after kill -9 the lock is free at once
LOCK_WAIT_SECONDS = 30.0
# Event ids in the decoded states that a partition keeps in memory, at about 170 bytes with item and time: 17
# MB. Counted by ids, not by sessions, so that memory stays what it is while sessions grow from one click to
# hundreds.
CACHED_EVENTS = 100_000
_SESSION_WEIGHT = 4  # a state costs about as much beside its clicks
_WRITE_BUFFER_BYTES = 8 << 20  # two of them a partition at most
# the default of 32 MB a partition fills over a quarter of an hour; the system caches the files anyway
_BLOCK_CACHE_BYTES = 8 << 20
_OPEN_FILES = 256

_NEXT, _OUTBOX, _LOGGED, _MARKS = b"m:next", b"m:outbox", b"m:logged", b"m:marks"
_SESSION, _AFTER_SESSIONS, _ROW, _AFTER_ROWS = b"s:", b"s;", b"l:", b"l;"


_OUTBOX_ENCODER, _OUTBOX_DECODER = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Outbox)
_MARKS_DECODER = msgspec.msgpack.Decoder(Marks)


class PartitionStore:
    """Everything the consumer knows of one partition.

    Parameters
    ----------
    folder : Path
        The store's own folder; made when missing.
    cached : int
        Event ids in the decoded states kept in memory.
    lock_seconds : float
        How long another process is waited for that holds it.

    Raises
    ------
    StreamingError
        Another process holds it for longer, or it is damaged.
    """

    def __init__(
        self, folder: Path, cached: int = CACHED_EVENTS, lock_seconds: float = LOCK_WAIT_SECONDS
    ) -> None:
        self.folder = folder
        self._cached = cached
        self._cache: dict[str, SessionState] = {}
        self._weight = 0  # of the cache
        self._db = _open(folder, lock_seconds)
        raw = self._db.get(_NEXT)
        self.next_offset: int | None = None if raw is None else int.from_bytes(raw, "big")
        marks = self._db.get(_MARKS)
        self.marks: Marks | None = None if marks is None else _MARKS_DECODER.decode(marks)
        self._sweep_from = _SESSION

    def begin(self, next_offset: int, marks: Marks, *, forget_outbox: bool = False) -> None:
        """Store where the partition goes on and what is being restored, in one write, before anything is
        read.

        Parameters
        ----------
        next_offset : int
            First offset to read.
        marks : Marks
            The log, and up to where clicks are only folded.
        forget_outbox : bool
            Whether what was to be sent belongs to another log.

        Raises
        ------
        StreamingError
            No room, or the store is closed.
        """
        batch = WriteBatch(raw_mode=True)
        batch.put(_NEXT, next_offset.to_bytes(8, "big"))
        batch.put(_MARKS, _OUTBOX_ENCODER.encode(marks))
        if forget_outbox:
            batch.put(_OUTBOX, _OUTBOX_ENCODER.encode(Outbox([], [], [])))
        self._write(batch)
        self.next_offset, self.marks = next_offset, marks

    def clear(self) -> None:
        """Forget everything, so that the store is as new."""
        batch = WriteBatch(raw_mode=True)
        for name in (_NEXT, _OUTBOX, _LOGGED, _MARKS):
            batch.delete(name)
        batch.delete_range(_SESSION, _AFTER_SESSIONS)
        batch.delete_range(_ROW, _AFTER_ROWS)
        self._write(batch)
        self.next_offset, self.marks, self._sweep_from = None, None, _SESSION
        self._cache, self._weight = {}, 0

    def load(self, states: Mapping[str, bytes]) -> None:
        """Store encoded states of sessions that come from elsewhere; they count from ``begin`` on."""
        batch = WriteBatch(raw_mode=True)
        for session_id, state in states.items():
            batch.put(_SESSION + session_id.encode(), state)
        self._write(batch)

    def states(self, session_ids: Iterable[str]) -> dict[str, SessionState]:
        """Give the states of some sessions; the empty state for those not known."""
        found: dict[str, SessionState] = {}
        missing: list[str] = []
        for session_id in session_ids:
            state = self._cache.get(session_id)
            if state is None:
                missing.append(session_id)
            else:
                found[session_id] = state
        if missing:
            raws = self._db.get([_SESSION + session_id.encode() for session_id in missing])
            for session_id, raw in zip(missing, raws, strict=True):
                found[session_id] = session.empty() if raw is None else session.decode(raw)
        return found

    def write(
        self,
        next_offset: int,
        states: Mapping[str, SessionState],
        outbox: Outbox,
        rows: Sequence[tuple[int, bytes]],
    ) -> None:
        """Store a batch in one atomic write.

        Parameters
        ----------
        next_offset : int
            First offset that is not part of it.
        states : mapping of str to SessionState
            Changed sessions.
        outbox : Outbox
            Replaces the one of the batch before, which has been sent by now.
        rows : sequence of (offset, bytes)
            Score-log rows, see ``streaming.consumer.score_log``.

        Raises
        ------
        StreamingError
            No room, or the store is closed.
        """
        batch = WriteBatch(raw_mode=True)
        batch.put(_NEXT, next_offset.to_bytes(8, "big"))
        batch.put(_OUTBOX, _OUTBOX_ENCODER.encode(outbox))
        for session_id, state in states.items():
            batch.put(_SESSION + session_id.encode(), session.encode(state))
        for offset, row in rows:
            batch.put(_ROW + offset.to_bytes(8, "big"), row)
        self._write(batch)
        self.next_offset = next_offset
        self._remember(states)

    def outbox(self) -> Outbox:
        """Give what the last batch had to send; empty when there was none."""
        raw = self._db.get(_OUTBOX)
        return Outbox() if raw is None else _OUTBOX_DECODER.decode(raw)

    def rows(self) -> Iterator[tuple[int, bytes]]:
        """Give the score-log rows that are in no file yet, in offset order."""
        for key, row in self._db.items(from_key=_ROW):
            if not key.startswith(_ROW):
                return
            yield int.from_bytes(key[len(_ROW) :], "big"), row

    def logged_through(self) -> int:
        """Give the last offset that is in a score-log file; -1 when there is none."""
        raw = self._db.get(_LOGGED)
        return -1 if raw is None else int.from_bytes(raw, "big")

    def drop_rows(self, through: int) -> None:
        """Forget score-log rows up to an offset: they are in a file now."""
        batch = WriteBatch(raw_mode=True)
        batch.put(_LOGGED, through.to_bytes(8, "big"))
        batch.delete_range(_ROW, _ROW + (through + 1).to_bytes(8, "big"))
        self._write(batch)

    def drop_rows_at(self, offsets: Iterable[int]) -> None:
        """Forget the score-log rows of these offsets."""
        batch = WriteBatch(raw_mode=True)
        for offset in offsets:
            batch.delete(_ROW + offset.to_bytes(8, "big"))
        self._write(batch)

    def sweep(self, older_than_us: int, at_most: int) -> int:
        """Forget sessions whose last click is older, both by event time and by arrival; looks at a few and
        goes on there next time.

        Parameters
        ----------
        older_than_us : int
            Microseconds UTC.
        at_most : int
            Sessions looked at.

        Returns
        -------
        int
            Sessions forgotten.
        """
        batch, dropped, seen, last = WriteBatch(raw_mode=True), 0, 0, _SESSION
        for key, raw in self._db.items(from_key=self._sweep_from):
            if seen >= at_most or not key.startswith(_SESSION):
                break
            seen, last = seen + 1, key
            state = session.decode(raw)
            newest = max(state.created_us, state.event_timestamp_us, state.waiting.arrived_us)
            if newest < older_than_us:
                batch.delete(key)
                self._forget(key[len(_SESSION) :].decode())
                dropped += 1
        self._sweep_from = last + b"\0" if seen >= at_most else _SESSION
        if dropped:
            self._write(batch)
        return dropped

    def sessions(self) -> Iterator[tuple[str, SessionState]]:
        """Give every session and its state, for checks and tools."""
        for key, raw in self._db.items(from_key=_SESSION):
            if not key.startswith(_SESSION):
                return
            yield key[len(_SESSION) :].decode(), session.decode(raw)

    def encoded_sessions(self) -> Iterator[tuple[bytes, bytes]]:
        """Give every session id and its state as they are stored."""
        for key, raw in self._db.items(from_key=_SESSION):
            if not key.startswith(_SESSION):
                return
            yield key[len(_SESSION) :], raw

    def size(self) -> dict[str, int]:
        """Give estimated keys and bytes on disk."""
        keys = self._db.property_int_value("rocksdb.estimate-num-keys") or 0
        disk = self._db.property_int_value("rocksdb.total-sst-files-size") or 0
        memory = self._db.property_int_value("rocksdb.cur-size-all-mem-tables") or 0
        return {"keys": int(keys), "bytes": int(disk) + int(memory)}

    def close(self) -> None:
        """Free the store for the next owner."""
        self._db.close()

    def _write(self, batch: Any) -> None:
        try:
            self._db.write(batch)
        except Exception as error:  # noqa: BLE001 - rocksdict raises the bare class
            raise StreamingError(
                f"state store '{self.folder}' cannot be written ({error}); free some room on that disk and "
                "start again"
            ) from None

    def _remember(self, states: Mapping[str, SessionState]) -> None:
        for session_id, state in states.items():
            self._forget(session_id)  # so that it counts as the newest
            self._cache[session_id] = state
            self._weight += _SESSION_WEIGHT + len(state.seen)
        if self._weight > self._cached:
            for session_id in list(self._cache):
                if self._weight <= self._cached * 9 // 10:
                    break
                self._forget(session_id)

    def _forget(self, session_id: str) -> None:
        state = self._cache.pop(session_id, None)
        if state is not None:
            self._weight -= _SESSION_WEIGHT + len(state.seen)


def _open(folder: Path, lock_seconds: float) -> Any:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_open_files(_OPEN_FILES)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_bloom_filter(10, False)
    table.set_block_cache(Cache(_BLOCK_CACHE_BYTES))
    options.set_block_based_table_factory(table)
    folder.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + lock_seconds
    while True:
        try:
            return Rdict(str(folder), options)
        except Exception as error:  # noqa: BLE001 - rocksdict raises the bare class
            locked = "lock" in str(error).lower()
            if not locked:
                raise StreamingError(
                    f"state store '{folder}' cannot be opened ({error}); delete that folder to rebuild it "
                    "from the topic"
                ) from None
            if time.monotonic() > deadline:
                raise StreamingError(
                    f"state store '{folder}' is held by another process; stop it, or give this one another "
                    "--state-dir"
                ) from None
            time.sleep(0.05)
