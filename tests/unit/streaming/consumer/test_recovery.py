import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.consumer.recovery import Plan, Sent, plan
from streaming.errors import StateLostError

sys.path.append(str(Path(__file__).parents[1]))
from recovery_world import World


def _plan(answers: int = -1, letters: int = -1, **changes: object) -> Plan:
    given = {
        "stored": None,
        "committed": None,
        "sent": Sent(answers, letters),
        "beginning": 0,
        "end": 100,
        **changes,
    }
    return plan("clicks-0", **given)  # type: ignore[arg-type]


def test_new_group_begins_at_the_beginning_and_answers_all() -> None:
    assert _plan() == Plan(0, 0, False, 0)
    assert _plan(beginning=30) == Plan(30, 30, False, 30)


def test_local_state_ahead_of_the_commit_wins_and_its_outbox_is_looked_at() -> None:
    assert _plan(stored=50, committed=40) == Plan(50, 50, True, 50)
    assert _plan(stored=50, committed=None) == Plan(50, 50, True, 50)
    assert _plan(stored=50, committed=50) == Plan(50, 50, False, 50)


def test_state_behind_the_commit_is_folded_again_silently() -> None:
    assert _plan(stored=40, committed=50) == Plan(40, 50, False, 50)


def test_lost_state_is_rebuilt_without_answering_twice() -> None:
    assert _plan(committed=50) == Plan(0, 50, False, 50)
    assert _plan(committed=50, answers=53) == Plan(0, 54, False, 50)
    assert _plan(committed=50, answers=53, letters=55) == Plan(0, 54, False, 56)


def test_state_that_was_being_restored_goes_on_being_restored_up_to_the_same_offset() -> None:
    assert _plan(stored=20, committed=20, marks=(54, 52)) == Plan(20, 54, False, 52)


def test_state_behind_what_another_consumer_answered_does_not_answer_it_again() -> None:
    assert _plan(stored=50, committed=50, answers=53) == Plan(50, 54, False, 50)


def test_trimmed_topic_stops_loudly_and_goes_on_only_when_told() -> None:
    with pytest.raises(StateLostError, match=r"no local state.*--accept-loss"):
        _plan(committed=50, beginning=10)
    with pytest.raises(StateLostError, match=r"no local state.*--accept-loss"):
        _plan(answers=50, beginning=10)
    with pytest.raises(StateLostError, match=r"10 clicks are lost.*--accept-loss"):
        _plan(stored=20, committed=20, beginning=30)
    assert _plan(committed=50, beginning=10, accept_loss=True) == Plan(10, 50, False, 50)
    assert _plan(stored=20, committed=20, beginning=30, accept_loss=True) == Plan(30, 30, False, 30)


def test_log_that_ends_before_the_state_is_refused_and_its_loss_can_be_accepted() -> None:
    for changes in (
        {"stored": 200, "committed": 200},
        {"committed": 101},
        {"answers": 100},
        {"letters": 100},
        {"stored": 90, "marks": (120, 90)},
    ):
        with pytest.raises(StateLostError, match=r"made anew or lost its end.*--accept-loss"):
            _plan(**changes)
    assert _plan(stored=200, committed=200, accept_loss=True) == Plan(100, 100, False, 100, True)
    assert _plan(stored=70, committed=200, accept_loss=True) == Plan(70, 100, False, 100, True)
    assert _plan(committed=200, accept_loss=True) == Plan(0, 100, False, 100, True)


_STEPS = st.one_of(
    st.tuples(st.just("start"), st.sampled_from("abc")),
    st.tuples(st.just("batch"), st.integers(1, 7), st.integers(0, 7), st.integers(0, 7)),
    st.tuples(st.just("commit")),
    st.tuples(st.just("kill"), st.sampled_from(["before", "after"])),
    st.tuples(st.just("stop")),
    st.tuples(st.just("wipe"), st.sampled_from("abc")),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["answer", "answer", "letter", "nothing"]), min_size=1, max_size=30),
    st.lists(_STEPS, max_size=40),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("AB"), max_size=3),
    st.booleans(),
)
def test_no_offset_is_answered_twice_or_never(
    kinds: list[str], steps: list[tuple[object, ...]], shared: dict[str, str], resend_dies: bool
) -> None:
    """Any sequence of kills, restores, lost disks and moves between consumers, with own or shared folders."""
    world = World(kinds, shared, resend_dies)
    for name, *arguments in steps:
        getattr(world, str(name))(*arguments)
    world.finish()
    assert world.answers == [offset for offset, kind in enumerate(kinds) if kind == "answer"]
    assert world.letters == [offset for offset, kind in enumerate(kinds) if kind == "letter"]
    assert world.states_are_whole()
