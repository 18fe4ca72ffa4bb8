"""Up to where a partition was written when the topic had fewer partitions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from feature_repo.contract.key_partitions import partition_of, partitioner_of
from feature_repo.contract.settings import KafkaSettings
from streaming.errors import StreamingError
from streaming.topics.growth import Waiting
from streaming.topics.layout import check_partitions

log = logging.getLogger("intentstore.repartition")
Place = Callable[[bytes, int], int]  # partition of a key, of so many


def place_of(kafka: KafkaSettings) -> Place:
    """Give where the keys of the clicks topic belong, by its partitioner."""
    return partial(partition_of, partitioner_of(kafka))


class Widths(NamedTuple):
    """Numbers of partitions of a topic that grew.

    Attributes
    ----------
    before : int
        By which states are placed.
    later : tuple of int
        Those that came afterwards, in their order; the last one is the present.
    """

    before: int
    later: tuple[int, ...]

    @property
    def after(self) -> int:
        """The one that came next."""
        return self.later[0]

    def came_back(self, place: Place, key: bytes) -> bool:
        """Whether a key left its first partition at the next number, and has it again at a later one."""
        first = place(key, self.before)
        return place(key, self.after) != first and any(place(key, count) == first for count in self.later[1:])

    def speaks(self, place: Place, click: Waiting, left: Mapping[bytes, int]) -> int:
        """Say by which number a click was sent: -1 = the old one, 1 = a newer one, 0 = both explain it, or
        none does.

        ``left`` tells when a key first came where only ``after`` puts it: what comes later of it on its first
        partition was sent by a number behind that.
        """
        by_new = any(place(click.key, count) == click.partition for count in self.later)
        if place(click.key, self.before) != click.partition:
            return int(by_new)
        if not by_new:
            return -1
        return int(click.time_ms > left.get(click.key, click.time_ms) and self.came_back(place, click.key))


def left_home(place: Place, widths: Widths, unread: Iterable[Waiting]) -> dict[bytes, int]:
    """Give when each key first came on another partition than its old one, where the topic grew more than
    once and the key's partition is its first one again.

    Parameters
    ----------
    place : callable
        See ``place_of``.
    widths : Widths
        Numbers of partitions.
    unread : iterable of Waiting
        The clicks that wait.
    """
    found: dict[bytes, int] = {}
    for click in unread:
        if place(click.key, widths.after) == click.partition and widths.came_back(place, click.key):
            found[click.key] = min(found.get(click.key, click.time_ms), click.time_ms)
    return found


def fences_of(
    place: Place, widths: Widths, began_ms: int | None, unread: Iterable[Waiting], left: Mapping[bytes, int]
) -> dict[int, int]:
    """Give where each partition ends for the old number of partitions: at its first click of a newer one from
    the moment of the growth on.

    One click that stands where only a newer number puts it is no proof of growth: a producer with another
    partitioner writes such clicks, too.

    Parameters
    ----------
    place : callable
        See ``place_of``.
    widths : Widths
        Numbers of partitions.
    began_ms : int or None
        See ``growth.Growth``.
    unread : iterable of Waiting
        The clicks that wait, in offset order within a partition.
    left : mapping of bytes to int
        See ``left_home``.

    Returns
    -------
    dict of int to int
        First offset that is not to be read; a partition that is not named is read to its end.

    Examples
    --------
    >>> place = partial(partition_of, "murmur2")
    >>> keys = [f"s{number}".encode() for number in range(99)]
    >>> old, new = ([key for key in keys if (place(key, 2), place(key, 3)) == at] for at in ((0, 1), (1, 0)))
    >>> sent = [old[0], new[0], old[1], old[2], new[1], new[2]]
    >>> fences_of(place, Widths(2, (3,)), 4, [Waiting(ms, 0, ms, key) for ms, key in enumerate(sent)], {})
    {0: 4}
    """
    found: dict[int, int] = {}
    if began_ms is None:
        return found
    for click in unread:
        newer = click.time_ms >= began_ms and widths.speaks(place, click, left) > 0
        if newer and click.partition not in found:
            found[click.partition] = click.offset
    return found


class Fence:
    """Ends a partition before its first click that was sent when more partitions were there: it belongs to a
    session whose state is elsewhere.

    Parameters
    ----------
    place : callable
        See ``place_of``.
    widths : Widths
        Numbers of partitions.
    fences : mapping of int to int
        See ``fences_of``.
    scanned : mapping of int to int
        Up to which offset of each partition ``fences`` looked; the first click of a newer number behind it
        ends the partition, too.
    """

    def __init__(
        self,
        place: Place,
        widths: Widths,
        fences: Mapping[int, int] | None = None,
        scanned: Mapping[int, int] | None = None,
    ) -> None:
        self._place, self.widths = place, widths
        self._fences, self._scanned = dict(fences or {}), scanned or {}
        self.reached: dict[int, int] = {}  # first offset of each partition that was not read
        self.outdated = False  # whether the topic has grown since

    def cut(
        self, consumer: Any, polled: Mapping[Any, list[Any]], count: Callable[[], int]
    ) -> dict[Any, list[Any]]:
        """Give what may be read; a partition with more is paused at the first record that may not.

        Parameters
        ----------
        consumer : KafkaConsumer
            Is told to pause.
        polled : mapping of TopicPartition to list of ConsumerRecord
            What it gave.
        count : callable
            Asks the broker for the topic's number of partitions. Asked only where a record came after
            ``fences`` looked: it may have been sent by a number that nobody knew then.

        Raises
        ------
        StateMovedError
            The topic has grown since; nothing of this was read.
        """
        if any(
            records[-1].offset >= self._scanned.get(name.partition, 0) for name, records in polled.items()
        ):
            self.outdated = (present := count()) != self.widths.later[-1]
            check_partitions(next(iter(polled)).topic, self.widths.later[-1], present)
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
        if partition in self._fences:
            return bool(record.offset >= self._fences[partition])
        if record.key is None or record.offset < self._scanned.get(partition, 0):
            return False
        click = Waiting(record.timestamp, partition, record.offset, record.key)
        return self.widths.speaks(self._place, click, {}) > 0

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
