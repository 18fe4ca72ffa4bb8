"""The rules by which a row of items is taken or refused, and what becomes of its texts. Knows nothing of
files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.files.blocks import DatasetFolderError, Refused
from feature_repo.contract.dataset.files.header import check_columns_once
from feature_repo.contract.dataset.rows.checks import (
    MAX_TITLE_CHARACTERS,
    as_json,
    check_ids,
    refusals,
    require_columns,
)
from feature_repo.contract.dataset.rows.columns import is_text_list, one_array, text_column
from feature_repo.contract.items.messages import ItemError, read_attributes
from feature_repo.contract.spellings.entities import decode_column
from feature_repo.contract.spellings.missing import without_words

MAX_TEXT_CHARACTERS = 1_000_000
_S = pa.string()
ITEM_ROWS = pa.schema(
    [
        ("item_id", _S),
        ("title", _S),
        ("category", _S),
        ("description", _S),
        ("raw", _S),
        ("available", pa.bool_()),
        ("attributes", _S),
    ]
)
_YES, _NO = ("true", "1", "yes", "y", "t"), ("false", "0", "no", "n", "f")
ITEM_TEXTS = ("title", "category", "description")


@dataclass(frozen=True)
class SortedItems:
    """Rows of items, accepted (schema ``ITEM_ROWS``) and refused, and which words for no value their texts
    were.
    """

    rows: pa.Table
    refused: list[Refused]
    words: dict[str, Counter[str]]


def parse_items(
    batch: pa.RecordBatch | pa.Table, *, file: str = "items", lines: Sequence[int] | np.ndarray | None = None
) -> tuple[pa.Table, list[Refused]]:
    r"""Sort rows of items into accepted and refused.

    Parameters
    ----------
    batch : pa.RecordBatch or pa.Table
        Column ``item_id``, optional ``title``, ``category`` (a text, or a list of texts, joined by ``", "``),
        ``description``. A blank text is a missing one. ``available`` (true or false, 1 or 0, yes or no; blank
        = available), ``attributes`` (a JSON object of texts, numbers, truth values or lists of these).
    file : str
        Name for messages.
    lines : sequence of int, optional
        Line numbers of the batch in its file; none = 1, 2, ...

    Returns
    -------
    rows : pa.Table
        Schema ``ITEM_ROWS``; runs of white space in a title (newlines too) become one space, HTML entities
        are decoded, and `raw` keeps the texts that this changed.
    refused : list of Refused

    Raises
    ------
    DatasetFolderError
        If ``item_id`` is missing.

    Examples
    --------
    >>> parse_items(pa.table({"item_id": ["1"], "title": ["a\n b"]}))[0].column("title").to_pylist()
    ['a b']
    """
    found = sort_items(batch, file=file, lines=lines)
    return found.rows, found.refused


def sort_items(
    batch: pa.RecordBatch | pa.Table, *, file: str = "items", lines: Sequence[int] | np.ndarray | None = None
) -> SortedItems:
    """Sort rows as :func:`parse_items` does, and tell which texts were words for no value."""
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    check_columns_once(table.column_names, file)
    require_columns(file, table.column_names, ("item_id",))
    numbers = np.arange(1, table.num_rows + 1) if lines is None else np.asarray(lines)
    ids = text_column(table, "item_id", file)
    problems = dict(ids.faults)
    check_ids(ids.texts, "item_id", problems, of="item")
    given = {name: _item_text(table, name, file, problems) for name in ITEM_TEXTS}
    decoded: dict[str, pa.Array] = {}
    words: dict[str, Counter[str]] = {}
    for name, texts in given.items():
        valued, words[name] = without_words(texts)
        decoded[name] = decode_column(valued)
    beside = [
        _raw_texts(given, decoded),
        _available(table, file, problems),
        _attributes(table, file, problems),
    ]
    columns = [ids.texts, *(_clean(texts) for texts in decoded.values()), *beside]
    keep = np.ones(table.num_rows, dtype=bool)
    keep[list(problems)] = False
    rows = pa.Table.from_arrays(columns, schema=ITEM_ROWS).filter(pa.array(keep))
    return SortedItems(rows, refusals(table, problems, numbers, file), words)


def _item_text(table: pa.Table, name: str, file: str, problems: dict[int, str]) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, _S)
    kind = one_array(table, name).type
    if is_text_list(kind) and name != "category":
        raise DatasetFolderError(
            f"{file}: column '{name}' has the type {kind}; join the texts of each row, only lists in "
            "'category' are joined here"
        )
    column = text_column(table, name, file, joined=True)
    for place, fault in column.faults.items():
        problems.setdefault(place, fault)
    limit = MAX_TITLE_CHARACTERS if name != "description" else MAX_TEXT_CHARACTERS
    lengths = pc.fill_null(pc.utf8_length(column.texts), 0)
    for row in np.flatnonzero(np.asarray(pc.greater(lengths, limit))):
        start = column.texts[int(row)].as_py()[:32]
        problems.setdefault(
            int(row), f"{name} '{start}...' has {lengths[int(row)]} characters; shorten it to {limit}"
        )
    return column.texts


def _available(table: pa.Table, file: str, problems: dict[int, str]) -> pa.Array:
    """Read whether items are available; null where the file does not say."""
    if "available" not in table.column_names:
        return pa.nulls(table.num_rows, pa.bool_())
    given = one_array(table, "available")
    if pa.types.is_boolean(given.type):
        return given
    column = text_column(table, "available", file)
    for place, fault in column.faults.items():
        problems.setdefault(place, fault)
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column.texts))
    yes, no = (pc.fill_null(pc.is_in(words, value_set=pa.array(known)), False) for known in (_YES, _NO))
    said = pc.fill_null(pc.greater(pc.utf8_length(words), 0), False)
    for row in np.flatnonzero(np.asarray(pc.and_not(said, pc.or_(yes, no)))):
        text = str(column.texts[int(row)].as_py())[:32]
        problems.setdefault(int(row), f"available '{text}' is neither true nor false; write one of them")
    return pc.if_else(pc.or_(yes, no), yes, pa.scalar(None, pa.bool_()))


def _attributes(table: pa.Table, file: str, problems: dict[int, str]) -> pa.Array:
    """Read attributes by the contract of the items topic; null where the file does not say."""
    if "attributes" not in table.column_names:
        return pa.nulls(table.num_rows, _S)
    column = text_column(table, "attributes", file)
    for place, fault in column.faults.items():
        problems.setdefault(place, fault)
    read: list[str | None] = []
    for row, text in enumerate(column.texts.to_pylist()):
        try:
            read.append(as_json(read_attributes(text)) if text and text.strip() else None)
        except ItemError as error:
            problems.setdefault(row, str(error))
            read.append(None)
    return pa.array(read, _S)


def _raw_texts(given: dict[str, pa.Array], decoded: dict[str, pa.Array]) -> pa.Array:
    """Keep, as JSON by column, the texts that were decoded or taken as missing; null where none was."""
    raw: dict[int, dict[str, str]] = {}
    for name, texts in given.items():
        if decoded[name] is not texts:
            changed = pc.and_(pc.is_valid(texts), pc.fill_null(pc.not_equal(texts, decoded[name]), True))
            for row in np.flatnonzero(np.asarray(changed)):
                raw.setdefault(int(row), {})[name] = texts[int(row)].as_py()
    rows = len(next(iter(given.values())))
    return (
        pa.array([as_json(raw[row]) if row in raw else None for row in range(rows)], _S)
        if raw
        else pa.nulls(rows, _S)
    )


def _clean(text: pa.Array) -> pa.Array:
    single = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[\s\x00-\x1f\x{a0}]+", " "))
    return pc.if_else(pc.equal(pc.utf8_length(single), 0), pa.scalar(None, _S), single)
