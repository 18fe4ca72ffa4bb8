"""Dataset folders: finding the files and reading them block by block. The one code path for Spark and for the
model; knows neither.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from feature_repo.contract.dataset.files.blocks import Block, DatasetFolderError, Refused
from feature_repo.contract.dataset.files.lines import text_lines
from feature_repo.contract.dataset.files.tables import find_table, names_in, not_read, read_blocks
from feature_repo.contract.dataset.rows.checks import MAX_ID_CHARACTERS
from feature_repo.contract.dataset.rows.clicks import (
    CLICK_ROWS,
    OPTIONAL,
    REQUIRED,
    derive_event_id,
    parse_rows,
    sort_rows,
)
from feature_repo.contract.dataset.rows.items import ITEM_ROWS, parse_items, sort_items
from feature_repo.contract.dataset.rows.times import TimeFacts, judged
from feature_repo.contract.spellings.columns import ITEM_COLUMNS, with_our_names
from feature_repo.contract.spellings.missing import NO_VALUE, add_words, words_note
from feature_repo.contract.tables import TIME

__all__ = [
    "CLICK_ROWS",
    "CLICK_STEMS",
    "ITEM_ROWS",
    "Block",
    "DatasetFolderError",
    "FolderClicks",
    "FolderItems",
    "Refused",
    "derive_event_id",
    "find_table",
    "left_aside",
    "parse_items",
    "parse_rows",
    "read_blocks",
    "read_clicks",
    "read_item_blocks",
    "read_items",
    "read_sequences",
]

CLICK_STEMS = {"train": "clicks", "valid": "clicks_valid", "test": "clicks_test"}  # split -> file stem
SEQUENCES = "sequences.txt"
SECOND_US = 1_000_000
# 2000-01-01: sequences.txt has an order but no times, so clicks stand one second apart
SEQUENCE_START_US = 946_684_800 * SECOND_US


@dataclass(frozen=True)
class FolderClicks:
    """One block of a folder's clicks: accepted rows (schema ``CLICK_ROWS``) with their lines, refused rows,
    and where they come from.

    `notes` are choices of the reader and what it saw of the file, one line each, each once a file; saying
    them is the caller's.

    `split` None = a dataset that brings no split. Event ids that the file does not give are null until
    ``rules`` has seen the block.
    """

    split: str | None
    file: str
    rows: pa.Table
    refused: list[Refused]
    lines: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FolderItems:
    """One block of a folder's items: accepted rows (schema ``ITEM_ROWS``) with their lines, and refused
    rows.
    """

    file: str
    rows: pa.Table
    refused: list[Refused]
    lines: np.ndarray
    notes: tuple[str, ...] = ()


def read_items(folder: Path) -> Iterator[tuple[pa.Table, list[Refused]]]:
    """Yield the items of a folder, block by block, as :func:`parse_items` gives them; nothing when it has no
    items file.
    """
    for block in read_item_blocks(folder):
        yield block.rows, block.refused


def read_item_blocks(folder: Path) -> Iterator[FolderItems]:
    """Yield the items of a folder, block by block, with their line numbers; nothing when it has no items
    file.
    """
    path = find_table(folder, "items")
    if path is None:
        return
    words: dict[str, Counter[str]] = {}
    heard: set[str] = set()
    ahead: FolderItems | None = None
    for block in read_blocks(path):
        table, renamed = with_our_names(block.rows, ITEM_COLUMNS, block.file)
        found = sort_items(table, file=block.file, lines=block.lines)
        add_words(words, found.words)
        if ahead is not None:
            yield ahead
        ahead = FolderItems(
            block.file,
            found.rows,
            _by_line(block.refused + found.refused),
            _kept(block.lines, found.refused),
            _new((*block.notes, *renamed), heard),
        )
    if ahead is not None:
        yield replace(ahead, notes=(*ahead.notes, *words_note(path.name, words)))


def _by_line(refused: list[Refused]) -> list[Refused]:
    return sorted(refused, key=lambda row: row.line)


def _new(notes: Sequence[str], heard: set[str]) -> tuple[str, ...]:
    """Return the notes that were not heard yet."""
    new = tuple(dict.fromkeys(note for note in notes if note not in heard))
    heard.update(new)
    return new


def _kept(lines: np.ndarray, refused: Sequence[Refused]) -> np.ndarray:
    return lines[~np.isin(lines, [row.line for row in refused])]


def read_clicks(folder: Path, now_us: int | None = None) -> Iterator[FolderClicks]:
    """Yield the clicks of a folder, block by block: train, valid and test files, or ``sequences.txt``.

    Parameters
    ----------
    folder : Path
    now_us : int, optional
        As in :func:`parse_rows`.

    Yields
    ------
    FolderClicks

    Raises
    ------
    DatasetFolderError
        If the folder does not exist, holds no clicks, or a file cannot be read as a table.
    """
    for split, path in click_files(folder):
        yield from _file_clicks(split, path, now_us) if path.name != SEQUENCES else read_sequences(path)


def click_files(folder: Path) -> list[tuple[str, Path]]:
    """List the files of clicks that a folder holds, each with its split; ``sequences.txt`` is of train.

    Raises
    ------
    DatasetFolderError
        If the folder does not exist, or holds no clicks or both forms of them.
    """
    if not folder.is_dir():
        raise DatasetFolderError(
            f"dataset folder '{folder}' does not exist; give a folder with clicks.csv, clicks.parquet or "
            f"{SEQUENCES}"
        )
    sequences, clicks = folder / SEQUENCES, find_table(folder, "clicks")
    if clicks is None and not sequences.is_file():
        found = ", ".join(names_in(folder)[:5])
        raise DatasetFolderError(
            f"dataset folder '{folder}' holds no clicks{f' (found {found})' if found else ''}; put "
            f"clicks.csv, .tsv or .parquet, or {SEQUENCES} there"
        )
    if clicks is None:
        return [("train", sequences)]
    if sequences.is_file():
        raise DatasetFolderError(
            f"dataset folder '{folder}' holds both {clicks.name} and {SEQUENCES}; remove one of them"
        )
    paths = ((split, find_table(folder, stem)) for split, stem in CLICK_STEMS.items())
    return [(split, path) for split, path in paths if path is not None]


def left_aside(folder: Path) -> str | None:
    """Name the files that look like tables of clicks or items and are not read, in one line; None when there
    is none.
    """
    return not_read(folder, (*CLICK_STEMS.values(), "items"), SEQUENCES)


def _file_clicks(split: str, path: Path, now_us: int | None) -> Iterator[FolderClicks]:
    """Yield the clicks of one table; its last block is held back until the whole table can be judged by its
    times.
    """
    facts, heard, words = TimeFacts(), set[str](), dict[str, Counter[str]]()
    ahead: FolderClicks | None = None
    for block in read_blocks(path):
        table, renamed = with_our_names(block.rows, (*REQUIRED, *OPTIONAL), block.file)
        found = sort_rows(table, file=block.file, lines=block.lines, now_us=now_us)
        facts += found.times
        add_words(words, found.words)
        notes = _new((*block.notes, *renamed), heard)
        if ahead is not None:
            yield ahead
        ahead = FolderClicks(
            split,
            block.file,
            found.rows,
            _by_line(block.refused + found.refused),
            _kept(block.lines, found.refused),
            notes,
        )
    notes = (*judged(facts, path.name), *words_note(path.name, words))
    if ahead is not None:
        yield replace(ahead, notes=(*ahead.notes, *notes))


class _Step(NamedTuple):
    """One item of a line of ``sequences.txt``."""

    session: str
    item: str
    time_us: int
    line: int


def read_sequences(path: Path, lines_per_block: int = 50_000) -> Iterator[FolderClicks]:
    """Yield ``sequences.txt`` (``session item item ...`` in order) as clicks one second apart from
    2000-01-01; blank lines are passed over.

    A session on two lines goes on. Event ids are derived from session, item and position, by
    ``rules``.
    """
    following: dict[str, int] = {}
    block: list[_Step] = []
    refused: list[Refused] = []
    for number, raw in enumerate(_lines(path), start=1):
        words = _sequence_words(raw, path.name, number, refused)
        if words:
            start = following.get(words[0], 0)
            following[words[0]] = start + len(words) - 1
            block.extend(
                _Step(words[0], item, SEQUENCE_START_US + (start + step) * SECOND_US, number)
                for step, item in enumerate(words[1:])
            )
        if number % lines_per_block == 0:
            yield _sequence_block(path.name, block, refused)
            block, refused = [], []
    yield _sequence_block(path.name, block, refused)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        yield from text_lines(path)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise DatasetFolderError(
            f"{path.name} cannot be read: {why}; check the file and its rights"
        ) from None


def _sequence_words(raw: bytes, name: str, number: int, refused: list[Refused]) -> list[str]:
    try:
        words = raw.decode("utf-8").split()
    except UnicodeDecodeError:
        refused.append(
            Refused(
                number, f"{name} line {number}: bytes are not UTF-8; save the file as UTF-8", repr(raw[:200])
            )
        )
        return []
    problem = ""
    if len(words) == 1:
        problem = f"session '{words[0][:32]}' has no items; give `session item item ...`"
    elif no_value := next((word for word in words if word in NO_VALUE), None):
        problem = f"id '{no_value}' is a word for no value; give every session and every item an id"
    elif any(len(word) > MAX_ID_CHARACTERS for word in words):
        problem = f"an id has more than {MAX_ID_CHARACTERS} characters; shorten it"
    if problem:
        refused.append(Refused(number, f"{name} line {number}: {problem}", " ".join(words)[:200]))
        return []
    return words


def _sequence_block(name: str, block: list[_Step], refused: list[Refused]) -> FolderClicks:
    plain = pa.table(
        {
            "session_id": pa.array([step.session for step in block], pa.string()),
            "item_id": pa.array([step.item for step in block], pa.string()),
            "event_time": pa.array([step.time_us for step in block], pa.int64()).cast(TIME),
        }
    )
    lines = np.array([step.line for step in block], dtype=np.int64)
    return FolderClicks("train", name, parse_rows(plain)[0], refused, lines)
