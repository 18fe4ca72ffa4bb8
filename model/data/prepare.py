"""`python -m model.prepare SRC DST`: other people's click logs to a dataset folder, by renaming columns; says
each choice that it makes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from feature_repo.contract.dataset.files.blocks import Block, Refused
from feature_repo.contract.dataset.files.tables import names_in
from feature_repo.contract.dataset.folder import CLICK_STEMS, DatasetFolderError
from feature_repo.contract.dataset.refusals import Tally, too_many
from feature_repo.contract.dataset.rows.checks import refusals
from feature_repo.contract.dataset.rows.columns import one_array, text_column
from feature_repo.contract.events.found import TypeCounts
from feature_repo.contract.events.rules import EventRules
from feature_repo.contract.files import replace_file, replacing
from feature_repo.contract.settings import SettingsError, load_settings
from feature_repo.contract.spellings.columns import ITEM_COLUMNS, known_names, matched
from feature_repo.contract.tables import CLICK_COLUMNS
from feature_repo.contract.times import holds_times
from model.data.prepare_sources import (
    REQUIRED,
    Choices,
    blocks_of,
    bought_in,
    say_left_aside,
    tables_of,
)
from model.data.prepare_times import UNITS, no_numbers, with_times

REFUSED = "_refused.jsonl"  # the underscore keeps it out of the tables that are read


@dataclass
class _Source:
    """A source while it is read: what the user said of it, and the rows that were refused."""

    choices: Choices
    tally: Tally = field(default_factory=Tally)
    refused: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, rows: Sequence[Refused], file: str) -> None:
        self.tally.add(row.reason for row in rows)
        self.refused += [
            {"file": file, "line": row.line, "reason": row.reason, "raw": row.raw} for row in rows
        ]


def prepare(
    source: Path,
    target: Path,
    renamed: dict[str, str] | None = None,
    *,
    separator: str | None = None,
    unit: str | None = None,
    max_refused_share: float = 1.0,
    say: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Write a dataset folder of a folder of tables: all of its tables, or none.

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
    max_refused_share : float
        Of all rows; more that cannot be split into columns, or whose values have no spelling, stop the run.
        All of them are kept in ``REFUSED`` with file, line and reason.
    say : callable, optional
        Gets one line for each choice made, and for each kind of refused rows.

    Returns
    -------
    dict
        Written file name to rows.

    Raises
    ------
    DatasetFolderError
        If the folder holds no clicks, a column cannot be found (names the flag that helps), or too many rows
        were refused.
    """
    if not source.exists():
        raise DatasetFolderError(
            f"folder '{source}' does not exist; name the folder that holds train.tsv, clicks.csv or *.inter"
        )
    reading = _Source(Choices(renamed or {}, separator, unit, say or (lambda line: None)))
    tables = tables_of(source, reading.choices)
    named = [
        *((tables[split], f"{stem}.parquet") for split, stem in CLICK_STEMS.items() if split in tables),
        *((tables[kind], "items.parquet") for kind in ("items",) if kind in tables),
    ]
    written: dict[str, int] = {}
    purchases = bought_in(source)
    bought = [_bought(path, kind, reading) for path, kind in purchases]
    with ExitStack() as parts:  # each file gets its name when all of them are written
        for path, name in named:
            table = _converted(path, CLICK_COLUMNS if name != "items.parquet" else ITEM_COLUMNS, reading)
            if name == f"{CLICK_STEMS['train']}.parquet":
                table = pa.concat_tables([table, *bought], promote_options="default")
            if "event_type" in table.column_names:
                _say_types(table.column("event_type"), reading)
            pyarrow.parquet.write_table(table, parts.enter_context(replacing(target / name)))
            written[name] = table.num_rows
        _keep_refused(target, reading)
        stop = too_many(str(source), reading.tally, sum(written.values()), max_refused_share)
        if stop:
            raise DatasetFolderError(f"{stop}; the rows are in {target / REFUSED}")
    say_left_aside(source, {*tables.values(), *(path for path, _ in purchases)}, reading.choices)
    others = [name for name in names_in(target) if name not in written]
    if others:
        reading.choices.say(f"'{target}' holds files of before, which stay: {', '.join(others[:5])}")
    return written


def _bought(path: Path, kind: str, reading: _Source) -> pa.Table:
    """Return the purchases of a file that holds nothing else, with their type."""
    rows = _converted(path, CLICK_COLUMNS, reading)
    reading.choices.say(f"{path.name}: {rows.num_rows:,} events of type {kind}, put beside the clicks")
    return rows.append_column("event_type", pa.array([kind] * rows.num_rows, pa.string()))


def _say_types(types: pa.ChunkedArray, reading: _Source) -> None:
    found = TypeCounts(EventRules())
    found.add(types)
    for note in found.notes():
        reading.choices.say(note)


def _keep_refused(target: Path, reading: _Source) -> None:
    file = target / REFUSED
    if not reading.refused:
        file.unlink(missing_ok=True)
        return
    lines = [json.dumps(row, ensure_ascii=False) for row in reading.refused]
    replace_file(file, "\n".join(lines) + "\n")
    for kind, count in reading.tally.ranked().items():
        reading.choices.say(f"{count:,} rows refused, such as {reading.tally.examples[kind]}")
    reading.choices.say(f"refused rows are kept in {file}")


def _converted(path: Path, columns: tuple[str, ...], reading: _Source) -> pa.Table:
    choices = reading.choices
    heard: set[str] = set()
    tables: list[pa.Table] = []
    for block in blocks_of(path, choices):
        chosen = _chosen(block, columns, choices)
        for note in (
            *block.notes,
            f"{path.name}: {', '.join(f'{ours} = {theirs!r}' for ours, theirs in chosen.items())}",
            *_dropped(block, path.name, chosen),
        ):
            if note not in heard:
                choices.say(note)
            heard.add(note)
        tables.append(_renamed(block, chosen, reading))
    if not tables or not any(table.num_rows for table in tables):
        why = f" ({reading.tally.summary()})" if reading.tally.total else ""
        raise DatasetFolderError(f"{path.name} holds no row that can be read{why}; nothing to prepare")
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        raise DatasetFolderError(
            f"{path.name}: its parts give a column different types; write them with one"
        ) from None
    return whole if columns is ITEM_COLUMNS else with_times(whole, path.name, choices.unit, choices.say)


def _dropped(block: Block, name: str, chosen: dict[str, str]) -> Iterator[str]:
    left = [column for column in block.rows.column_names if column not in chosen.values()]
    if "eventdate" in chosen.values():
        left = [column for column in left if column != "timeframe"]  # it is part of the time
    if left:
        yield f"{name}: columns that are left out: {', '.join(left)}"


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


def _renamed(block: Block, chosen: dict[str, str], reading: _Source) -> pa.Table:
    """Take the columns of ours out of a block; rows that cannot be taken are refused."""
    reading.refuse(block.refused, block.file)
    made: dict[str, pa.Array] = {}
    problems: dict[int, str] = {}
    for ours, theirs in chosen.items():
        if ours == "event_time":
            made[ours] = _time_column(block, theirs)
            problems |= no_numbers(made[ours], reading.choices.unit)
            continue
        column = text_column(block.rows, theirs, block.file, joined=ours == "category")
        problems |= column.faults
        made[ours] = column.texts
    if (
        "eventdate" in chosen.values() and "timeframe" in block.rows.column_names
    ):  # Diginetica: the day, and milliseconds since the session's start
        made["_offset_ms"] = text_column(block.rows, "timeframe", block.file).texts
    if not problems:
        return pa.table(made)
    reading.refuse(refusals(block.rows, problems, block.lines, block.file), block.file)
    keep = np.ones(block.rows.num_rows, dtype=bool)
    keep[list(problems)] = False
    return pa.table(made).filter(pa.array(keep))


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
            help=f"source column of {name} (found by itself: {', '.join(known_names(name))})",
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
            max_refused_share=load_settings(environ=os.environ).dataset.max_refused_share,
            say=print,
        )
    except (DatasetFolderError, SettingsError) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    for name, rows in written.items():
        print(f"{given['target'] / name}: {rows:,} rows")
    return 0
