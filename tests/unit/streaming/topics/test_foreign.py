"""Our own messages beside records of others: headers, letters, answers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.contract.messages import Intents, IntentView, Recommendation, Source, encode_recommendation
from streaming.topics import dead_letters as dlq
from streaming.topics.foreign import answer_of, header_map, origin_of

HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["source", "reason", "topic", "partition", "offset", "failed_at", "x"]),
        st.none() | st.binary(max_size=12) | st.sampled_from([b"clicks", b"7", b"g/7", b"g/-1", b"g/"]),
    )
)
GOOD = [
    ("reason", b"not_json"),
    ("topic", b"clicks"),
    ("partition", b"2"),
    ("offset", b"7"),
    ("failed_at", b"now"),
]
NOBODY = Intents(IntentView("", []), IntentView("", []), "none")


def record(headers, key=b"k", value=b"v", timestamp=1_760_000_000_000):
    place = {"topic": "clicks.dlq", "partition": 1, "offset": 3, "timestamp": timestamp}
    return SimpleNamespace(**place, headers=headers, key=key, value=value)


@given(HEADERS, st.none() | st.binary(max_size=20), st.integers(-1, 2**63 - 1))
def test_no_record_of_others_breaks_the_reading_of_dead_letters(headers, value, timestamp):
    letter = dlq.letter_of(record(headers, value=value, timestamp=timestamp), "clicks")
    assert letter.to_json() and letter.to_line()
    if letter.reason == dlq.FOREIGN:
        assert (letter.topic, letter.partition, letter.offset) == ("clicks.dlq", 1, 3)
    else:
        assert letter.topic == "clicks" and letter.offset >= 0


@given(HEADERS)
def test_no_record_of_others_breaks_the_search_for_our_last_message(headers):
    origin = origin_of(headers, "source")
    assert origin is None or header_map(headers)["source"] == b"%s/%d" % origin
    assert (origin == (b"g", 7)) == (header_map(headers).get("source") == b"g/7")


def test_a_letter_is_ours_with_all_its_headers_and_foreign_without_any_of_them():
    ours = dlq.letter_of(record(GOOD), "clicks")
    assert (ours.reason, ours.topic, ours.partition, ours.offset) == ("not_json", "clicks", 2, 7)
    for name, _ in GOOD:
        for changed in ([pair for pair in GOOD if pair[0] != name], [*GOOD, (name, None)][1:]):
            letter = dlq.letter_of(
                record([pair for pair in changed if pair[0] != name or pair[1] is None]), "clicks"
            )
            assert letter.reason == dlq.FOREIGN and name in letter.detail
    assert dlq.letter_of(record(GOOD), "clicks-b").detail == "a letter of topic 'clicks'"


@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff", b"1", b"[" * 100_000, b'{"event_id": "e"}'])
def test_other_json_is_no_answer(value):
    assert answer_of(b"s", value) is None


def test_an_answer_stands_under_its_own_session_only():
    answer = Recommendation("e", "s", [], NOBODY, "m", Source("clicks", 0, 1), "t", "t")
    value = encode_recommendation(answer)
    assert answer_of(b"s", value) == answer
    assert answer_of(b"other", value) is answer_of(None, value) is None
