"""By which numbers of partitions the clicks of a topic that grew were sent, and when the first of the newer
ones began, worked out from the clicks themselves: Kafka keeps no history of it. Knows no client.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from feature_repo.contract.key_partitions import PARTITIONERS, key_hash

Floats = npt.NDArray[np.float64]
# Shares of clicks by another partitioner that are tried, and which share of them came by one that we know;
# the pair that explains the topic best counts.
_OTHERS = tuple(itertools.product((0.03, 0.12, 0.3, 0.6), (0.3, 0.97)))
_IMPOSSIBLE = -25.0  # log of the probability of a partition that a number does not have
# What a number in between must explain beyond chance, as the log of a probability, besides that it may begin
# at any click and be any number. One too many costs a step of moving, one that is missed costs its clicks.
_SURE = 3.0
_TOGETHER = 8  # numbers in between that are looked at together; each of them has convinced on its own


class Waiting(NamedTuple):
    """A click that nobody has read yet, as far as its place goes: the broker's time, milliseconds."""

    time_ms: int
    partition: int
    offset: int
    key: bytes


class Growth(NamedTuple):
    """What became of a topic's number of partitions.

    Attributes
    ----------
    later : tuple of int
        The numbers that came after the old one, in their order; the last one is the present.
    began_ms : int or None
        The broker's time of the first click that was sent by one of them; None = no click tells.
    """

    later: tuple[int, ...]
    began_ms: int | None


class _Clicks(NamedTuple):
    """Clicks in the order of time; ``hashes`` of shape (partitioners, clicks), the right one's first."""

    times: npt.NDArray[np.int64]
    partitions: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.int64]


class _Path(NamedTuple):
    """A cut into runs: how probable it makes the clicks, as a log; the numbers in between; how many clicks
    came before the first change.
    """

    log: float
    between: tuple[int, ...]
    first: int


def growth_of(partitioner: str, before: int, now: int, unread: Iterable[Waiting]) -> Growth:
    """Work out how a topic grew from one number of partitions to another.

    Partitions are only ever added, so the clicks in the order of time are cut into runs, one a number. A
    click of a run stands where the number puts its key, or a producer with another partitioner sent it; where
    that one is known, too, the click tells so itself. The cut that makes all clicks most probable counts, and
    a number in between is taken where it makes them more probable than chance would.

    Parameters
    ----------
    partitioner : str
        The right one, see ``key_partitions.key_hash``.
    before, now : int
        Numbers of partitions.
    unread : iterable of Waiting
        All clicks that wait, in offset order within a partition.

    Returns
    -------
    Growth
        Late clicks of a producer that has not noticed the growth count as those of another partitioner.

    References
    ----------
    The most probable path through states that are never left for an earlier one (Rabiner, 1989, left-right
    model), at a price for each number in between that grows as the log of the ways to place it.

    Examples
    --------
    >>> from feature_repo.contract.key_partitions import partition_of
    >>> keys = [f"s{number}".encode() for number in range(50)]
    >>> def sent(at, count):
    ...     return [Waiting(at, partition_of("murmur2", key, count), 0, key) for key in keys]
    >>> growth_of("murmur2", 4, 8, sent(1, 4) + sent(2, 6) + sent(3, 8))
    Growth(later=(6, 8), began_ms=2)
    >>> growth_of("murmur2", 4, 8, sent(1, 4) + sent(2, 8))
    Growth(later=(8,), began_ms=2)
    """
    clicks = _gathered(partitioner, unread)
    price = math.log(max(len(clicks.times), 1)) + math.log(max(now - before - 1, 1)) + _SURE
    path = max(
        (_most_probable(clicks, before, now, others, price) for others in _OTHERS), key=lambda one: one.log
    )
    began = int(clicks.times[path.first]) if path.first < len(clicks.times) else None
    return Growth((*path.between, now), began)


def _gathered(partitioner: str, unread: Iterable[Waiting]) -> _Clicks:
    """Keep what places depend on: 36 bytes a click, however long its key is."""
    names = (partitioner, *(name for name in PARTITIONERS if name != partitioner))
    times, partitions, hashes = array("q"), array("i"), array("q")
    for click in unread:
        times.append(click.time_ms)
        partitions.append(click.partition)
        hashes.extend([key_hash(name, click.key) for name in names])
    order = np.argsort(np.asarray(times, np.int64), kind="stable")
    return _Clicks(
        np.asarray(times, np.int64)[order],
        np.asarray(partitions, np.int32)[order],
        np.asarray(hashes, np.int64).reshape(-1, len(names))[order].T,
    )


def _most_probable(
    clicks: _Clicks, before: int, now: int, others: tuple[float, float], price: float
) -> _Path:
    """Find the numbers in between, first each on its own, then those together that convinced."""
    old, present = (_sums(clicks, number, *others) for number in (before, now))
    alone = {}
    for number in range(before + 1, now):
        path = _path({before: old, number: _sums(clicks, number, *others), now: present}, price)
        if path.between:
            alone[number] = path.log
    best = sorted(alone, key=lambda number: -alone[number])[:_TOGETHER]
    between = {number: _sums(clicks, number, *others) for number in sorted(best)}
    return _path({before: old, **between, now: present}, price)


def _sums(clicks: _Clicks, count: int, share: float, known: float) -> Floats:
    """Give, as a log, how probable the first n clicks are by a number of partitions, shape (clicks + 1,)."""
    right, *others = (hashes % count == clicks.partitions for hashes in clicks.hashes)
    foreign = np.full(len(clicks.partitions), (1 - known) / count)
    for other in others:
        foreign += known / len(others) * other
    logs = np.log((1 - share) * right + share * foreign)
    logs[clicks.partitions >= count] = _IMPOSSIBLE
    return np.concatenate(([0.0], np.cumsum(logs)))


def _path(sums: dict[int, Floats], price: float) -> _Path:
    """Find the most probable cut with these numbers, of which those in between may be left out.

    After each number, ``best[n]`` is the log of the best cut of the first n clicks that ends with one of the
    numbers so far.
    """
    (_, best), *later = sums.items()
    begins, better = [], []
    for number, own in later:
        entered = best - own - (price if number != later[-1][0] else 0.0)
        top = np.maximum.accumulate(entered)
        begins.append(np.maximum.accumulate(np.where(entered == top, np.arange(len(top)), 0)))
        better.append(own + top > best)
        best = np.maximum(own + top, best)
    end, between = len(best) - 1, []
    for (number, _), begin, is_better in zip(later[::-1], begins[::-1], better[::-1], strict=True):
        if is_better[end]:
            if number != later[-1][0] and begin[end] < end:
                between.append(number)
            end = int(begin[end])
    return _Path(float(best[-1]), tuple(between[::-1]), end)
