"""The fold against a plain-Python oracle that sorts all clicks at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract import session
from feature_repo.contract import tables as columns
from feature_repo.contract.session import FoldClick, FoldConfig, SessionState
from feature_repo.contract.settings import SessionSettings

SECOND = 1_000_000
CONFIG = FoldConfig(gap_us=600 * SECOND, max_items=5)
WHOLE_HISTORY = FoldConfig(gap_us=None, max_items=1000)

clicks = st.builds(
    FoldClick,
    event_id=st.integers(0, 40).map("e{}".format),
    item_id=st.sampled_from("abcdef"),
    event_time_us=st.integers(0, 5_000).map(lambda second: second * SECOND),
    arrival_time_us=st.integers(0, 6_000).map(lambda second: second * SECOND),
)
logs = st.lists(clicks, max_size=60)


def fold(log: list[FoldClick], config: FoldConfig, state: SessionState | None = None) -> SessionState:
    state = session.empty() if state is None else state
    for click in log:
        state = session.apply(state, click, config)
    return state


def distinct(log: list[FoldClick]) -> list[FoldClick]:
    first: dict[str, FoldClick] = {}
    for click in log:
        first.setdefault(click.event_id, click)
    return list(first.values())


@given(logs)
def test_without_gap_the_items_are_all_distinct_clicks_by_event_time(log):
    state = fold(log, WHOLE_HISTORY)
    expected = sorted(distinct(log), key=lambda click: click.event_time_us)
    assert list(state.items) == [click.item_id for click in expected]
    assert state.count == len(expected)


@given(logs)
def test_the_gap_rule_equals_a_forward_scan(log):
    state = fold(log, CONFIG)
    current: list[FoldClick] = []
    newest = -1
    late = 0
    for click in distinct(log):
        time = click.event_time_us
        if not current or time - newest > CONFIG.gap_us:
            current, newest, late = [click], time, 0
            continue
        late += time < newest
        if min(c.event_time_us for c in current) - time <= CONFIG.gap_us:
            current.append(click)
            newest = max(newest, time)
    by_time = sorted(current, key=lambda click: click.event_time_us)
    assert list(state.items) == [click.item_id for click in by_time][-CONFIG.max_items :]
    assert (state.count, state.late) == (len(current), late)


@given(logs, st.integers(0, 60))
def test_folding_in_two_parts_equals_folding_at_once(log, cut):
    stored = session.decode(session.encode(fold(log[:cut], CONFIG)))
    assert fold(log[cut:], CONFIG, stored) == fold(log, CONFIG)


@given(logs)
def test_a_duplicate_changes_nothing_and_returns_the_same_object(log):
    state = fold(log, CONFIG)
    for click in log:
        assert session.apply(state, click, CONFIG) is state


@given(logs)
def test_created_strictly_increases_and_event_time_never_goes_back_within_a_session(log):
    state = session.empty()
    for click in log:
        after = session.apply(state, click, CONFIG)
        if after is not state:
            assert after.created_us > state.created_us
            assert after.event_timestamp_us >= state.event_timestamp_us
        state = after


@given(logs)
def test_the_state_is_bounded(log):
    state = fold(log, CONFIG)
    assert len(state.items) == len(state.times) <= CONFIG.max_items
    assert len(state.seen) <= session.SEEN_EVENTS


@given(logs.filter(bool))
def test_the_features_are_named_as_the_table_and_finite(log):
    features = session.features(fold(log, CONFIG))
    assert list(features) == [name for name, _ in columns.SESSION_FEATURE_FIELDS]
    assert 0.0 <= features["repeat_share"] < 1.0
    assert features["duration_seconds"] >= 0.0
    assert features["items"][-1] == features["last_item"]


def test_seen_events_are_forgotten_in_arrival_order():
    log = [FoldClick(f"e{n}", "a", n * SECOND, n * SECOND) for n in range(session.SEEN_EVENTS + 1)]
    state = fold(log, WHOLE_HISTORY)
    assert session.apply(state, log[1], WHOLE_HISTORY) is state
    assert session.apply(state, log[0], WHOLE_HISTORY) is not state


def test_a_state_of_another_version_is_refused_with_the_remedy():
    import msgspec
    import pytest

    with pytest.raises(ValueError, match="version 99.*delete the state folder"):
        session.decode(msgspec.msgpack.encode((99, session.empty())))
    with pytest.raises(ValueError, match="cannot be read"):
        session.decode(b"\x00rubbish")


def test_features_of_an_empty_state_are_refused():
    import pytest

    with pytest.raises(ValueError, match="no features"):
        session.features(session.empty())


def test_the_gap_of_the_settings_is_in_minutes():
    assert FoldConfig.from_settings(SessionSettings(gap_minutes=10)).gap_us == 600 * SECOND
    assert FoldConfig.from_settings(SessionSettings(gap_minutes=None)).gap_us is None
