"""The file of items that are not available, as it is written and followed."""

from __future__ import annotations

from feature_repo.contract.settings import Settings
from model.recommender.withdrawn import Withdrawn, file_of, write


def test_a_change_is_followed_and_what_is_the_same_is_not_written_again(tmp_path):
    settings = Settings(home=tmp_path)
    follows = Withdrawn(file_of(settings), 0.0)
    assert follows.ids() == frozenset()
    assert not write(settings, [])
    assert write(settings, ["b", "a"])
    assert follows.ids() == {"a", "b"}
    assert follows.ids() is follows.ids()
    assert not write(settings, ["a", "b", "a"])
    assert write(settings, [])
    assert follows.ids() == frozenset()


def test_a_broken_file_leaves_what_was_known_and_is_said_once(tmp_path, caplog):
    settings = Settings(home=tmp_path)
    write(settings, ["a"])
    follows = Withdrawn(file_of(settings), 0.0)
    assert follows.ids() == {"a"}
    file_of(settings).write_text('{"withdrawn":')
    assert follows.ids() == {"a"} and follows.ids() == {"a"}
    assert sum("availability stays as it was" in message for message in caplog.messages) == 1
