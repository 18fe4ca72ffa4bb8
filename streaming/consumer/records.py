"""What a partition's store keeps beside sessions: what the last batch has to send, and what it belongs to."""

from __future__ import annotations

import msgspec

from streaming.topics.layout import Layout


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """One dead letter: offset, original key and value, headers."""

    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Outbox(msgspec.Struct, frozen=True, array_like=True):
    """What a batch gives to the world, kept beside the state so that a crash sends the very same bytes.

    Attributes
    ----------
    answers : list of (offset, key, value)
        For the recommendations topic, in offset order.
    letters : list of Letter
        For the dead letter topic, in offset order.
    sessions : list of str
        Sessions whose features changed; the rows follow from their states.
    """

    answers: list[tuple[int, bytes, bytes]] = []
    letters: list[Letter] = []
    sessions: list[str] = []


class Marks(msgspec.Struct, frozen=True, array_like=True):
    """What a store belongs to, and up to where it only restores; stored before the first click is folded.

    Attributes
    ----------
    layout : Layout
        The log whose offsets it counts.
    answer_from, letter_from : int
        Below these offsets the answers, and the dead letters, are out already: clicks there are folded
        silently.
    """

    layout: Layout
    answer_from: int
    letter_from: int
