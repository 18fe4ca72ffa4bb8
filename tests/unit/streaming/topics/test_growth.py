"""How a topic grew is read off its clicks, whatever else is among them."""

import random
import zlib
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract.key_partitions import partition_of
from feature_repo.contract.settings import KafkaSettings
from streaming.topics.fence import Widths, fences_of, left_home, place_of
from streaming.topics.growth import Growth, Waiting, growth_of

home = place_of(KafkaSettings())


class Sent(NamedTuple):
    """A click, and whether the producer with the right partitioner sent it."""

    click: Waiting
    right: bool


def _sent(seed: int, phases: list[tuple[int, float]], others: float, rate: float = 150.0) -> list[Sent]:
    """Clicks of 120 sessions at a rate a second; phases are (number of partitions, seconds)."""
    draw, now, ends, result = random.Random(seed), 0.0, {}, []
    for count, seconds in phases:
        until = now + seconds
        while (now := now + draw.expovariate(rate)) < until:
            key, right = f"{seed}-s{draw.randrange(120)}".encode(), draw.random() >= others
            partition = home(key, count) if right else zlib.crc32(key) % count
            offset = ends[partition] = ends.get(partition, -1) + 1
            result.append(Sent(Waiting(int(now * 1000), partition, offset, key), right))
    return result


def _refused(sent: list[Sent], before: int, now: int) -> tuple[list[Sent], list[int]]:
    """Read step by step as whoever moves states does; the refused, and the numbers on the way."""
    refused, numbers = [], [before]
    while sent:
        clicks = [one.click for one in sent]
        later, began = growth_of("murmur2", numbers[-1], now, clicks) if numbers[-1] != now else ((), None)
        widths = Widths(numbers[-1], later)
        left = left_home(home, widths, clicks) if len(later) > 1 else {}
        fences = fences_of(home, widths, began, clicks, left)
        for one in sent:
            if one.click.partition < numbers[-1] and one.click.offset < fences.get(
                one.click.partition, 1 << 60
            ):
                refused += [one] if home(one.click.key, numbers[-1]) != one.click.partition else []
        sent = (
            [
                one
                for one in sent
                if not later
                or one.click.partition >= widths.before
                or one.click.offset >= fences.get(one.click.partition, 1 << 60)
            ]
            if later
            else []
        )
        numbers += later[:1]
    return refused, numbers


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    before=st.integers(2, 6),
    added=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    gap=st.floats(0.3, 2.0),
    others=st.sampled_from([0.0, 0.05, 0.3, 0.5]),
)
def test_two_growths_within_two_seconds_cost_no_right_click_beside_another_partitioner(
    seed, before, added, gap, others
):
    between, now = before + added[0], before + sum(added)
    sent = _sent(seed, [(before, 5.0), (between, gap), (now, 5.0)], others)
    refused, numbers = _refused(sent, before, now)
    wrongly = [one for one in refused if one.right]
    # where the growth fell between two clicks of which the other partitioner's looks right by both numbers,
    # nothing tells which came first: one or two of those that stood next to it
    assert len(wrongly) <= 2, (numbers, wrongly)
    assert {before, between, now} <= set(numbers)
    stand_right = lambda one, count: home(one.click.key, count) == one.click.partition
    sure = [one for one in sent if not any(stand_right(one, count) for count in (before, between, now))]
    assert {one.click for one in sure} <= {one.click for one in refused}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 6), st.sampled_from([0.05, 0.3, 0.6]))
def test_one_growth_is_one_and_its_moment_is_found(seed, before, added, others):
    sent = _sent(seed, [(before, 4.0), (before + added, 4.0)], others)
    found = growth_of("murmur2", before, before + added, [one.click for one in sent])
    assert found.later == (before + added,)
    assert found.began_ms == pytest.approx(4000, abs=120)


def _at(time_ms: int, count: int, partitioner: str = "murmur2", keys: int = 40) -> list[Waiting]:
    names = [f"s{number}".encode() for number in range(keys)]
    return [Waiting(time_ms, partition_of(partitioner, name, count), 0, name) for name in names]


@pytest.mark.parametrize(
    ("now", "clicks", "numbers"),
    [
        (9, _at(1, 4) + _at(3, 9) + _at(2, 6), (6, 9)),
        (9, _at(1, 5) + _at(2, 6) + _at(3, 9), (5, 6, 9)),
        (20, _at(1, 6) + _at(2, 20), (6, 20)),
        (9, _at(1, 4) + _at(2, 9), (9,)),
        (9, _at(1, 4), (9,)),
        (9, [], (9,)),
        (5, _at(1, 4) + _at(2, 5), (5,)),
        (9, _at(0, 4, "crc32") + _at(2, 9), (9,)),
        (9, _at(0, 4, "crc32") + _at(2, 6) + _at(3, 9), (6, 9)),
        (9, _at(0, 4, "fnv1a") + _at(2, 6) + _at(3, 9), (6, 9)),
        (9, _at(0, 4) + _at(0, 4, "crc32") + _at(1, 6, keys=8) + _at(1, 6, "crc32") + _at(2, 9), (6, 9)),
    ],
)
def test_numbers_in_between_are_those_by_which_clicks_were_sent(now, clicks, numbers):
    assert growth_of("murmur2", 4, now, clicks).later == numbers


def test_another_partitioner_that_is_adopted_is_the_right_one():
    clicks = _at(1, 4, "crc32") + _at(1, 4) + _at(2, 6, "crc32") + _at(3, 9, "crc32")
    assert growth_of("crc32", 4, 9, clicks) == Growth((6, 9), 2)


def test_nothing_tells_of_a_growth_that_no_click_has_seen():
    assert growth_of("murmur2", 4, 6, _at(1, 4)) == Growth((6,), None)
    assert growth_of("murmur2", 4, 6, []) == Growth((6,), None)
