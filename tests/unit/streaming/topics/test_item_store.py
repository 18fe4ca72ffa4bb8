"""What a home keeps of the items topic: all of it, of this very topic, and never a reason not to start."""

from __future__ import annotations

from feature_repo.contract.items.fold import Placed
from feature_repo.contract.items.messages import ItemUpdate
from feature_repo.contract.settings import Settings
from streaming.topics.item_store import ItemStore

RECORDS = [
    Placed(0, 7, 5, ItemUpdate("a", "Red shoe", "shoes", False, {"price": 9.5, "sizes": (1, 2)}, {"x": [1]})),
    Placed(0, 9, 6, ItemUpdate("b", available=False, withdrawn=True)),
    Placed(2, 1, 4, ItemUpdate("ä/ b", attributes={})),
]


def stored(settings, topic_id="first", positions=None, records=RECORDS):
    store = ItemStore(settings)
    store.open(topic_id)
    store.write(positions or {0: 10, 2: 2}, records)
    return settings.home / "catalogue" / "items.topic.json"


def test_what_is_written_is_read_again(tmp_path):
    settings = Settings(home=tmp_path)
    stored(settings)
    found = ItemStore(settings).open("first")
    assert (found.positions, found.records) == ({0: 10, 2: 2}, RECORDS)


def test_a_topic_that_was_made_anew_begins_without_the_past(tmp_path):
    settings = Settings(home=tmp_path)
    stored(settings)
    found = ItemStore(settings).open("second")
    assert (found.positions, found.records) == ({}, [])


def test_a_broken_file_costs_a_line_and_a_longer_start(tmp_path, caplog):
    settings = Settings(home=tmp_path)
    file = stored(settings)
    whole = file.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"[]", whole.replace(b"false", b"'no'"), b"\xff"):
        file.write_bytes(broken)
        caplog.clear()
        assert ItemStore(settings).open("first").records == []
        assert "read from its beginning" in caplog.text


def test_a_file_that_cannot_be_written_is_said_and_nothing_else(tmp_path, caplog):
    (tmp_path / "catalogue").write_text("in the way")
    store = ItemStore(Settings(home=tmp_path))
    store.open("first")
    store.write({0: 1}, RECORDS)
    assert "cannot be written" in caplog.text
