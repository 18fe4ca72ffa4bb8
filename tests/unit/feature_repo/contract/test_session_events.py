"""Types of events in the fold, against a plain-Python oracle that looks at the whole log at once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract import session
from feature_repo.contract import tables as columns
from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.session import FoldClick, FoldConfig
from feature_repo.contract.settings import EventSettings, SessionSettings

SECOND = 1_000_000
CONFIG = FoldConfig(gap_us=600 * SECOND, max_items=5)
TYPES = (None, "view", "addtocart", "transaction", "impression", "zap")

clicks = st.builds(
    FoldClick,
    event_id=st.integers(0, 60).map("e{}".format),
    item_id=st.sampled_from("abcdef"),
    event_time_us=st.integers(0, 4_000).map(lambda second: second * SECOND),
    arrival_time_us=st.just(0),
    event_type=st.sampled_from(TYPES),
)
logs = st.lists(clicks, max_size=60)


def folded(log, config=CONFIG):
    state = session.empty()
    for click in log:
        state = session.apply(state, click, config)
    return state


def only_clicks(log):
    seen, kept = set(), []
    for click in log:
        if click.event_id not in seen and click.event_type in (None, "view"):
            kept.append(click)
        seen.add(click.event_id)
    return kept


@given(logs)
def test_other_events_change_no_feature_of_the_clicks(log):
    state, alone = folded(log), folded(only_clicks(log))
    assert bool(state.count) == bool(alone.count)
    if state.count:
        assert session.features(state) == session.features(alone)


@given(logs)
def test_the_state_is_stored_and_read_back_whole_and_is_bounded(log):
    state = folded(log)
    assert session.decode(session.encode(state)) == state
    assert len(state.ended) <= CONFIG.max_items and len(state.kinds) <= len(TYPES)
    assert list(state.kinds) == sorted(state.kinds)


@given(logs)
def test_an_event_moves_the_session_only_where_it_is_a_click_or_ends_interest_within_it(log):
    state = session.empty()
    for click in log:
        after = session.apply(state, click, CONFIG)
        new = click.event_id not in state.seen
        inside = (
            state.count
            and click.event_time_us - state.event_timestamp_us <= CONFIG.gap_us
            and state.start_us - click.event_time_us <= CONFIG.gap_us
        )
        clicked = click.event_type in (None, "view")
        assert after.moved_since(state) == bool(
            new and (clicked or (click.event_type == "transaction" and inside))
        )
        if not after.moved_since(state):
            shown = (after.kinds, after.tallies, after.ended, after.items)
            assert shown == (state.kinds, state.tallies, state.ended, state.items)
        state = after


@given(st.lists(clicks, max_size=40))
def test_without_a_gap_every_event_is_counted_once_and_every_purchase_ends_interest(log):
    config = FoldConfig(gap_us=None, max_items=100)
    last = FoldClick("last", "a", 9_999 * SECOND, 0)
    state = folded([*log, last], config)
    first = {}
    for click in [*log, last]:
        first.setdefault(click.event_id, click)
    names = [config.events.of(click.event_type).name for click in first.values()]
    assert dict(zip(state.kinds, state.tallies, strict=True)) == {
        name: names.count(name) for name in set(names)
    }
    bought = {click.item_id for click in first.values() if click.event_type == "transaction"}
    assert set(state.ended) == bought


def at(second, item, kind=None, event=None):
    return FoldClick(event or f"{kind}{second}", item, second * SECOND, second * SECOND, kind)


def test_a_purchase_before_the_first_view_counts_for_the_session_that_begins_within_the_gap():
    state = folded([at(0, "a", "transaction")])
    assert (state.count, state.ended) == (0, ())
    assert folded([at(0, "a", "transaction"), at(60, "b", "view")]).ended == ("a",)
    later = folded([at(0, "a", "transaction"), at(700, "b", "view")])
    assert (later.ended, later.kinds) == ((), ("view",))


def test_a_new_session_forgets_what_was_bought_and_counted():
    state = folded([at(0, "a", "view"), at(5, "a", "transaction"), at(900, "b", "view")])
    assert (state.items, state.ended, state.kinds, state.tallies) == (("b",), (), ("view",), (1,))


def test_bought_twice_is_ended_once():
    state = folded([at(0, "a", "view"), at(5, "a", "buy"), at(6, "b", "buy"), at(7, "a", "orders")])
    assert (state.ended, dict(zip(state.kinds, state.tallies, strict=True))) == (
        ("b", "a"),
        {"view": 1, "purchase": 3},
    )


def test_by_setting_nothing_ends_interest_and_every_type_is_a_click():
    events = EventSettings(fold=("*",), ends=())
    config = FoldConfig.from_settings(SessionSettings(event_types=events))
    state = folded([at(0, "a", "view"), at(1, "b", "zap"), at(2, "c", "transaction")], config)
    assert (state.items, state.ended) == (("a", "b", "c"), ())


def test_the_features_are_named_as_the_table():
    state = folded([at(0, "a", "view"), at(1, "a", "addtocart"), at(2, "b", "view")])
    assert list(session.event_features(state)) == [name for name, _ in columns.SESSION_EVENT_FIELDS]
    assert session.event_features(state)["event_counts"] == [1, 2]


def test_a_state_of_a_version_that_took_every_event_for_a_click_goes_on():
    old = (1, [["a", "b"], [0, 1], ["x", "y"], 2, 0, 0, 1, 1])
    import msgspec

    state = session.decode(msgspec.msgpack.encode(old))
    assert (state.items, state.kinds, state.tallies, state.ended) == (("a", "b"), ("click",), (2,), ())


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("view", "view"),
        ("addtocart", "cart"),
        ("transaction", "purchase"),
        ("clicks", "click"),
        ("carts", "cart"),
        ("orders", "purchase"),
        ("buys", "purchase"),
        ("pv", "view"),
        ("Add To Cart", "cart"),
        (None, "click"),
        ("", "click"),
        ("shrug", "other"),
    ],
)
def test_spellings_of_public_logs_are_known(spelling, name):
    assert EventRules().of(spelling).name == name


def test_the_rules_are_plain_json_and_a_value():
    rules = EventRules.from_settings(EventSettings(fold=("addtocart", "view"), weights={"buys": 2}))
    assert rules == EventRules.from_settings(EventSettings(fold=("view", "carts"), weights={"orders": 2.0}))
    assert json.loads(json.dumps(rules.as_json()))["fold"] == ["cart", "view"]
    assert rules.of("cart").folded and rules.of("order").weight == 2.0
