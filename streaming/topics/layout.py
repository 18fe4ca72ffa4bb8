"""Which log a state or a commit belongs to: the topic's own id, its number of partitions, and what a change
of either means. Knows no client.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from streaming.errors import StateLostError, StateMovedError


class Layout(msgspec.Struct, frozen=True):
    """The log of a clicks topic as a state or a commit knows it; kept in every store and as the metadata of
    every commit.

    Attributes
    ----------
    topic_id : str
        Kafka's id of the topic; a topic that is deleted and made again has another.
    partitions : int
        Number of partitions by which session ids have their places.
    cut : int
        How often a person accepted that the end of this partition's log was lost: offsets after it were given
        a second time.
    moved : bool
        Whether the states of this layout came out of another one by ``streaming repartition``.
    """

    topic_id: str
    partitions: int
    cut: int = 0
    moved: bool = False

    @property
    def log(self) -> bytes:
        """What names the log in the headers of answers: offsets compare only between messages that have it in
        common.
        """
        return f"{self.topic_id}/{self.cut}".encode()

    def same_log(self, other: Layout) -> bool:
        """Whether offsets of both mean the same records."""
        return (self.topic_id, self.cut) == (other.topic_id, other.cut)


_ENCODER, _DECODER = msgspec.json.Encoder(), msgspec.json.Decoder(Layout)


def encode(layout: Layout) -> bytes:
    """Give a layout as JSON, for a store or the metadata of a commit."""
    return _ENCODER.encode(layout)


def decode(raw: bytes | str | None) -> Layout | None:
    """Read what ``encode`` made; None for a store or commit of an older version, and for what another program
    wrote there.

    Examples
    --------
    >>> decode(encode(Layout("0a", 4))) == Layout("0a", 4)
    True
    >>> decode("") is None
    True
    """
    try:
        return _DECODER.decode(raw or b"")
    except msgspec.MsgspecError:
        return None


def check_partitions(topic: str, state: int, now: int) -> None:
    """Decide what a changed number of partitions means for stored state: nothing goes on until the states
    were moved (``streaming.consumer.moves.repartition``).

    Called at every start and assignment; to be called as well by whoever notices partitions that are added
    while a consumer runs.

    Parameters
    ----------
    topic : str
        Clicks topic, for the message.
    state : int
        Number of partitions by which the stored states have their places.
    now : int
        Number that the topic has.

    Raises
    ------
    StateMovedError
        They differ: the clicks of a session may come on another partition than the one whose state knows it.
    """
    if state != now:
        raise StateMovedError(
            f"topic '{topic}' has {now} partitions, but its states were made with {state}: session ids have "
            "moved to other partitions; a consumer that runs moves the states, and so does `python -m "
            "streaming repartition`"
        )


def of_group(topic: str, now: Layout, commits: Iterable[Layout | None], accept_loss: bool = False) -> Layout:
    """Give the layout that the group works by, from the topic as it is and from all its commits.

    Parameters
    ----------
    topic : str
        Clicks topic, for messages.
    now : Layout
        Id and partitions of the topic as the broker has it.
    commits : iterable of Layout or None
        What each partition's commit says; None = no commit, or one of an older version.
    accept_loss : bool
        Go on with the new topic where the old one was deleted.

    Returns
    -------
    Layout
        ``now``, and whether its states were moved.

    Raises
    ------
    StateLostError
        The group's commits belong to another topic of this name.
    StateMovedError
        See ``check_partitions``.
    """
    known = [one for one in commits if one is not None]
    if any(one.topic_id != now.topic_id for one in known) and not accept_loss:
        raise made_anew(f"topic '{topic}'", "the group's commit is")
    same = [one for one in known if one.topic_id == now.topic_id]
    if same:
        check_partitions(topic, max(one.partitions for one in same), now.partitions)
    return Layout(
        now.topic_id, now.partitions, 0, any(one.moved for one in same if one.partitions == now.partitions)
    )


def made_anew(name: str, whose: str) -> StateLostError:
    """Give the error for a topic that was deleted and made again under state that belongs to the one
    before.
    """
    return StateLostError(
        f"{name}: {whose} of another topic of this name: it was made anew; start with --accept-loss to go "
        "on with the new one (sessions keep what is known of them, its clicks are answered from its "
        "beginning)"
    )
