import pytest

from streaming.errors import StateLostError, StateMovedError
from streaming.topics.layout import Layout, check_partitions, decode, encode, of_group

NOW = Layout("0a", 6)


def test_layout_survives_a_commit_and_foreign_metadata_is_none() -> None:
    assert decode(encode(Layout("0a", 6, 2, True)).decode()) == Layout("0a", 6, 2, True)
    assert [decode(text) for text in ("", None, "note of another program", '{"a": 1}')] == [None] * 4


def test_logs_differ_by_topic_id_and_accepted_loss_but_not_by_partitions() -> None:
    assert Layout("0a", 4).log == Layout("0a", 6, moved=True).log
    assert len({Layout("0a", 4).log, Layout("0b", 4).log, Layout("0a", 4, 1).log}) == 3


def test_changed_number_of_partitions_is_never_passed_over() -> None:
    check_partitions("clicks", 4, 4)
    for commits in ([Layout("0a", 4)], [None, Layout("0a", 4), None], [Layout("0a", 4, moved=True)]):
        for accept_loss in (False, True):
            with pytest.raises(
                StateMovedError, match=r"'clicks' has 6 partitions.*made with 4.*streaming repartition"
            ):
                of_group("clicks", NOW, commits, accept_loss)


def test_moved_states_are_known_from_any_commit() -> None:
    assert of_group("clicks", NOW, [None, Layout("0a", 6, 0, True)]).moved
    assert of_group("clicks", NOW, [None, Layout("0a", 6)]) == of_group("clicks", NOW, []) == NOW


def test_commits_of_another_topic_stop_until_loss_is_accepted() -> None:
    with pytest.raises(StateLostError, match=r"made anew.*--accept-loss"):
        of_group("clicks", NOW, [Layout("0b", 4)])
    assert of_group("clicks", NOW, [Layout("0b", 4, 3, True)], accept_loss=True) == NOW
