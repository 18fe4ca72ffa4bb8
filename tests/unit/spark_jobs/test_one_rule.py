"""Lake and loader read a folder by one rule: the same rows, the same refusals, the same sessions, on random
folders and against a plain oracle."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pyarrow.parquet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.session import FoldConfig
from model.data.folder import Heard, _catalogue, _counted, _read, _sequences
from spark_jobs.ingest.files import stage
from spark_jobs.sessions.cut import cut_batches

NOW_US, GAP_MINUTES, START = 1_700_000_000_000_000, 10.0, 1_600_000_000
MINUTE_US = 60_000_000
ROW = st.tuples(
    st.sampled_from(["a", "b", "c", ""]),
    st.sampled_from(["x", "y", "z", "nan"]),
    st.sampled_from([0, 1, 300, 601, 900, 4000, 10**9, None]),
    st.sampled_from(["", "u", "v", "w", "NULL"]),
    st.sampled_from(["view", "cart"]),
    st.integers(1, 6),
)
EVENTS = EventRules(weights=(("cart", 3.0),))
NAMES = ("session_id", "item_id", "event_time", "user_id", "event_type", "event_id")
FOLDERS = st.tuples(
    st.lists(ROW, min_size=1, max_size=25),
    st.lists(ROW, max_size=8),
    st.sets(st.sampled_from(NAMES[3:])),
    st.lists(st.sampled_from("xyxz"), max_size=4),
)


def _text(rows, columns):
    lines = [",".join(columns)]
    for row in rows:
        values = dict(zip(NAMES, row, strict=True))
        values["event_time"] = "soon" if row[2] is None else START + row[2]
        lines.append(",".join(str(values[name]) for name in columns))
    return "\n".join(lines) + "\n"


def _write(folder, train, test, optional, items):
    columns = (*NAMES[:3], *(name for name in NAMES[3:] if name in optional))
    (folder / "clicks.csv").write_text(_text(train, columns))
    if test:
        (folder / "clicks_test.csv").write_text(_text(test, columns))
    if items:
        (folder / "items.csv").write_text(
            "item_id,title\n" + "".join(f"{item},title {place}\n" for place, item in enumerate(items))
        )


def _plain(session, split):
    return session.removesuffix(f"/{split}") if split == "test" else session


def _lake(folder, aside):
    staged = stage(folder, None, aside, NOW_US, GAP_MINUTES)
    rows = pyarrow.parquet.read_table(staged.clicks)
    assert len(set(rows.column("event_id").to_pylist())) == rows.num_rows == staged.clicks_taken
    us = rows.column("event_time").cast("int64")
    found = Counter(
        zip(
            *(rows.column(name).to_pylist() for name in ("split", "file", "line", "item_id")),
            us.to_pylist(),
            strict=True,
        )
    )
    ordered = rows.append_column("us", us).sort_by(
        [("session_id", "ascending"), ("us", "ascending"), ("arrival_seq", "ascending")]
    )
    ordered = ordered.select(["session_id", "us", "item_id", "event_id", "split", "event_type"])
    config = FoldConfig(round(GAP_MINUTES * MINUTE_US), events=EVENTS)
    cut = [
        row
        for batch in cut_batches(iter(ordered.to_batches()), config, staged.own_split)
        for row in batch.to_pylist()
    ]
    sessions = Counter(
        (row["split"], _plain(row["session_id"], row["split"]), tuple(row["items"]), tuple(row["weights"]))
        for row in cut
    )
    items = (
        {}
        if staged.items is None
        else dict(zip(*(staged.items.column(name).to_pylist() for name in ("item_id", "title")), strict=True))
    )
    return found, staged, sessions, items


def _loader(folder):
    heard = Heard()
    clicks, settled = _read(folder, NOW_US, heard)
    catalogue, _ = _catalogue(folder, clicks, heard)
    sessions = Counter()
    counted = _counted(clicks, EVENTS, GAP_MINUTES * MINUTE_US)
    for split in ("train", "valid", "test"):
        own = counted.filter(pyarrow.compute.equal(counted.column("split").cast("string"), split))
        made = _sequences(own, catalogue, GAP_MINUTES * MINUTE_US, 1) if own.num_rows else None
        for place, name in enumerate(made.session_ids if made else ()):
            spoken = made.spoken[made.offsets[place] : made.offsets[place + 1]]
            items = tuple(catalogue.item_ids[item] for item in made[place])
            sessions[split, name, items, tuple(spoken.tolist())] += 1
    return clicks, settled, heard, sessions, dict(zip(catalogue.item_ids, catalogue.titles, strict=True))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(FOLDERS)
def test_lake_and_loader_take_the_same_rows_and_cut_the_same_sessions(made):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, *made)
        rows, staged, sessions, items = _lake(folder, folder / "aside")
        clicks, settled, heard, own_sessions, titles = _loader(folder)
    assert rows.total() == clicks.num_rows
    assert Counter((split, item, us) for split, _, _, item, us in rows.elements()) == Counter(
        zip(
            clicks.column("split").cast("string").to_pylist(),
            clicks.column("item_id").to_pylist(),
            clicks.column("event_time").cast("int64").to_pylist(),
        )
    )
    tally = heard.refused
    assert (staged.tally.ranked(), staged.tally.examples) == (tally.ranked(), tally.examples)
    assert sorted(heard.notes) == sorted(note for note in staged.notes if note in heard.notes)
    assert (staged.own_split, staged.session_key) == (settled.own_split, settled.session_key)
    assert sessions == own_sessions
    assert all(titles[item] == (title or "") for item, title in items.items())


@settings(max_examples=60, deadline=None)
@given(FOLDERS)
def test_without_event_ids_a_row_is_refused_only_where_every_given_column_repeats(made):
    train, test, optional, items = made
    optional = optional - {"event_id"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, train, test, optional, items)
        rows, staged, _, _ = _lake(folder, folder / "aside")
    shown = [3 + place for place, column in enumerate(NAMES[3:]) if column in optional]
    expected, repeats = Counter(), 0
    for split, part in (("train", train), ("test", test)):
        seen = set()
        for line, row in enumerate(part, start=2):
            late = row[2] is not None and (START + row[2]) * 10**6 > NOW_US + 86_400 * 10**6
            if not row[0] or row[1] == "nan" or row[2] is None or late:
                continue
            key = (*row[:3], *(row[place].replace("NULL", "") for place in shown))
            repeats += key in seen
            if key not in seen:
                expected[
                    split,
                    "clicks.csv" if split == "train" else "clicks_test.csv",
                    line,
                    row[1],
                    (START + row[2]) * 10**6,
                ] += 1
            seen.add(key)
    assert rows == expected and staged.repeats == repeats
