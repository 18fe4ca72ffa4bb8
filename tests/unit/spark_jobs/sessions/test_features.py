import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.contract.session import FoldClick, FoldConfig, apply, empty, event_features, features
from feature_repo.contract.tables import SESSION_EVENT_FIELDS, SESSION_FEATURE_FIELDS
from spark_jobs.sessions.features import FOLDED, fold_batches

INPUT = ("session_id", "event_id", "item_id", "event_us", "arrival_us", "event_type", "part")
CLICKS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 12),
        st.integers(0, 2000),
        st.sampled_from(["", "test"]),
        st.sampled_from([None, "view", "addtocart", "transaction", "zap"]),
    ),
    min_size=1,
    max_size=40,
)


def _expected(rows, config):
    states = {}
    for session_id, event, item, event_us, arrival_us, event_type, part in rows:
        before = states.get((session_id, part), empty())
        after = apply(before, FoldClick(event, item, event_us, arrival_us, event_type), config)
        states[session_id, part] = after
        if after.created_us != before.created_us:
            values = features(after) | event_features(after)
            yield session_id, event, after.event_timestamp_us, after.created_us, values


@settings(max_examples=150, deadline=None)
@given(CLICKS, st.integers(1, 8), st.sampled_from([None, 500]))
def test_rows_are_those_of_the_fold_however_the_batches_fall(clicks, size, gap):
    config = FoldConfig(gap_us=gap, max_items=3)
    ordered = sorted(clicks, key=lambda click: click[0])
    rows = [
        (session_id, f"e{event}", f"i{event % 4}", us, n, event_type, part)
        for n, (session_id, event, us, part, event_type) in enumerate(ordered)
    ]
    columns = {name: [row[at] for row in rows] for at, name in enumerate(INPUT)}
    batches = pa.table(columns).to_batches(max_chunksize=size)
    table = pa.Table.from_batches(list(fold_batches(iter(batches), config)), schema=FOLDED)
    times = {
        name: table.column(name).cast(pa.int64()).to_pylist()
        for name in ("event_timestamp", "created", "session_start")
    }
    got = [
        (
            row["session_id"],
            row["event_id"],
            times["event_timestamp"][n],
            times["created"][n],
            {
                name: times[name][n] if name == "session_start" else row[name]
                for name, _ in (*SESSION_FEATURE_FIELDS, *SESSION_EVENT_FIELDS)
            },
        )
        for n, row in enumerate(
            table.drop_columns(["event_timestamp", "created", "session_start"]).to_pylist()
        )
    ]
    assert got == list(_expected(rows, config))
