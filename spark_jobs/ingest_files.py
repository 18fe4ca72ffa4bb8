"""Parses dataset folders and ML-100K into Parquet parts beside the lake, block by block. Needs no Spark: the rules are `contract.dataset_folder`'s."""

from __future__ import annotations

import json
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

from feature_repo.contract.dataset_folder import (
    CLICK_ROWS,
    ITEM_ROWS,
    DatasetFolderError,
    FolderItems,
    Refused,
    parse_items,
    read_clicks,
    read_item_blocks,
)
from feature_repo.contract.folder_rows import sort_rows
from feature_repo.contract.id_spellings import spelling_note

LOGGER = logging.getLogger("intentstore.ingest")
SAY_EVERY_SECONDS = 10.0
MAX_RAW = 10_000  # characters of a refused row that are kept
ROWS_PER_GROUP = 1 << 16  # Spark reads a row group in one task, so a part of one group would keep all but one core idle
STAGED_CLICKS = pa.schema([*CLICK_ROWS, ("split", pa.string()), ("file", pa.string()), ("line", pa.int64()), ("arrival_seq", pa.int64())])
STAGED_REFUSED = pa.schema([("source", pa.string()), ("line", pa.int64()), ("reason", pa.string()), ("raw", pa.string())])


@dataclass(frozen=True)
class ClickBlock:
    """Some clicks of one file: accepted rows, their lines, refused rows; `split` None = the dataset brings no split."""

    split: str | None
    file: str
    rows: pa.Table
    refused: list[Refused]
    lines: np.ndarray


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
    may_repeat : bool
        False: no two clicks share an event id. True: two ids have the same hash, so they have to be compared.
    """

    clicks: Path
    refused: Path
    items: pa.Table | None = None
    times: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    refused_rows: int = 0
    titled_items: int = 0
    own_split: bool = False
    may_repeat: bool = False


def stage(dataset: Path | None, ml_100k: Path | None, folder: Path, now_us: int) -> Staged:
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

    Returns
    -------
    Staged

    Raises
    ------
    DatasetFolderError
        The dataset cannot be read at all, or holds no valid click; one line that says why.
    """
    staged = Staged(folder / "clicks", folder / "refused")
    staged.clicks.mkdir(parents=True)
    staged.refused.mkdir()
    name = str(dataset) if dataset is not None else "ml-100k"
    if dataset is not None:
        _stage_items(read_item_blocks(dataset), staged, name)
        _stage_clicks(_folder_blocks(dataset, now_us), staged, name)
    else:
        assert ml_100k is not None
        _stage_items(_ml_100k_items(ml_100k), staged, name)
        _stage_clicks(_ml_100k_clicks(ml_100k, now_us), staged, name)
    return staged


def _folder_blocks(dataset: Path, now_us: int) -> Iterator[ClickBlock]:
    for block in read_clicks(dataset, now_us):
        yield ClickBlock(block.split, block.file, block.rows, block.refused, block.lines)


def _ml_100k_clicks(folder: Path, now_us: int) -> Iterator[ClickBlock]:
    table = _tab_file(folder / "ml-100k.inter", ("user_id", "item_id", "timestamp"))
    users = table.column("user_id")
    clicks = pa.table({"session_id": users, "item_id": table.column("item_id"), "event_time": table.column("timestamp"), "user_id": users})
    numbers = np.arange(2, table.num_rows + 2)
    found = sort_rows(clicks, file="ml-100k.inter", lines=numbers, now_us=now_us, earliest_us=0)  # its seconds are of 1997 and 1998
    yield ClickBlock(None, "ml-100k.inter", found.rows, found.refused, _accepted_lines(numbers, found.refused))


def _ml_100k_items(folder: Path) -> Iterator[FolderItems]:
    table = _tab_file(folder / "ml-100k.item", ("item_id", "movie_title", "release_year", "class"))
    titles = [
        f"{title} ({year})" if title and year and year.isdigit() else title
        for title, year in zip(table.column("movie_title").to_pylist(), table.column("release_year").to_pylist(), strict=True)
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
        path, parse_options=pyarrow.csv.ParseOptions(delimiter="\t", quote_char=False),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(_header(path), pa.string()), strings_can_be_null=False),
    )  # fmt: skip
    table = table.rename_columns([name.split(":")[0] for name in table.column_names])
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DatasetFolderError(f"{path.name}: column '{missing[0]}' is missing; remove its folder, it is fetched again")
    return table.select(list(names))


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        return file.readline().rstrip("\r\n").split("\t")


def _stage_items(blocks: Iterable[FolderItems], staged: Staged, source: str) -> None:
    seen: dict[str, int] = {}
    kept: list[pa.Table] = []
    for number, block in enumerate(blocks):
        first = np.ones(block.rows.num_rows, dtype=bool)
        refused = list(block.refused)
        for row, (item, line) in enumerate(zip(block.rows.column("item_id").to_pylist(), block.lines.tolist(), strict=True)):
            if item in seen:
                first[row] = False
                reason = f"{block.file} line {line}: item_id '{item[:64]}' stands at line {seen[item]} already; keep one of them"
                refused.append(Refused(line, reason, json.dumps(block.rows.slice(row, 1).to_pylist()[0], ensure_ascii=False)[:MAX_RAW]))
            seen.setdefault(item, line)
        kept.append(block.rows.filter(pa.array(first)))
        _write_refused(refused, staged, source, f"items-{number:05d}")
    if kept:
        staged.items = pa.concat_tables(kept).cast(ITEM_ROWS)
        staged.titled_items = staged.items.num_rows - staged.items.column("title").null_count


def _write_refused(refused: Sequence[Refused], staged: Staged, source: str, name: str) -> None:
    if not refused:
        return
    columns = [[source] * len(refused), [row.line or None for row in refused], [row.reason for row in refused], [row.raw for row in refused]]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, STAGED_REFUSED, strict=True)]
    pyarrow.parquet.write_table(pa.Table.from_arrays(arrays, schema=STAGED_REFUSED), staged.refused / f"{name}.parquet")
    staged.refused_rows += len(refused)


def _stage_clicks(blocks: Iterator[ClickBlock], staged: Staged, source: str) -> None:
    times: list[np.ndarray] = []
    hashes: list[np.ndarray] = []
    splits: set[str | None] = set()
    clicked: set[str] = set()
    rows = 0
    said = time.monotonic()
    for number, block in enumerate(blocks):
        _write_refused(block.refused, staged, source, f"clicks-{number:05d}")
        count = block.rows.num_rows
        lines = pa.array(block.lines, pa.int64())
        columns = [*block.rows.columns, _repeat(block.split, count), _repeat(block.file, count), lines, pa.array(np.arange(rows, rows + count))]
        _write_part(pa.Table.from_arrays(columns, schema=STAGED_CLICKS), staged.clicks / f"part-{number:05d}.parquet")
        hashes.append(np.fromiter(map(hash, block.rows.column("event_id").to_pylist()), np.int64, count))
        times.append(np.asarray(block.rows.column("event_time").cast(pa.int64()).to_numpy()))
        splits.add(block.split)
        clicked.update(pc.unique(block.rows.column("item_id")).to_pylist())
        rows += count
        if time.monotonic() - said > SAY_EVERY_SECONDS:
            said = time.monotonic()
            LOGGER.info("ingest: %s clicks parsed", f"{rows:,}")
    if not rows:
        raise DatasetFolderError(f"{source}: no valid click ({staged.refused_rows:,} rows refused); see the table quarantine for the reasons")
    staged.own_split = splits - {None, "train"} != set()
    _say_unknown(clicked, staged)
    # Eight bytes an id and one sort tell almost always that no id repeats, without any id being looked at twice.
    ordered = np.sort(np.concatenate(hashes))
    staged.may_repeat = bool((ordered[1:] == ordered[:-1]).any())
    _rank_by_time(staged, np.concatenate(times))


def _say_unknown(clicked: set[str], staged: Staged) -> None:
    known = set() if staged.items is None else set(staged.items.column("item_id").to_pylist())
    if (note := spelling_note(sorted(clicked), known)) is not None:
        LOGGER.warning("ingest: %s", note)


def _write_part(clicks: pa.Table, file: Path) -> None:
    pyarrow.parquet.write_table(clicks, file, compression="lz4", use_dictionary=False, row_group_size=ROWS_PER_GROUP)


def _repeat(value: str | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.string()) if value is None else pa.repeat(pa.scalar(value), count)


def _rank_by_time(staged: Staged, times: np.ndarray) -> None:
    """Make `arrival_seq` the rank by event time; equal times keep the order of the file, so that it is the same at every run."""
    if (np.diff(times) >= 0).all():
        staged.times = times
        return
    order = np.argsort(times, kind="stable")
    ranks = np.empty(len(times), dtype=np.int64)
    ranks[order] = np.arange(len(times))
    staged.times = times[order]
    first = 0
    for part in sorted(staged.clicks.glob("part-*.parquet")):
        table = pyarrow.parquet.read_table(part)
        table = table.set_column(STAGED_CLICKS.get_field_index("arrival_seq"), "arrival_seq", pa.array(ranks[first : first + table.num_rows]))
        _write_part(table, part)
        first += table.num_rows
