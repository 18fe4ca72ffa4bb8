"""Sessions and evaluation cases as flat index arrays. Knows nothing of files, tables or splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np


@dataclass(frozen=True)
class Sequences:
    """Sessions as one flat array: session i is ``items[offsets[i]:offsets[i + 1]]``, oldest click first.

    Attributes
    ----------
    session_ids : list of str
        One a session; several sessions of the gap rule may share an id.
    items : ndarray int32, shape (clicks,)
        Places in the catalogue.
    offsets : ndarray int64, shape (sessions + 1,)
    times : ndarray int64, shape (clicks,)
        Microseconds UTC, not falling inside a session.
    first_position : ndarray int64, shape (sessions,)
        Index of a session's first click in the whole history of its id.
    weights : ndarray float32, shape (clicks,), optional
        How much each click's item is spoken for (``session.event_types.weights``); None = all alike.

    Examples
    --------
    >>> Sequences.of([[0, 1, 2], [2, 1]])[1].tolist()
    [2, 1]
    """

    session_ids: list[str]
    items: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    first_position: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, sessions: Sequence[Sequence[int]]) -> Sequences:
        """Make sequences of plain lists; click n of every session happens at second n (for tests and
        examples).
        """
        lengths = [len(session) for session in sessions]
        items = np.array(list(chain.from_iterable(sessions)), dtype=np.int32)
        times = np.array(list(chain.from_iterable(map(range, lengths))), dtype=np.int64) * 1_000_000
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        return cls(
            [str(number) for number in range(len(sessions))],
            items,
            offsets,
            times,
            np.zeros(len(sessions), dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.session_ids)

    def __getitem__(self, place: int) -> np.ndarray:
        if not 0 <= place < len(self):
            raise IndexError(place)
        return self.items[self.offsets[place] : self.offsets[place + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (
            self.items[start:stop] for start, stop in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        )

    @cached_property
    def lengths(self) -> np.ndarray:
        """Clicks of each session, int64, shape (sessions,)."""
        return np.asarray(self.offsets[1:] - self.offsets[:-1])

    @cached_property
    def rows(self) -> np.ndarray:
        """For each click the place of its session, int64, shape (clicks,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @cached_property
    def steps_back(self) -> np.ndarray:
        """For each click how many clicks of its session follow it, int64, shape (clicks,); the last click has
        0.
        """
        return np.asarray(np.repeat(self.offsets[1:] - 1, self.lengths) - np.arange(self.clicks))

    @property
    def spoken(self) -> np.ndarray:
        """How much each click's item is spoken for, float32, shape (clicks,); 1 where nothing says."""
        return np.ones(self.clicks, dtype=np.float32) if self.weights is None else self.weights

    @property
    def clicks(self) -> int:
        """Clicks in all."""
        return len(self.items)

    @property
    def last_times(self) -> np.ndarray:
        """Time of each session's last click, microseconds UTC; sessions must not be empty."""
        return np.asarray(self.times[self.offsets[1:] - 1])

    def select(self, chosen: np.ndarray) -> Sequences:
        """Return the sessions named by a boolean mask or by places, in that order."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else np.asarray(chosen, dtype=np.int64)
        return self.part(places, np.zeros(len(places), dtype=np.int64), self.lengths[places])

    def part(self, places: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> Sequences:
        """Return clicks ``starts[i]:stops[i]`` of session ``places[i]`` as new sequences."""
        offsets = np.concatenate([[0], np.cumsum(stops - starts)]).astype(np.int64)
        flat = np.arange(offsets[-1]) + np.repeat(
            self.offsets[places] + starts - offsets[:-1], stops - starts
        )
        names = [self.session_ids[place] for place in places.tolist()]
        return Sequences(
            names,
            self.items[flat],
            offsets,
            self.times[flat],
            self.first_position[places] + starts,
            None if self.weights is None else self.weights[flat],
        )

    def cut(self, keep: np.ndarray) -> Sequences:
        """Return every session's first ``keep[i]`` clicks."""
        return self.part(
            np.arange(len(self)), np.zeros(len(self), dtype=np.int64), np.minimum(keep, self.lengths)
        )

    def joined(self, other: Sequences) -> Sequences:
        """Return these sessions followed by others."""
        return Sequences(
            self.session_ids + other.session_ids,
            np.concatenate([self.items, other.items]),
            np.concatenate([self.offsets, other.offsets[1:] + self.offsets[-1]]),
            np.concatenate([self.times, other.times]),
            np.concatenate([self.first_position, other.first_position]),
            None
            if self.weights is None and other.weights is None
            else np.concatenate([self.spoken, other.spoken]),
        )


@dataclass(frozen=True)
class Cases:
    """What is to be predicted: the clicks before, and the next one.

    Attributes
    ----------
    prefixes : Sequences
        The clicks before the target; never empty.
    targets : ndarray int32, shape (cases,)
        Place of the next item in the catalogue.
    positions : ndarray int64, shape (cases,)
        Index of the target in the whole history of its session id, from 0.
    long, short : ndarray float32, shape (cases, dim), optional
        Intent vectors known at the prefix's last click; a zero row where there is none.

    Examples
    --------
    >>> expand(Sequences.of([[3, 5, 4]])).ids
    ['0:1', '0:2']
    """

    prefixes: Sequences
    targets: np.ndarray
    positions: np.ndarray
    long: np.ndarray | None = None
    short: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def ids(self) -> list[str]:
        """Case ids, ``<session_id>:<position of the target>``."""
        return [
            f"{name}:{position}"
            for name, position in zip(self.prefixes.session_ids, self.positions.tolist(), strict=True)
        ]

    def select(self, chosen: np.ndarray) -> Cases:
        """Return the cases named by a boolean mask or by places, in that order."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else np.asarray(chosen)
        return Cases(
            self.prefixes.select(places),
            self.targets[places],
            self.positions[places],
            None if self.long is None else self.long[places],
            None if self.short is None else self.short[places],
        )

    def with_intents(self, long: np.ndarray | None, short: np.ndarray | None) -> Cases:
        """Return the same cases with other intent vectors."""
        return replace(self, long=long, short=short)


def expand(sequences: Sequences) -> Cases:
    """Make a case of every click but the first of every session.

    Parameters
    ----------
    sequences : Sequences

    Returns
    -------
    Cases
        In the order of sessions, then of clicks.
    """
    counts = np.maximum(sequences.lengths - 1, 0)
    places = np.repeat(np.arange(len(sequences)), counts)
    stops = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    return cases_at(sequences, places, stops)


def without_targets(
    prefixes: Sequences, long: np.ndarray | None = None, short: np.ndarray | None = None
) -> Cases:
    """Make cases of live prefixes, whose next click nobody knows; the targets are -1."""
    return Cases(
        prefixes,
        np.full(len(prefixes), -1, dtype=np.int32),
        prefixes.first_position + prefixes.lengths,
        long,
        short,
    )


def cases_at(sequences: Sequences, places: np.ndarray, stops: np.ndarray) -> Cases:
    """Make cases whose target is click ``stops[i]`` (from 1) of session ``places[i]``."""
    prefixes = sequences.part(places, np.zeros(len(places), dtype=np.int64), stops)
    targets = sequences.items[sequences.offsets[places] + stops]
    return Cases(prefixes, targets, sequences.first_position[places] + stops)
