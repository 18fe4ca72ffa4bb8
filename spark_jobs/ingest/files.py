"""Parses dataset folders and ML-100K into Parquet parts beside the lake, block by block. Needs no Spark: the
rules are `contract.dataset_folder`'s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from feature_repo.contract.dataset.folder import (
    CLICK_ROWS,
    ITEM_ROWS,
    DatasetFolderError,
    FolderClicks,
    FolderItems,
    Refused,
    left_aside,
    parse_items,
    read_clicks,
    read_item_blocks,
)
from feature_repo.contract.dataset.refusals import Tally
from feature_repo.contract.dataset.rows.clicks import sort_rows
from feature_repo.contract.dataset.rules import FolderRules, single_items
from feature_repo.contract.dataset.session_cut import gap_note
from feature_repo.contract.dataset.settled import Settled
from feature_repo.contract.events.found import TypeCounts
from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.spellings.ids import spelling_note

log = logging.getLogger("intentstore.ingest")
USUAL_RULES = EventRules()
SAY_EVERY_SECONDS = 10.0
# Spark reads a row group in one task, so a part of one group would keep all but one core idle
ROWS_PER_GROUP = 1 << 16
STAGED_CLICKS = pa.schema(
    [
        *CLICK_ROWS,
        ("split", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("arrival_seq", pa.int64()),
    ]
)
STAGED_REFUSED = pa.schema(
    [("source", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())]
)


@dataclass
class Staged:
    """What was parsed: folders of Parquet parts and the figures that the commit needs.

    Attributes
    ----------
    clicks, refused : Path
        Folders of parts with the schemas ``STAGED_CLICKS`` and ``STAGED_REFUSED``.
    items : pa.Table or None
        Accepted items (``ITEM_ROWS``), one row an id; None when the dataset brings none.
    times : ndarray int64
        Event times of all accepted clicks, microseconds UTC, sorted.
    tally : Tally
        Refused rows by reason, repeats too.
    repeats : int
        Of these, rows that repeat another one or its event id.
    own_split : bool
        Whether the dataset brings a split of its own, which is kept.
    session_key : str
        ``session``, or ``user/session`` where session ids restart per user.
    notes : tuple of str
        What the reader chose and what was found about times, ids, split and gap rule, a line each.
    """

    clicks: Path
    refused: Path
    items: pa.Table | None = None
    times: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    tally: Tally = field(default_factory=Tally)
    repeats: int = 0
    titled_items: int = 0
    own_split: bool = False
    session_key: str = "session"
    notes: tuple[str, ...] = ()

    @property
    def clicks_taken(self) -> int:
        """Clicks that were accepted."""
        return len(self.times)


def stage(
    dataset: Path | None,
    ml_100k: Path | None,
    folder: Path,
    now_us: int,
    gap_minutes: float | None = None,
    events: EventRules = USUAL_RULES,
) -> Staged:
    """Parse a dataset into parts.

    Parameters
    ----------
    dataset : Path or None
        Dataset folder; None = ML-100K.
    ml_100k : Path or None
        Folder of ``ml-100k.inter`` and ``.item``; used when `dataset` is None.
    folder : Path
        Where the parts go; made here, removed by the caller.
    now_us : int
        The clock; clicks more than a day ahead of it are refused.
    gap_minutes : float, optional
        ``session.gap_minutes``: a rule that would leave sessions of one click is named among the notes.
    events : EventRules
        What the types of events are said to count for, among the notes.

    Returns
    -------
    Staged
        May hold no click at all, where every row was refused.

    Raises
    ------
    DatasetFolderError
        The dataset cannot be read at all; one line that says why.
    """
    staged = Staged(folder / "clicks", folder / "refused")
    staged.clicks.mkdir(parents=True)
    staged.refused.mkdir()
    name = str(dataset) if dataset is not None else "ml-100k"
    if dataset is not None:
        _stage_items(read_item_blocks(dataset), staged, name)
        _stage_clicks(read_clicks(dataset, now_us), staged, name, gap_minutes, events)
        staged.notes = (*staged.notes, *filter(None, [left_aside(dataset)]))
    else:
        assert ml_100k is not None
        _stage_items(_ml_100k_items(ml_100k), staged, name)
        _stage_clicks(_ml_100k_clicks(ml_100k, now_us), staged, name, gap_minutes, events)
    return staged


def _ml_100k_clicks(folder: Path, now_us: int) -> Iterator[FolderClicks]:
    table = _tab_file(folder / "ml-100k.inter", ("user_id", "item_id", "timestamp"))
    users = table.column("user_id")
    clicks = pa.table(
        {
            "session_id": users,
            "item_id": table.column("item_id"),
            "event_time": table.column("timestamp"),
            "user_id": users,
        }
    )
    numbers = np.arange(2, table.num_rows + 2)
    # its seconds are of 1997 and 1998
    found = sort_rows(clicks, file="ml-100k.inter", lines=numbers, now_us=now_us, earliest_us=0)
    yield FolderClicks(
        None, "ml-100k.inter", found.rows, found.refused, _accepted_lines(numbers, found.refused)
    )


def _ml_100k_items(folder: Path) -> Iterator[FolderItems]:
    table = _tab_file(folder / "ml-100k.item", ("item_id", "movie_title", "release_year", "class"))
    titles = [
        f"{title} ({year})" if title and year and year.isdigit() else title
        for title, year in zip(
            table.column("movie_title").to_pylist(), table.column("release_year").to_pylist(), strict=True
        )
    ]
    categories = [", ".join((genres or "").split()) for genres in table.column("class").to_pylist()]
    items = pa.table({"item_id": table.column("item_id"), "title": titles, "category": categories})
    numbers = np.arange(2, table.num_rows + 2)
    rows, refused = parse_items(items, file="ml-100k.item", lines=numbers)
    yield FolderItems("ml-100k.item", rows, refused, _accepted_lines(numbers, refused))


def _accepted_lines(lines: np.ndarray, refused: Sequence[Refused]) -> np.ndarray:
    return np.setdiff1d(lines, np.array([row.line for row in refused], dtype=np.int64), assume_unique=True)


def _tab_file(path: Path, names: Sequence[str]) -> pa.Table:
    """Read a tab file whose header carries types (``user_id:token``) as text columns without them."""
    if not path.is_file():
        raise DatasetFolderError(f"{path} is missing; remove its folder, it is fetched again")
    table = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(_header(path), pa.string()), strings_can_be_null=False
        ),
    )
    table = table.rename_columns([name.split(":")[0] for name in table.column_names])
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DatasetFolderError(
            f"{path.name}: column '{missing[0]}' is missing; remove its folder, it is fetched again"
        )
    return table.select(list(names))


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return file.readline().rstrip("\r\n").split("\t")


def _stage_items(blocks: Iterable[FolderItems], staged: Staged, source: str) -> None:
    kept: list[pa.Table] = []
    for number, block in enumerate(single_items(blocks)):
        kept.append(block.rows)
        staged.notes += block.notes
        _write_refused(block.refused, staged, source, f"items-{number:05d}")
    if kept:
        staged.items = pa.concat_tables(kept).cast(ITEM_ROWS)
        staged.titled_items = staged.items.num_rows - staged.items.column("title").null_count


def _write_refused(refused: Sequence[Refused], staged: Staged, source: str, name: str) -> None:
    if not refused:
        return
    columns = [
        [source] * len(refused),
        [row.line or None for row in refused],
        [row.reason for row in refused],
        [row.raw for row in refused],
    ]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, STAGED_REFUSED, strict=True)]
    pyarrow.parquet.write_table(
        pa.Table.from_arrays(arrays, schema=STAGED_REFUSED), staged.refused / f"{name}.parquet"
    )
    staged.tally.add(row.reason for row in refused)


# In this order, since only a whole folder tells what its ids are good for:
#   1 parse block by block into parts   2 settle repeats, ids and split   3 write those parts anew that change
def _stage_clicks(
    blocks: Iterator[FolderClicks],
    staged: Staged,
    source: str,
    gap_minutes: float | None,
    events: EventRules,
) -> None:
    rules, types, kept_types = FolderRules(), TypeCounts(events), TypeCounts(events)
    clicked: set[str] = set()
    rows = 0
    said = time.monotonic()
    for number, block in enumerate(rules.watch(blocks)):
        _write_refused(block.refused, staged, source, f"clicks-{number:05d}")
        staged.notes += block.notes
        _write_part(block, np.arange(rows, rows + block.rows.num_rows), _part(staged, number))
        types.add(block.rows.column("event_type"))
        clicked.update(pc.unique(block.rows.column("item_id")).to_pylist())
        rows += block.rows.num_rows
        if time.monotonic() - said > SAY_EVERY_SECONDS:
            said = time.monotonic()
            log.info("ingest: %s clicks parsed", f"{rows:,}")
    settled = rules.settle()
    if _settle_parts(staged, settled, source, kept_types):
        types = kept_types
    staged.own_split, staged.session_key = settled.own_split, settled.session_key
    gap = gap_note(settled.sessions, settled.rows.time, gap_minutes)
    known = () if staged.items is None else staged.items.column("item_id").to_pylist()
    spelling = spelling_note(clicked, dict.fromkeys(known))
    staged.notes = (*staged.notes, *settled.notes(), *types.notes(), *filter(None, (spelling, gap)))


def _part(staged: Staged, number: int) -> Path:
    return staged.clicks / f"part-{number:05d}.parquet"


def _write_part(block: FolderClicks, arrival: np.ndarray, file: Path) -> None:
    count = block.rows.num_rows
    columns = [
        *block.rows.columns,
        _repeat(block.split, count),
        _repeat(block.file, count),
        pa.array(block.lines, pa.int64()),
        pa.array(arrival),
    ]
    clicks = pa.Table.from_arrays(columns, schema=STAGED_CLICKS)
    pyarrow.parquet.write_table(
        clicks, file, compression="lz4", use_dictionary=False, row_group_size=ROWS_PER_GROUP
    )


def _repeat(value: str | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.string()) if value is None else pa.repeat(pa.scalar(value), count)


def _settle_parts(staged: Staged, settled: Settled, source: str, types: TypeCounts) -> bool:
    """Apply what was decided, and make `arrival_seq` the rank by event time; equal times keep the order of
    the file, so that it is the same at every run. Tells whether parts changed; `types` then counts what is
    left.
    """
    kept = settled.kept()
    times = settled.rows.time[kept]
    staged.repeats = len(kept) - len(times)
    sorted_already = bool((np.diff(times) >= 0).all())
    order = np.arange(len(times)) if sorted_already else np.argsort(times, kind="stable")
    staged.times = times[order]
    if sorted_already and not settled.changes:
        return False
    ranks = np.empty(len(times), dtype=np.int64)
    ranks[order] = np.arange(len(times))
    first = 0
    for number, file in enumerate(settled.files):
        table = pyarrow.parquet.read_table(_part(staged, number))
        split = table.column("split")[0].as_py() if table.num_rows else None
        block = FolderClicks(
            split,
            file,
            table.select(CLICK_ROWS.names),
            [],
            np.asarray(table.column("line").to_numpy(), dtype=np.int64),
        )
        done = settled.apply(number, block, lake=True)
        _write_part(done, ranks[first : first + done.rows.num_rows], _part(staged, number))
        _write_refused(done.refused, staged, source, f"repeats-{number:05d}")
        types.add(done.rows.column("event_type"))
        first += done.rows.num_rows
    return True
