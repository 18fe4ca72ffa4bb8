"""Up to where a partition was written when the topic had fewer partitions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from feature_repo.contract.key_partitions import partition_of, partitioner_of
from feature_repo.contract.settings import KafkaSettings
from streaming.errors import StreamingError

log = logging.getLogger("intentstore.repartition")
Place = Callable[[bytes, int], int]  # partition of a key, of so many


def place_of(kafka: KafkaSettings) -> Place:
    """Give where the keys of the clicks topic belong, by its partitioner."""
    return partial(partition_of, partitioner_of(kafka))


class Fence:
    """Ends a partition before its first click that was sent when more partitions were there: it belongs to a
    session whose state is elsewhere.

    Parameters
    ----------
    place : callable
        See ``place_of``.
    before, *later : int
        Numbers of partitions: by which states are placed, and those that the topic had afterwards.
    """

    def __init__(self, place: Place, before: int, *later: int) -> None:
        self._place, self.before, self._later = place, before, later
        self._fences: dict[int, int] = {}
        self.reached: dict[int, int] = {}  # first offset of each partition that was not read

    def cut(self, consumer: Any, polled: Mapping[Any, list[Any]]) -> dict[Any, list[Any]]:
        """Give what may be read; a partition with more is paused at the first record that may not."""
        result = {}
        for name, records in polled.items():
            ahead = next(
                (number for number, record in enumerate(records) if self._beyond(name.partition, record)),
                None,
            )
            if ahead is not None:
                consumer.seek(name, records[ahead].offset)
                consumer.pause(name)
                self._fences[name.partition] = records[ahead].offset
                log.info(
                    "%s-%d is read up to offset %d: there the first click of more partitions stands",
                    *name,
                    records[ahead].offset,
                )
            if records[:ahead]:
                result[name] = records[:ahead]
        return result

    def _beyond(self, partition: int, record: Any) -> bool:
        key = record.key
        return (
            key is not None
            and self._place(key, self.before) != partition
            and any(self._place(key, count) == partition for count in self._later)
        )

    def note(self, consumer: Any) -> None:
        """Keep where the consumer stands in each partition, at its end.

        Raises
        ------
        StreamingError
            Something before the fence was not read yet.
        """
        ends = consumer.end_offsets(list(consumer.assignment()))
        for name, end in ends.items():
            self.reached[name.partition] = consumer.position(name)
            if self.reached[name.partition] < self._fences.get(name.partition, end):
                raise StreamingError(
                    f"{name.topic}-{name.partition} was read up to offset {self.reached[name.partition]} of "
                    f"{end} only; run it again"
                )


def next_count(place: Place, before: int, now: int, unread: Iterable[tuple[int, int, bytes]]) -> int:
    """Work out which number of partitions came after one: the present, unless clicks were sent by one in
    between.

    Parameters
    ----------
    place : callable
        See ``place_of``.
    before, now : int
        Numbers of partitions.
    unread : iterable of (int, int, bytes)
        Timestamp, partition and key of the clicks that wait.

    Returns
    -------
    int
        The number that explains the earliest click which neither of both does, and at least half of all such
        clicks; else ``now``.

    Examples
    --------
    >>> home = partial(partition_of, "murmur2")
    >>> keys = [f"s{number}".encode() for number in range(50)]
    >>> next_count(
    ...     home, 4, 8, [(1, home(key, 6), key) for key in keys] + [(2, home(key, 8), key) for key in keys]
    ... )
    6
    >>> next_count(
    ...     home, 4, 8, [(1, home(key, 4), key) for key in keys] + [(2, home(key, 8), key) for key in keys]
    ... )
    8
    """
    open_questions = sorted(
        one for one in unread if one[1] not in (place(one[2], before), place(one[2], now))
    )
    if not open_questions:
        return now
    _, first, first_key = open_questions[0]
    explained = {
        count: sum(place(key, count) == partition for _, partition, key in open_questions)
        for count in range(before + 1, now)
        if place(first_key, count) == first
    }
    best = max(explained, key=lambda count: (explained[count], -count), default=now)
    return best if 2 * explained.get(best, 0) >= len(open_questions) else now
