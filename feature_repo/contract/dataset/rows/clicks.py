"""The rules by which a row of clicks is taken or refused. Knows nothing of files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.files.blocks import Refused
from feature_repo.contract.dataset.files.header import check_columns_once
from feature_repo.contract.dataset.rows.checks import (
    as_json,
    check_ids,
    records_of,
    refusals,
    require_columns,
    shown,
)
from feature_repo.contract.dataset.rows.columns import text_column
from feature_repo.contract.dataset.rows.times import TimeFacts, check_times, click_times, time_facts
from feature_repo.contract.messages import EARLIEST_US
from feature_repo.contract.spellings.missing import without_words
from feature_repo.contract.tables import CLICK_FIELDS, OPTIONAL_CLICK_COLUMNS, TIME
from feature_repo.contract.times import EXPECTED

REQUIRED = ("session_id", "item_id", "event_time")
OPTIONAL = ("event_id", *OPTIONAL_CLICK_COLUMNS)

_S = pa.string()
CLICK_ROWS = pa.schema([*((field.name, field.kind) for field in CLICK_FIELDS), ("extra", _S)])


@dataclass(frozen=True)
class SortedRows:
    """Rows of clicks, accepted (schema ``CLICK_ROWS``) and refused, the facts of their times, and which words
    for no value the optional columns held.
    """

    rows: pa.Table
    refused: list[Refused]
    times: TimeFacts
    words: dict[str, Counter[str]] = field(default_factory=dict)


def derive_event_id(session_id: str, item_id: str, event_time_us: int) -> str:
    """Name a click that came without an event id by its content, so that the same row read twice is one
    click.

    Parameters
    ----------
    session_id, item_id : str
    event_time_us : int
        Microseconds UTC.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> derive_event_id("s", "i", 1) == derive_event_id("s", "i", 1) != derive_event_id("s", "i", 2)
    True
    """
    return _content_id(f"{session_id}\x1f{item_id}\x1f{event_time_us}".encode())


def _content_id(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def parse_rows(
    batch: pa.RecordBatch | pa.Table,
    *,
    file: str = "clicks",
    lines: Sequence[int] | np.ndarray | None = None,
    now_us: int | None = None,
) -> tuple[pa.Table, list[Refused]]:
    """Sort rows of clicks into accepted and refused.

    Parameters
    ----------
    batch : pa.RecordBatch or pa.Table
        Columns ``session_id``, ``item_id``, ``event_time`` and optional ``event_id``, ``user_id``,
        ``event_type``, of any type; further columns are kept as JSON in ``extra``.
    file : str
        Name for messages.
    lines : sequence of int, optional
        Line (or row) numbers of the batch in its file; none = 1, 2, ...
    now_us : int, optional
        The reader's clock; clicks more than a day ahead of it are refused. None = no such check.

    Returns
    -------
    rows : pa.Table
        Schema ``CLICK_ROWS``; an event id that the file does not give is null (see ``fill_event_ids``).
    refused : list of Refused

    Raises
    ------
    DatasetFolderError
        If a required column is missing.

    Examples
    --------
    >>> rows, refused = parse_rows(
    ...     pa.table(
    ...         {"session_id": ["a", ""], "item_id": ["x", "y"], "event_time": ["2020-01-01", "2020-01-01"]}
    ...     )
    ... )
    >>> rows.num_rows, refused[0].reason
    (1, "clicks line 2: session_id '' is blank; give every click a session id")
    """
    found = sort_rows(batch, file=file, lines=lines, now_us=now_us)
    return found.rows, found.refused


def sort_rows(
    batch: pa.RecordBatch | pa.Table,
    *,
    file: str = "clicks",
    lines: Sequence[int] | np.ndarray | None = None,
    now_us: int | None = None,
    earliest_us: int = EARLIEST_US,
) -> SortedRows:
    """Sort rows as :func:`parse_rows` does, and tell what their times are.

    Parameters
    ----------
    batch, file, lines, now_us
        As in :func:`parse_rows`.
    earliest_us : int
        Numbers that fall before it are no time stamps; lower only where the unit is known.
    """
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    check_columns_once(table.column_names, file)
    require_columns(file, table.column_names, REQUIRED)
    numbers = np.arange(1, table.num_rows + 1) if lines is None else np.asarray(lines)
    problems: dict[int, str] = {}
    texts: dict[str, pa.Array] = {}
    words: dict[str, Counter[str]] = {}
    for name in (*REQUIRED[:2], *OPTIONAL):
        if name in table.column_names:
            column = text_column(table, name, file)
            texts[name] = column.texts
            for place, fault in column.faults.items():
                problems.setdefault(place, fault)
            if name in OPTIONAL:
                texts[name], words[name] = without_words(column.texts)
    times = click_times(table, file)
    for name in REQUIRED[:2]:
        check_ids(texts[name], name, problems)
    for row in np.flatnonzero(~times.valid):
        problems.setdefault(
            int(row), f"event_time {shown(table, 'event_time', int(row))} is no timestamp; {EXPECTED}"
        )
    early = check_times(times, now_us, earliest_us, table, problems)
    keep = np.ones(table.num_rows, dtype=bool)
    keep[list(problems)] = False
    facts = time_facts(table, times, early, keep)
    return SortedRows(
        _accepted(table, texts, times.us, keep), refusals(table, problems, numbers, file), facts, words
    )


def _accepted(table: pa.Table, texts: dict[str, pa.Array], times: np.ndarray, keep: np.ndarray) -> pa.Table:
    mask = pa.array(keep)
    taken = {name: column.filter(mask) for name, column in texts.items()}
    moments = times[keep]
    rows = int(keep.sum())
    nothing = pa.nulls(rows, _S)
    others = [name for name in table.column_names if name not in (*REQUIRED, *OPTIONAL)]
    extra: pa.Array = nothing
    if others:
        records = records_of(table.select(others).filter(mask))
        extra = pa.array([as_json(record) for record in records], _S)
    columns = taken | {
        "event_id": _given_ids(taken.get("event_id", nothing)),
        "event_time": pa.array(moments, pa.int64()).cast(TIME),
        "extra": extra,
    }
    return pa.Table.from_arrays([columns.get(name, nothing) for name in CLICK_ROWS.names], schema=CLICK_ROWS)


def _given_ids(given: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(pc.fill_null(given, ""), ""), pa.scalar(None, _S), given)


def fill_event_ids(rows: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """Derive the event ids that a file does not give, by ``derive_event_id``.

    Parameters
    ----------
    rows : pa.Table
        Schema ``CLICK_ROWS``, as ``parse_rows`` gives it.

    Returns
    -------
    rows : pa.Table
        The same with every event id filled in.
    given : ndarray bool, shape (rows,)
        Where the file gave one.
    """
    ids = rows.column("event_id").combine_chunks()
    given = np.asarray(pc.is_valid(ids).to_numpy(zero_copy_only=False), dtype=bool)
    if given.all():
        return rows, given
    missing = pa.array(~given)
    fresh = content_ids(rows.filter(missing), REQUIRED)
    filled = fresh if not given.any() else pc.replace_with_mask(ids, missing, fresh)
    return rows.set_column(0, CLICK_ROWS.field("event_id"), filled), given


def content_ids(rows: pa.Table, columns: Sequence[str], word: str = "") -> pa.Array:
    """Name rows by the text of some of their columns (times as microseconds, a missing value as an empty one)
    and a further word.
    """
    texts = [
        rows.column(name).cast(pa.int64()).cast(_S)
        if name == "event_time"
        else pc.fill_null(rows.column(name), "")
        for name in columns
    ]
    texts += [pa.scalar(word)] if word else []
    joined = pc.binary_join_element_wise(*texts, "\x1f").cast(pa.binary())
    return pa.array([_content_id(content) for content in joined.to_pylist()], _S)
