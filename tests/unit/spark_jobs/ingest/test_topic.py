from spark_jobs.ingest import topic
from spark_jobs.ingest.topic import at_most, ranges


def test_ranges_meet_hold_every_offset_once_and_are_bounded(monkeypatch):
    monkeypatch.setattr(topic, "BATCH_OFFSETS", 10)
    first, end = {0: 3, 1: 50, 2: 7}, {0: 28, 1: 50, 2: 8}
    found = list(ranges(first, end))
    assert [part.until for part in found] == [{0: 13, 1: 50, 2: 8}, {0: 23, 1: 50, 2: 8}, end]
    assert [part.first for part in found] == [first, *(part.until for part in found[:-1])]
    assert list(ranges(end, end)) == []


def test_an_end_is_brought_nearer_and_never_further():
    assert at_most({0: 3, 1: 5}, {0: 100, 1: 6}, 4) == {0: 7, 1: 6}
    assert at_most({0: 3}, {0: 100}, None) == {0: 100}
