"""Which partition a key belongs on, judged by the clients' own functions, and what growth changes."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner import murmur2 as theirs

from feature_repo.contract.key_partitions import (
    KeyRule,
    Width,
    fnv1a,
    key_rule,
    murmur2,
    note_move,
    partition_of,
)
from feature_repo.contract.messages import ClickError
from feature_repo.contract.settings import KafkaSettings, SettingsError, load_settings

KEYS = [f"session-{number}".encode() for number in range(200)]


@given(st.binary(max_size=70))
def test_murmur2_is_kafka_pythons(key):
    assert murmur2(key) == theirs(key) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_what_the_java_client_is_tested_with(key, signed):
    assert murmur2(key) == signed % 2**32


@given(st.binary(min_size=1, max_size=40), st.integers(1, 50))
def test_the_other_partitioners_are_those_of_librdkafka_and_sarama(key, count):
    assert partition_of("crc32", key, count) == (zlib.crc32(key) & 0xFFFFFFFF) % count
    signed = fnv1a(key) - 2**32 if fnv1a(key) >= 2**31 else fnv1a(key)
    assert partition_of("fnv1a", key, count) == abs(signed) % count
    assert partition_of("murmur2", key, count) == (murmur2(key) & 0x7FFFFFFF) % count


def refused(rule, key, partition, offset=0):
    try:
        rule.check(key, partition, offset)
    except ClickError as error:
        return error.reason == "wrong_partition"
    return False


def test_every_key_of_another_partitioner_that_stands_elsewhere_is_refused_and_no_other():
    rule = KeyRule("murmur2", (Width(4),))
    for key in KEYS:
        ours, other = partition_of("murmur2", key, 4), partition_of("crc32", key, 4)
        assert refused(rule, key, other) == (ours != other)
        assert not refused(KeyRule("crc32", (Width(4),)), key, other)
        assert not refused(KeyRule(None, (Width(4),)), key, other)


def test_what_was_written_before_the_topic_grew_stands_right_by_the_older_number_and_nothing_after_it():
    rule = KeyRule(
        "murmur2", (Width(4), Width(6, dict.fromkeys(range(4), 100)), Width(9, dict.fromkeys(range(6), 200)))
    )
    for key in KEYS:
        places = {count: partition_of("murmur2", key, count) for count in (4, 6, 9)}
        for offset, counts in ((99, (4, 6, 9)), (100, (6, 9)), (199, (6, 9)), (200, (9,))):
            for partition in range(4):
                assert refused(rule, key, partition, offset) == (
                    partition not in {places[count] for count in counts}
                )
        assert refused(rule, key, 8, 0) == (places[9] != 8)


def test_the_growth_is_noted_once_and_a_topic_made_anew_forgets_it(tmp_path):
    kafka = KafkaSettings()
    first = key_rule(kafka, tmp_path, "0a", 4, dict.fromkeys(range(4), 50))
    assert first.widths == (Width(4),)
    grown = key_rule(kafka, tmp_path, "0a", 6, {**dict.fromkeys(range(4), 100), 4: 0, 5: 0})
    assert grown.widths == (Width(4), Width(6, dict.fromkeys(range(4), 100)))
    assert key_rule(kafka, tmp_path, "0a", 6, dict.fromkeys(range(6), 900)).widths == grown.widths
    assert key_rule(kafka, tmp_path, "0a", 6, dict.fromkeys(range(6), 99)).widths == (Width(6),)
    assert key_rule(kafka, tmp_path, "0a", 3, dict.fromkeys(range(3), 9)).widths == (Width(3),)


def test_a_topic_made_anew_has_no_past_even_where_it_holds_more_than_the_one_before(tmp_path):
    kafka, file = KafkaSettings(), tmp_path / "topics" / "clicks.json"
    key_rule(kafka, tmp_path, "0a", 4, dict.fromkeys(range(4), 50))
    grown = key_rule(kafka, tmp_path, "0a", 6, dict.fromkeys(range(6), 100))
    assert len(grown.widths) == 2
    assert key_rule(kafka, tmp_path, "0b", 6, dict.fromkeys(range(6), 900)).widths == (Width(6),)
    note_move(kafka, tmp_path, "0c", 8, dict.fromkeys(range(6), 10))
    assert key_rule(kafka, tmp_path, "0c", 8, dict.fromkeys(range(8), 900)).widths == (Width(8),)
    # a note of an older version has no id; it is of the topic that is there
    file.write_text('[{"count": 4, "since": {}}, {"count": 6, "since": {"0": 100}}]')
    assert key_rule(kafka, tmp_path, "0d", 6, {0: 100}).widths == (Width(4), Width(6, {0: 100}))
    assert key_rule(kafka, tmp_path, "0e", 6, {0: 100}).widths == (Width(6),)


@pytest.mark.parametrize(
    "text", ['[{"count": 4', "{}", "7", '{"topic_id": "0a", "widths": 3}', '"x"', "[1]", ""]
)
def test_every_damaged_note_is_said_and_written_anew(tmp_path, caplog, text):
    (tmp_path / "topics").mkdir()
    (tmp_path / "topics" / "clicks.json").write_text(text)
    assert key_rule(KafkaSettings(), tmp_path, "0a", 4, {}).widths == (Width(4),)
    assert "damaged" in caplog.text
    assert json.loads((tmp_path / "topics" / "clicks.json").read_text())["topic_id"] == "0a"


def test_another_partitioner_is_taken_only_where_it_is_adopted(tmp_path):
    named = {"INTENTSTORE_KAFKA__PARTITIONER": "crc32"}
    with pytest.raises(SettingsError, match=r"kafka.partitioner' .*= 'crc32'.*partition_check = \"adopt\""):
        load_settings(None, named)
    adopted = load_settings(None, named | {"INTENTSTORE_KAFKA__PARTITION_CHECK": "adopt"}).kafka
    assert key_rule(adopted, tmp_path, "0a", 4, {}).partitioner == "crc32"
    assert (
        key_rule(adopted.model_copy(update={"partition_check": "off"}), tmp_path, "0a", 4, {}).partitioner
        is None
    )
