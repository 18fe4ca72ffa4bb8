"""Produces records to one topic in bursts and waits for the broker's word on each. Knows no click and no
item.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

log = logging.getLogger("intentstore.http")
Record = TypeVar("Record")
Result = TypeVar("Result")
# below the 15 s after which shops' clients commonly give up; the record is then reported as failed
SEND_SECONDS = 10.0


class Outgoing(NamedTuple):
    """One record to send; no value = a tombstone."""

    key: bytes
    value: bytes | None


class Place(NamedTuple):
    """Where the broker put a record."""

    partition: int
    offset: int


class Sender(Generic[Record, Result]):
    """Sends the records of several requests in one burst. Used on one thread.

    Parameters
    ----------
    make_producer : callable
        Gives a new kafka-python producer; called at the first record and again after a failure to connect.
    topic : str
    outgoing : callable
        Gives what is sent for a record.
    result : callable
        Gives what became of a record by its place, or by why it has none.
    """

    def __init__(
        self,
        make_producer: Callable[[], Any],
        topic: str,
        outgoing: Callable[[Record], Outgoing],
        result: Callable[[Record, Place | Exception], Result],
    ) -> None:
        self._make, self._topic = make_producer, topic
        self._outgoing, self._result = outgoing, result
        self._producer: Any = None

    def __call__(self, batches: list[list[Record]]) -> Sequence[list[Result] | Exception]:
        """Send all records of some requests; see ``Batcher``."""
        placed = self._send([list(map(self._outgoing, batch)) for batch in batches])
        return [list(map(self._result, batch, places)) for batch, places in zip(batches, placed, strict=True)]

    def _send(self, batches: Sequence[Sequence[Outgoing]]) -> list[list[Place | Exception]]:
        if self._producer is None:
            try:
                self._producer = self._make()
            except Exception as error:  # noqa: BLE001 - every record gets it as its result
                log.warning(
                    "the producer of '%s' cannot connect: %s: %s", self._topic, type(error).__name__, error
                )
                return [[error] * len(batch) for batch in batches]
        under_way = [list(map(self._put, batch)) for batch in batches]
        deadline = time.monotonic() + SEND_SECONDS
        return [_places(futures, deadline) for futures in under_way]

    def close(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            self._producer.close(timeout=5)

    def _put(self, record: Outgoing) -> Any:
        try:
            return self._producer.send(self._topic, value=record.value, key=record.key)
        except Exception as error:  # noqa: BLE001 - full buffer, no metadata: the result of this record
            return error


def _places(futures: list[Any], deadline: float) -> list[Place | Exception]:
    return [_place(future, deadline) for future in futures]


def _place(future: Any, deadline: float) -> Place | Exception:
    if isinstance(future, Exception):
        return future
    try:
        placed = future.get(timeout=max(0.001, deadline - time.monotonic()))
    except Exception as error:  # noqa: BLE001 - the broker's or the client's reason, reported for this record
        return error
    return Place(placed.partition, placed.offset)
