import pytest

from spark_jobs.live.parity import FEATURES, difference

ROW = {**dict.fromkeys(FEATURES, 1), "event_timestamp_us": 10, "created_us": 20, "from_kafka": True}


@pytest.mark.parametrize(
    ("live", "kind", "names"),
    [
        (ROW, "same", []),
        (None, "missing", []),
        ({**ROW, "created_us": 19}, "stale", ["created_us"]),
        ({**ROW, "event_timestamp_us": 11}, "extra", ["event_timestamp_us"]),
        ({**ROW, "late_clicks": 2}, "mismatch", ["late_clicks"]),
    ],
)
def test_every_kind_of_difference_is_told_apart(live, kind, names):
    assert difference(ROW, live) == (kind, names)


def test_a_click_from_a_file_was_known_at_another_instant_than_its_replay():
    assert difference({**ROW, "from_kafka": False}, {**ROW, "created_us": 99}) == ("same", [])
