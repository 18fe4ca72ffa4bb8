"""`python -m model.prepare SRC DST`: other people's click logs to a dataset folder, by renaming columns; says
each choice that it makes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from feature_repo.contract.dataset.files.blocks import Block
from feature_repo.contract.dataset.files.lines import COMPRESSIONS
from feature_repo.contract.dataset.folder import CLICK_STEMS, DatasetFolderError, read_blocks
from feature_repo.contract.dataset.rows.columns import one_array, text_column
from feature_repo.contract.events.found import TypeCounts
from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.files import replacing
from feature_repo.contract.spellings.columns import ITEM_COLUMNS, KNOWN_NAMES, matched
from feature_repo.contract.times import holds_times
from model.data.prepare_times import UNITS, with_times

CLICK_COLUMNS = ("session_id", "item_id", "event_time", "user_id", "event_type", "event_id")
REQUIRED = {CLICK_COLUMNS: CLICK_COLUMNS[:3], ITEM_COLUMNS: ITEM_COLUMNS[:1]}
STEMS = {
    "train": (
        "clicks",
        "train",
        "events",
        "interactions",
        "ratings",
        "yoochoose-clicks",
        "train-item-views",
        "UserBehavior",
        "u",
    ),
    "valid": ("clicks_valid", "valid", "validation"),
    "test": ("clicks_test", "test", "yoochoose-test"),
}
ITEM_STEMS = ("items", "movies", "products", "articles")
SUFFIXES = (".csv", ".tsv", ".parquet", ".inter", ".item", ".txt", ".dat", ".data")
PACKED = ("", *COMPRESSIONS)
_CLICK_SUFFIX, _ITEM_SUFFIX = ".inter", ".item"
# Files that are published without a line of names.
_YOOCHOOSE = ("session_id", "event_time", "item_id", "category")
HEADLESS = {
    "yoochoose-clicks": _YOOCHOOSE, "yoochoose-test": _YOOCHOOSE,
    "UserBehavior": ("user_id", "item_id", "category_id", "event_type", "event_time"),
    "u": ("user_id", "item_id", "rating", "event_time"),
    "yoochoose-buys": ("session_id", "event_time", "item_id", "price", "quantity"),
}  # fmt: skip
# Purchases that are published in a file of their own: its stem to the type of its events.
BUYS = {"yoochoose-buys": "buys"}
_SEPARATORS = {
    "yoochoose-clicks": ",",
    "yoochoose-test": ",",
    "yoochoose-buys": ",",
    "UserBehavior": ",",
    "u": "\t",
}


@dataclass(frozen=True)
class Choices:
    """What the user says of the source: columns by our names, separator and unit of times; and who hears of
    every other choice.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    separator: str | None = None
    unit: str | None = None
    say: Callable[[str], None] = lambda line: None


def prepare(
    source: Path,
    target: Path,
    renamed: dict[str, str] | None = None,
    *,
    separator: str | None = None,
    unit: str | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Write a dataset folder of a folder of tables.

    Parameters
    ----------
    source : Path
        Folder with ``train``, ``valid``, ``test`` or ``clicks`` tables (csv, tsv, parquet, also packed, or
        RecBole's ``.inter`` and ``.item``), and ``items``; or one table of clicks.
    target : Path
        Made if missing; its files of the same names are written anew.
    renamed : dict, optional
        Column of ours to column of the source, where ``KNOWN_NAMES`` does not hold it.
    separator : str, optional
        Of text files; None = by the extension and the first line.
    unit : str, optional
        What the numbers of the time column count, of ``UNITS``; None = epoch by size.
    say : callable, optional
        Gets one line for each choice made.

    Returns
    -------
    dict
        Written file name to rows.

    Raises
    ------
    DatasetFolderError
        If the folder holds no clicks or a column cannot be found; names the flag that helps.
    """
    if not source.exists():
        raise DatasetFolderError(
            f"folder '{source}' does not exist; name the folder that holds train.tsv, clicks.csv or *.inter"
        )
    choices = Choices(renamed or {}, separator, unit, say or (lambda line: None))
    tables = _tables(source, choices)
    target.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for split, stem in CLICK_STEMS.items():
        if split in tables:
            parts = [_converted(tables[split], CLICK_COLUMNS, choices)]
            if split == "train":
                parts += _bought(source, choices)
            written |= _write(parts, target / f"{stem}.parquet", choices)
    if "items" in tables:
        written |= _write(
            [_converted(tables["items"], ITEM_COLUMNS, choices)], target / "items.parquet", choices
        )
    _say_left_aside(source, set(tables.values()), choices)
    return written


def _tables(source: Path, choices: Choices) -> dict[str, Path]:
    if source.is_file():
        return {"train": source}
    suffixes = {"train": _CLICK_SUFFIX}
    found = {
        split: path
        for split, stems in STEMS.items()
        if (path := _find(source, stems, suffixes.get(split))) is not None
    }
    items = _find(source, ITEM_STEMS, _ITEM_SUFFIX)
    if items is not None:
        found["items"] = items
    if "train" not in found:
        others = [
            path for path in _readable(source) if path not in found.values() and _holds_clicks(path, choices)
        ]
        if len(others) != 1:
            names = ", ".join(path.name for path in (others or sorted(source.iterdir()))[:5]) or "nothing"
            raise DatasetFolderError(
                f"folder '{source}' holds no clicks; expected train.*, clicks.* or *.inter "
                f"({', '.join(SUFFIXES)}, also .gz and .zst), found {names}; name the file itself, or "
                "rename it"
            )
        found["train"] = others[0]
    return found


def _holds_clicks(path: Path, choices: Choices) -> bool:
    try:
        block = next(iter(read_blocks(path, separator=choices.separator)))
        return all(
            name in matched(block.rows.column_names, CLICK_COLUMNS, choices.renamed)
            for name in REQUIRED[CLICK_COLUMNS]
        )
    except DatasetFolderError:
        return False


def _find(folder: Path, stems: Sequence[str], suffix: str | None) -> Path | None:
    named = [folder / f"{stem}{ending}{packed}" for stem in stems for ending in SUFFIXES for packed in PACKED]
    found = [path for path in named if path.exists()] or (
        [] if suffix is None else sorted(folder.glob(f"*{suffix}"))
    )
    return found[0] if found else None


def _readable(folder: Path) -> list[Path]:
    endings = tuple(ending + packed for ending in SUFFIXES for packed in PACKED)
    return sorted(path for path in folder.iterdir() if path.name.endswith(endings))


def _say_left_aside(source: Path, read: set[Path], choices: Choices) -> None:
    left = (
        []
        if source.is_file()
        else [
            path.name
            for path in _readable(source)
            if path not in read and path.name.split(".")[0] not in BUYS
        ]
    )
    if left:
        choices.say(f"left aside: {', '.join(left)}")


def _bought(source: Path, choices: Choices) -> list[pa.Table]:
    """Return the purchases that lie in files of their own, each with its type."""
    found: list[pa.Table] = []
    for stem, name in BUYS.items():
        path = None if source.is_file() else _find(source, (stem,), None)
        if path is not None:
            rows = _converted(path, CLICK_COLUMNS, choices)
            choices.say(f"{path.name}: {rows.num_rows:,} events of type {name}, put beside the clicks")
            found.append(rows.append_column("event_type", pa.array([name] * rows.num_rows, pa.string())))
    return found


def _write(parts: list[pa.Table], target: Path, choices: Choices) -> dict[str, int]:
    whole = pa.concat_tables(parts, promote_options="default")
    if "event_type" in whole.column_names:
        types = TypeCounts(EventRules())
        types.add(whole.column("event_type"))
        for note in types.notes():
            choices.say(note)
    with replacing(target) as part:  # a killed run leaves no half file under the real name
        pyarrow.parquet.write_table(whole, part)
    return {target.name: whole.num_rows}


def _converted(path: Path, columns: tuple[str, ...], choices: Choices) -> pa.Table:
    heard: set[str] = set()
    tables: list[pa.Table] = []
    for block in _blocks(path, choices):
        chosen = _chosen(block, columns, choices)
        for note in (
            *block.notes,
            f"{path.name}: {', '.join(f'{ours} = {theirs!r}' for ours, theirs in chosen.items())}",
            *_dropped(block, path.name, chosen),
        ):
            if note not in heard:
                choices.say(note)
            heard.add(note)
        tables.append(_renamed(block, chosen))
    if not tables or not any(table.num_rows for table in tables):
        raise DatasetFolderError(f"{path.name} holds no row; nothing to prepare")
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        raise DatasetFolderError(
            f"{path.name}: its parts give a column different types; write them with one"
        ) from None
    if columns is CLICK_COLUMNS:
        whole = with_times(whole, path.name, choices.unit, choices.say)
    return whole


def _dropped(block: Block, name: str, chosen: dict[str, str]) -> Iterator[str]:
    left = [column for column in block.rows.column_names if column not in chosen.values()]
    if "eventdate" in chosen.values():
        left = [column for column in left if column != "timeframe"]  # it is part of the time
    if left:
        yield f"{name}: columns that are left out: {', '.join(left)}"


def _blocks(path: Path, choices: Choices) -> Iterator[Block]:
    stem = path.name.split(".")[0]
    names = HEADLESS.get(stem) if path.suffix != ".parquet" and not _has_names(path, stem) else None
    if names is not None:
        choices.say(f"{path.name} has no line of names; its columns are {', '.join(names)}, as published")
    return read_blocks(
        path, separator=choices.separator or (_SEPARATORS[stem] if names else None), names=names
    )


def _has_names(path: Path, stem: str) -> bool:
    """Tell whether the first line of a file that is published without names holds some all the same."""
    if stem not in HEADLESS:
        return True
    first = next(iter(read_blocks(path, separator=_SEPARATORS[stem], names=HEADLESS[stem])))
    return not (
        first.rows.num_rows and str(first.rows.column(0)[0]).isdigit()
    )  # all of them begin with the number of a session or user


def _chosen(block: Block, columns: tuple[str, ...], choices: Choices) -> dict[str, str]:
    present = block.rows.column_names
    chosen = matched(present, columns, choices.renamed)
    for name in REQUIRED[columns]:
        if name not in chosen:
            found = ", ".join(repr(column) for column in present)
            raise DatasetFolderError(
                f"{block.file}: no column for {name} (found {found}); name it with --{name.replace('_', '-')}"
            )
    return chosen


def _renamed(block: Block, chosen: dict[str, str]) -> pa.Table:
    if block.refused:
        raise DatasetFolderError(block.refused[0].reason)
    made: dict[str, pa.Array] = {}
    for ours, theirs in chosen.items():
        if ours == "event_time":
            made[ours] = _time_column(block, theirs)
            continue
        column = text_column(block.rows, theirs, block.file, joined=ours == "category")
        for row, fault in sorted(column.faults.items()):
            raise DatasetFolderError(f"{block.file} line {block.lines[row]}: {fault}")
        made[ours] = column.texts
    if (
        "eventdate" in chosen.values() and "timeframe" in block.rows.column_names
    ):  # Diginetica: the day, and milliseconds since the session's start
        made["_offset_ms"] = text_column(block.rows, "timeframe", block.file).texts
    return pa.table(made)


def _time_column(block: Block, name: str) -> pa.Array:
    column = one_array(block.rows, name)
    if not holds_times(column.type):
        raise DatasetFolderError(
            f"{block.file}: column '{name}' has the type {column.type}, which is no point in time; name "
            "another with --event-time"
        )
    return column


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m model.prepare",
        description="Turn click logs with other column names into a dataset folder.",
    )
    parser.add_argument(
        "source",
        type=Path,
        help="folder with train/valid/test or clicks tables, and items; or one table of clicks",
    )
    parser.add_argument("target", type=Path, help="dataset folder to write")
    names = dict.fromkeys((*CLICK_COLUMNS, *ITEM_COLUMNS))
    for name in names:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            help=f"source column of {name} (found by itself: {', '.join(KNOWN_NAMES[name])})",
        )
    parser.add_argument("--separator", help="of text files; none = by the extension and the first line")
    parser.add_argument(
        "--time-unit",
        choices=tuple(UNITS),
        help="what the numbers of the time column count since 1970; none = epoch by size",
    )
    given = vars(parser.parse_args(arguments))
    try:
        named = {name: given[name] for name in names if given[name]}
        written = prepare(
            given["source"],
            given["target"],
            named,
            separator=given["separator"],
            unit=given["time_unit"],
            say=print,
        )
    except DatasetFolderError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    for name, rows in written.items():
        print(f"{given['target'] / name}: {rows:,} rows")
    return 0
