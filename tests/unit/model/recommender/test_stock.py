"""What may be shown: the file of the lake as it is written and followed, and the topic above it."""

from __future__ import annotations

from feature_repo.contract.items.fold import NO_ITEMS, LiveItems
from feature_repo.contract.items.messages import ItemUpdate
from feature_repo.contract.settings import Settings
from model.recommender.stock import Stocks, file_of, write


def test_a_change_of_the_file_is_followed_and_what_is_the_same_is_not_written_again(tmp_path):
    settings = Settings(home=tmp_path)
    follows = Stocks(file_of(settings), seconds=0.0)
    assert follows.now().withdrawn == frozenset()
    assert not write(settings, [], {})
    assert write(settings, ["b", "a"], {"c": {"price": 5}})
    assert follows.now().withdrawn == {"a", "b"}
    assert follows.now().attributes == {"c": {"price": 5}}
    assert follows.now() is follows.now()
    assert not write(settings, ["a", "b", "a"], {"c": {"price": 5}})
    assert write(settings, [], {})
    assert follows.now().withdrawn == frozenset()


def test_a_broken_file_leaves_what_was_known_and_is_said_once(tmp_path, caplog):
    settings = Settings(home=tmp_path)
    write(settings, ["a"], {})
    follows = Stocks(file_of(settings), seconds=0.0)
    assert follows.now().withdrawn == {"a"}
    file_of(settings).write_text('{"withdrawn":')
    assert follows.now().withdrawn == {"a"} and follows.now().withdrawn == {"a"}
    assert sum("availability stays as it was" in message for message in caplog.messages) == 1


def test_the_topic_counts_where_it_has_a_record_of_an_item(tmp_path):
    settings = Settings(home=tmp_path)
    write(settings, ["a", "b"], {"a": {"price": 1}, "c": {"price": 2}})
    live = [NO_ITEMS]
    follows = Stocks(file_of(settings), lambda: live[0], seconds=0.0)
    assert follows.now().withdrawn == {"a", "b"}
    kept = follows.now().attributes
    live[0] = LiveItems({"a": ItemUpdate("a"), "d": ItemUpdate("d", available=False, withdrawn=True)})
    assert follows.now().withdrawn == {"b", "d"}
    assert follows.now().attributes is kept  # not said by the topic, so as the lake has them
    live[0] = LiveItems({"a": ItemUpdate("a", attributes={}), "c": ItemUpdate("c", attributes={"price": 9})})
    assert follows.now().attributes == {"a": {}, "c": {"price": 9}}
    assert follows.now().withdrawn == {"b"}  # no record of d any more, and none in the file
