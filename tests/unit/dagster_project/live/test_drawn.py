"""Which live sessions are shown, and what was clicked next in them."""

from __future__ import annotations

import json

from dagster_project.live.drawn import Draw, Next, Sent, following
from feature_repo.contract.messages import Click


def sent(*clicks):
    """Clicks as (session, item, time), one partition."""
    return [
        Sent((0, place), Click(f"e{place}", session, item, time))
        for place, (session, item, time) in enumerate(clicks)
    ]


def answer(*items):
    return json.dumps({"items": [{"item_id": item} for item in items]}).encode()


def test_next_click_is_of_the_same_session_and_within_the_gap():
    found = following(sent(("a", "x", 0), ("b", "y", 1), ("a", "z", 5), ("a", "w", 99)), 10)
    assert found == {(0, 0): Next(1, "z")}
    assert following(sent(("a", "x", 0), ("a", "w", 99)), None) == {(0, 0): Next(1, "w")}


def test_count_starts_anew_after_a_gap():
    found = following(sent(("a", "x", 0), ("a", "y", 99), ("a", "z", 100), ("a", "v", 101)), 10)
    assert found == {(0, 1): Next(1, "z"), (0, 2): Next(2, "v")}


def test_a_click_sent_twice_is_not_its_own_successor():
    once = sent(("a", "x", 0), ("a", "y", 1))
    again = Sent((0, 2), once[0].click)
    assert following([once[0], Sent((0, 1), once[0].click), once[1], again], None) == {(0, 0): Next(1, "y")}


def drawn(order):
    clicks = sent(*((f"s{number}", item, time) for number in range(40) for time, item in enumerate("xyz")))
    draw = Draw(following(clicks, None), sessions=5)
    for place in order(range(len(clicks))):
        draw.offer(clicks[place].click.session_id, (0, place), answer("z", "y"))
    return draw.drawn()


def test_same_sessions_are_drawn_in_whatever_order_answers_come():
    found = drawn(list)
    assert len(found) == 5 and found == drawn(lambda places: list(places)[::-1])
    assert len({entry["offset"] // 3 for entry in found}) == 5


def test_rank_is_that_of_the_next_item_or_none():
    assert {(entry["clicked_next"], entry["rank"]) for entry in drawn(list)} <= {("y", 2), ("z", 1)}
    draw = Draw({(0, 0): Next(1, "q")})
    draw.offer("s", (0, 0), answer("x"))
    draw.offer("s", (0, 1), answer("q"))  # its click has no successor
    assert [(entry["offset"], entry["rank"]) for entry in draw.drawn()] == [(0, None)]
