from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from feature_repo.contract.key_partitions import partition_of
from streaming.errors import StateMovedError, StreamingError
from streaming.topics.fence import Fence, Widths, fences_of, left_home
from streaming.topics.growth import Waiting


class Name(NamedTuple):
    topic: str
    partition: int


class Client:
    """Remembers what it was asked to do."""

    def __init__(self, position: int, end: int) -> None:
        self.at, self.end, self.paused = position, end, False

    def seek(self, name: Name, offset: int) -> None:
        self.at = offset

    def pause(self, name: Name) -> None:
        self.paused = True

    def position(self, name: Name) -> int:
        return self.at

    def assignment(self) -> set[Name]:
        return {NAME}

    def end_offsets(self, names: list[Name]) -> dict[Name, int]:
        return dict.fromkeys(names, self.end)


NAME = Name("clicks", 0)
home = partial(partition_of, "murmur2")
THREE = lambda: 3


def _key(before: int, now: int) -> bytes:
    """A key with this place of 2 and of 3 partitions."""
    return next(
        key
        for key in (f"s{number}".encode() for number in range(1000))
        if (home(key, 2), home(key, 3)) == (before, now)
    )


def _records(*keys: bytes | None) -> list[Any]:
    return [SimpleNamespace(offset=offset, key=key, timestamp=offset) for offset, key in enumerate(keys)]


def _waiting(*keys: bytes) -> list[Waiting]:
    return [Waiting(offset, 0, offset, key) for offset, key in enumerate(keys)]


def test_partition_ends_before_the_first_click_that_only_more_partitions_explain() -> None:
    fence, client = Fence(home, Widths(2, (3,))), Client(9, 9)
    records = _records(_key(0, 2), None, _key(0, 0), _key(1, 2), _key(1, 0), _key(0, 0))
    assert fence.cut(client, {NAME: records}, THREE) == {
        NAME: records[:4]
    }  # the fourth is on a wrong partition by either number: no sign of growth
    assert (client.at, client.paused) == (4, True)
    fence.note(client)
    assert fence.reached == {0: 4}


def test_partition_without_such_a_click_is_read_to_its_end() -> None:
    fence, client = Fence(home, Widths(2, (3,))), Client(2, 2)
    records = _records(_key(0, 1), _key(0, 0))
    assert fence.cut(client, {NAME: records}, THREE) == {NAME: records}
    fence.note(client)
    assert fence.reached == {0: 2}
    with pytest.raises(StreamingError, match="offset 1 of 2 only"):
        fence.note(Client(1, 2))


def test_partition_ends_at_its_first_newer_click_from_the_growth_on() -> None:
    old, both, new, widths = _key(0, 1), _key(0, 0), _key(1, 0), Widths(2, (3,))
    fences = lambda began, *keys: fences_of(home, widths, began, _waiting(*keys), {})
    assert fences(None, old, new, old) == {}
    assert fences(1, old, new, old) == {0: 1}
    assert fences(2, old, new, both, old, new) == {0: 4}
    assert fences(5, old, new) == {}


def test_what_was_looked_at_is_cut_where_the_look_said_and_what_came_later_at_its_first_click() -> None:
    stray = _records(_key(0, 1), _key(1, 0), _key(0, 1), _key(1, 0))
    fence, client = Fence(home, Widths(2, (3,)), {}, {0: 3}), Client(9, 9)
    assert fence.cut(client, {NAME: stray}, THREE) == {NAME: stray[:3]}
    assert client.at == 3
    fence = Fence(home, Widths(2, (3,)), {0: 2}, {0: 3})
    assert fence.cut(client, {NAME: stray}, THREE) == {NAME: stray[:2]}


def test_session_that_came_back_to_its_first_partition_waits_for_what_it_did_in_between() -> None:
    key = next(
        key
        for key in (f"s{number}".encode() for number in range(1000))
        if (home(key, 2), home(key, 4), home(key, 6)) == (0, 2, 0)
    )
    clicks = [Waiting(10, 0, 0, key), Waiting(30, 0, 1, key), Waiting(20, 2, 0, key)]
    twice, once = Widths(2, (4, 6)), Widths(2, (6,))
    left = left_home(home, twice, clicks)
    assert left == {key: 20}
    assert fences_of(home, twice, 20, clicks, left) == {0: 1, 2: 0}
    assert fences_of(home, once, None, clicks[:2], {}) == {}


def test_clicks_of_every_number_behind_the_old_one_end_a_partition() -> None:
    key = next(
        key
        for key in (f"s{number}".encode() for number in range(1000))
        if home(key, 5) == 0 and 0 not in {home(key, count) for count in (2, 3, 7)}
    )
    assert fences_of(home, Widths(2, (3, 5, 7)), 0, _waiting(_key(0, 1), key), {}) == {0: 1}


def test_click_behind_the_look_is_read_only_where_the_topic_is_still_as_it_was() -> None:
    fence, client = Fence(home, Widths(2, (3,)), {}, {0: 2}), Client(9, 9)
    records, asked = _records(_key(0, 1), _key(0, 1), _key(0, 1)), iter([3, 4])
    assert fence.cut(client, {NAME: records[:2]}, lambda: pytest.fail("nothing is new")) == {
        NAME: records[:2]
    }
    assert fence.cut(client, {NAME: records}, lambda: next(asked)) == {NAME: records}
    assert not fence.outdated
    with pytest.raises(StateMovedError, match="4 partitions"):
        fence.cut(client, {NAME: records}, lambda: next(asked))
    assert fence.outdated
