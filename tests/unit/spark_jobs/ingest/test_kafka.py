import json

import pyarrow as pa
import pytest

from feature_repo.contract.key_partitions import KeyRule, Width, partition_of
from spark_jobs.ingest.kafka import DECODED, decode_batches, decode_record
from spark_jobs.ingest.topic import first_unread
from spark_jobs.job import JobError

PLACE = {"topic": "clicks", "partition": 1, "offset": 7, "arrival_us": 1_704_067_200_000_000}


def _value(**changes):
    fields = {
        "event_id": "e",
        "session_id": "s",
        "item_id": "i",
        "event_time": "2024-01-01T00:00:00Z",
        "schema_version": 1,
    } | changes
    return json.dumps(fields).encode()


def test_unknown_fields_are_kept_and_known_columns_lifted():
    row = decode_record(**PLACE, key=b"s", value=_value(user_id="u", page=3))
    assert (row["event_id"], row["user_id"], row["event_type"], row["extra"]) == (
        "e",
        "u",
        None,
        '{"page": 3}',
    )
    assert row["event_time"] == PLACE["arrival_us"] and "reason" not in row


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [(b"x", _value(), "wrong_key"), (b"s", None, "null_value"), (b"s", b"\xff", "not_utf8")],
)
def test_a_refused_record_says_where_and_why(key, value, reason):
    row = decode_record(**PLACE, key=key, value=value)
    assert str(row["reason"]).startswith(f"topic clicks partition 1 offset 7: {reason}")
    assert row.get("event_id") is None


def test_a_click_on_a_wrong_partition_is_refused_as_the_consumer_refuses_it():
    rule = KeyRule("murmur2", (Width(4),))
    rows = [
        decode_record(**{**PLACE, "partition": place}, key=b"s", value=_value(), rule=rule)
        for place in range(4)
    ]
    home = partition_of("murmur2", b"s", 4)
    assert [place for place, row in enumerate(rows) if "reason" not in row] == [home]
    assert ": wrong_partition: " in str(rows[(home + 1) % 4]["reason"])


def test_batches_keep_good_and_bad_records_side_by_side():
    records = [{**PLACE, "key": b"s", "value": _value()}, {**PLACE, "offset": 8, "key": b"s", "value": b"{}"}]
    batch = pa.RecordBatch.from_pylist(records)
    out = next(decode_batches(iter([batch])))
    assert out.schema == DECODED
    assert out.column("event_id").to_pylist() == ["e", None]


def test_reading_starts_after_the_table():
    assert first_unread({0: 4}, {0: 0, 1: 3}, {0: 9, 1: 9}, "clicks") == {0: 5, 1: 3}


@pytest.mark.parametrize(
    ("begin", "end", "words"), [({0: 8}, {0: 9}, "3 records"), ({0: 0}, {0: 2}, "made anew")]
)
def test_a_gap_between_table_and_topic_stops_the_job(begin, end, words):
    with pytest.raises(JobError, match=words):
        first_unread({0: 4}, begin, end, "clicks")
