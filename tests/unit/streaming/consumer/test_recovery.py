import pytest

from streaming.consumer.recovery import Plan, plan
from streaming.errors import StateLostError


def _plan(**changes: object) -> Plan:
    return plan(
        "clicks-0",
        **{"stored": None, "committed": None, "answered": -1, "beginning": 0, "end": 100, **changes},
    )  # type: ignore[arg-type]


def test_new_group_begins_at_the_beginning_and_answers_all() -> None:
    assert _plan() == Plan(0, 0, False)
    assert _plan(beginning=30) == Plan(30, 30, False)


def test_local_state_ahead_of_the_commit_wins_and_its_outbox_is_looked_at() -> None:
    assert _plan(stored=50, committed=40) == Plan(50, 50, True)
    assert _plan(stored=50, committed=None) == Plan(50, 50, True)
    assert _plan(stored=50, committed=50) == Plan(50, 50, False)


def test_state_behind_the_commit_is_folded_again_silently() -> None:
    assert _plan(stored=40, committed=50) == Plan(40, 50, False)


def test_lost_state_is_rebuilt_without_answering_twice() -> None:
    assert _plan(committed=50) == Plan(0, 50, False)
    assert _plan(committed=50, answered=53) == Plan(0, 54, False)


def test_trimmed_topic_stops_loudly_and_goes_on_only_when_told() -> None:
    with pytest.raises(StateLostError, match=r"no local state.*--rebuild-from-rest"):
        _plan(committed=50, beginning=10)
    with pytest.raises(StateLostError, match=r"10 clicks are lost.*--rebuild-from-rest"):
        _plan(stored=20, committed=20, beginning=30)
    assert _plan(committed=50, beginning=10, accept_loss=True) == Plan(10, 50, False)
    assert _plan(stored=20, committed=20, beginning=30, accept_loss=True) == Plan(30, 30, True)


def test_state_of_another_topic_is_refused() -> None:
    with pytest.raises(StateLostError, match="made anew"):
        _plan(stored=200, committed=200)
