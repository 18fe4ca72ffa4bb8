import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.session import FoldConfig
from spark_jobs.sessions.cut import CUT, cut_batches, limits

CLICKS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 300)), min_size=1, max_size=40)


def _batches(rows, sizes):
    table = pa.table(
        {
            "session_id": pa.array([row[0] for row in rows], pa.string()),
            "us": pa.array([row[1] for row in rows], pa.int64()),
            "item_id": pa.array([row[2] for row in rows], pa.string()),
            "event_id": pa.array([f"e{row[2]}" for row in rows], pa.string()),
            "split": pa.nulls(len(rows), pa.string()),
            "event_type": pa.array([row[3] if len(row) > 3 else None for row in rows], pa.string()),
        }
    )
    first = 0
    for size in [*sizes, len(rows)]:
        yield from table.slice(first, size).to_batches()
        first += size


def _oracle(rows, gap):
    sessions, position = [], {}
    for session_id, us, item in rows:
        at = position.get(session_id, 0)
        position[session_id] = at + 1
        last = sessions[-1] if sessions and sessions[-1][0] == session_id else None
        if last is None or (gap is not None and us - last[2][-1] > gap):
            sessions.append((session_id, at, [us], [item]))
        else:
            last[2].append(us)
            last[3].append(item)
    return sessions


@settings(max_examples=150, deadline=None)
@given(CLICKS, st.sampled_from([None, 0, 10, 100]), st.lists(st.integers(1, 9), max_size=6))
def test_cut_equals_a_plain_loop_however_the_batches_fall(clicks, gap, sizes):
    rows = [(session_id, us, str(n)) for n, (session_id, us) in enumerate(sorted(clicks))]
    got = [row for batch in cut_batches(_batches(rows, sizes), FoldConfig(gap)) for row in batch.to_pylist()]
    assert [(row["session_id"], row["first_position"], row["items"], row["length"]) for row in got] == [
        (session_id, at, items, len(items)) for session_id, at, _, items in _oracle(rows, gap)
    ]


def test_a_session_knows_its_first_and_last_time():
    batch = next(cut_batches(_batches([("a", 1, "x"), ("a", 5, "y")], []), FoldConfig()))
    assert batch.schema.names == CUT.names
    row = batch.to_pylist()[0]
    assert (row["session_end"] - row["session_start"]).microseconds == 4
    assert row["event_ids"] == ["ex", "ey"]


def test_a_session_ends_at_the_border_of_the_own_split_and_its_positions_count_on():
    table = pa.Table.from_batches(list(_batches([("a", 1, "x"), ("a", 5, "y"), ("a", 6, "z")], [])))
    table = table.set_column(4, "split", pa.array(["train", "train", "test"]))
    got = [
        row
        for batch in cut_batches(iter(table.to_batches()), FoldConfig(), True)
        for row in batch.to_pylist()
    ]
    assert [(row["split"], row["first_position"], row["items"]) for row in got] == [
        ("train", 0, ["x", "y"]),
        ("test", 2, ["z"]),
    ]
    assert next(cut_batches(iter(table.to_batches()), FoldConfig())).num_rows == 1


def test_events_that_are_no_clicks_stand_in_no_session_and_speak_for_the_click_before_them():
    rows = [
        ("a", 1, "x", "view"),
        ("a", 2, "x", "addtocart"),
        ("a", 3, "y", "view"),
        ("a", 9, "z", "impression"),
        ("a", 60, "x", "carts"),
        ("b", 1, "x", "addtocart"),
    ]
    config = FoldConfig(50, events=EventRules(weights=(("cart", 3.0),)))
    got = [row for batch in cut_batches(_batches(rows, [2]), config) for row in batch.to_pylist()]
    assert [(row["items"], row["weights"], row["length"]) for row in got] == [(["x", "y"], [3.0, 1.0], 2)]


def test_split_limits_leave_a_tenth_each_for_validation_and_test():
    valid_from, test_from = limits(np.random.default_rng(1).permutation(1000))
    assert (valid_from, test_from) == (800, 900)


def test_split_of_one_session_has_limits():
    assert limits(np.array([7])) == (7, 7)
