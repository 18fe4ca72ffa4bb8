"""The rules by which a row of clicks or items is taken or refused. Knows nothing of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.folder_files import DatasetFolderError, Refused, text_column
from feature_repo.contract.times import EXPECTED, parse_times

TIME = pa.timestamp("us", tz="UTC")
REQUIRED = ("session_id", "item_id", "event_time")
OPTIONAL = ("event_id", "user_id", "event_type")
MAX_ID_CHARACTERS = 1024  # as on Kafka
MAX_TITLE_CHARACTERS = 10_000  # a title is a line of text; more is a broken export
MAX_TEXT_CHARACTERS = 1_000_000
DAY_US = 86_400 * 1_000_000

_S = pa.string()
CLICK_ROWS = pa.schema([
    ("event_id", _S), ("session_id", _S), ("item_id", _S), ("event_time", TIME), ("user_id", _S), ("event_type", _S), ("extra", _S),
])  # fmt: skip
ITEM_ROWS = pa.schema([("item_id", _S), ("title", _S), ("category", _S), ("description", _S)])


def derive_event_id(session_id: str, item_id: str, event_time_us: int) -> str:
    """Name a click that came without an event id by its content, so that the same row read twice is one click.

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
    batch: pa.RecordBatch | pa.Table, *, file: str = "clicks", lines: Sequence[int] | np.ndarray | None = None, now_us: int | None = None
) -> tuple[pa.Table, list[Refused]]:
    """Sort rows of clicks into accepted and refused.

    Parameters
    ----------
    batch : pa.RecordBatch or pa.Table
        Columns ``session_id``, ``item_id``, ``event_time`` and optional ``event_id``, ``user_id``, ``event_type``, of any type;
        further columns are kept as JSON in ``extra``.
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
    >>> rows, refused = parse_rows(pa.table({"session_id": ["a", ""], "item_id": ["x", "y"], "event_time": ["2020-01-01", "2020-01-01"]}))
    >>> rows.num_rows, refused[0].reason
    (1, "clicks line 2: session_id '' is blank; give every click a session id")
    """
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    require_columns(file, table.column_names, REQUIRED)
    numbers = np.arange(1, table.num_rows + 1) if lines is None else np.asarray(lines)
    texts = {name: text_column(table, name) for name in (*REQUIRED[:2], *OPTIONAL) if name in table.column_names}
    times, readable = parse_times(table.column("event_time").combine_chunks())
    problems: dict[int, str] = {}
    for name in ("session_id", "item_id"):
        _check_ids(texts[name], name, problems)
    for row in np.flatnonzero(~readable):
        problems.setdefault(int(row), f"event_time {_shown(table, 'event_time', int(row))} is no timestamp; {EXPECTED}")
    _check_times(times, readable, now_us, table, problems)
    refused = [Refused(int(numbers[row]), f"{file} line {numbers[row]}: {text}", _raw(table, row)) for row, text in sorted(problems.items())]
    keep = np.ones(table.num_rows, dtype=bool)
    keep[list(problems)] = False
    return _accepted(table, texts, times, keep), refused


def require_columns(file: str, present: Sequence[str], required: Sequence[str]) -> None:
    """Raise a ``DatasetFolderError`` that names the first missing column of a file, and the columns it has."""
    for name in required:
        if name not in present:
            found = ", ".join(repr(column) for column in present[:20])
            raise DatasetFolderError(f"{file}: column '{name}' is missing (found {found}); rename a column, or see `python -m model.prepare --help`")


def _check_ids(ids: pa.Array, name: str, problems: dict[int, str]) -> None:
    trimmed = pc.utf8_length(pc.utf8_trim_whitespace(pc.fill_null(ids, "")))
    what = name.removesuffix("_id").replace("_", " ")
    for row in np.flatnonzero(np.asarray(pc.equal(trimmed, 0))):
        problems.setdefault(int(row), f"{name} {ids[int(row)].as_py()!r} is blank; give every click {'an' if what == 'item' else 'a'} {what} id")
    lengths = pc.fill_null(pc.utf8_length(ids), 0)
    for row in np.flatnonzero(np.asarray(pc.greater(lengths, MAX_ID_CHARACTERS))):
        start = str(ids[int(row)].as_py())[:32]
        problems.setdefault(int(row), f"{name} '{start}...' has {lengths[int(row)]} characters; at most {MAX_ID_CHARACTERS} are taken")


def _check_times(times: np.ndarray, readable: np.ndarray, now_us: int | None, table: pa.Table, problems: dict[int, str]) -> None:
    for row in np.flatnonzero(readable & (times <= 0)):
        problems.setdefault(int(row), f"event_time {_shown(table, 'event_time', int(row))} is before 1970; {EXPECTED}")
    if now_us is not None:
        for row in np.flatnonzero(readable & (times > now_us + DAY_US)):
            shown = _shown(table, "event_time", int(row))
            problems.setdefault(int(row), f"event_time {shown} is more than a day in the future; check the unit and the zone")


def _shown(table: pa.Table, name: str, row: int) -> str:
    value = table.column(name)[row].as_py()
    return repr(value if not isinstance(value, str) else value[:64])


def _raw(table: pa.Table, row: int) -> str:
    values = {name: table.column(name)[row].as_py() for name in table.column_names}
    return json.dumps(values, ensure_ascii=False, default=str)[:MAX_TITLE_CHARACTERS]


def _accepted(table: pa.Table, texts: dict[str, pa.Array], times: np.ndarray, keep: np.ndarray) -> pa.Table:
    mask = pa.array(keep)
    taken = {name: column.filter(mask) for name, column in texts.items()}
    moments = times[keep]
    rows = int(keep.sum())
    nothing = pa.nulls(rows, _S)
    others = [name for name in table.column_names if name not in (*REQUIRED, *OPTIONAL)]
    extra: pa.Array = nothing
    if others:
        records = table.select(others).filter(mask).to_pylist()
        extra = pa.array([json.dumps(record, ensure_ascii=False, default=str) for record in records], _S)
    columns = [
        _given_ids(taken.get("event_id", nothing)), taken["session_id"], taken["item_id"],
        pa.array(moments, pa.int64()).cast(TIME), taken.get("user_id", nothing), taken.get("event_type", nothing), extra,
    ]  # fmt: skip
    return pa.Table.from_arrays(columns, schema=CLICK_ROWS)


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
    """Name rows by the text of some of their columns (times as microseconds, a missing value as an empty one) and a further word."""
    texts = [rows.column(name).cast(pa.int64()).cast(_S) if name == "event_time" else pc.fill_null(rows.column(name), "") for name in columns]
    texts += [pa.scalar(word)] if word else []
    joined = pc.binary_join_element_wise(*texts, "\x1f").cast(pa.binary())
    return pa.array([_content_id(content) for content in joined.to_pylist()], _S)


def parse_items(batch: pa.RecordBatch | pa.Table, *, file: str = "items", lines: Sequence[int] | np.ndarray | None = None) -> tuple[pa.Table, list[Refused]]:
    r"""Sort rows of items into accepted and refused.

    Parameters
    ----------
    batch : pa.RecordBatch or pa.Table
        Column ``item_id``, optional ``title``, ``category``, ``description``. A blank text is a missing one.
    file : str
        Name for messages.
    lines : sequence of int, optional
        Line numbers of the batch in its file; none = 1, 2, ...

    Returns
    -------
    rows : pa.Table
        Schema ``ITEM_ROWS``; runs of white space in a title (newlines too) become one space.
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
    table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
    require_columns(file, table.column_names, ("item_id",))
    numbers = np.arange(1, table.num_rows + 1) if lines is None else np.asarray(lines)
    problems: dict[int, str] = {}
    columns = [text_column(table, "item_id")]
    _check_ids(columns[0], "item_id", problems)
    for name in ITEM_ROWS.names[1:]:
        text = text_column(table, name) if name in table.column_names else pa.nulls(table.num_rows, _S)
        limit = MAX_TITLE_CHARACTERS if name != "description" else MAX_TEXT_CHARACTERS
        lengths = pc.fill_null(pc.utf8_length(text), 0)
        for row in np.flatnonzero(np.asarray(pc.greater(lengths, limit))):
            start = text[int(row)].as_py()[:32]
            problems.setdefault(int(row), f"{name} '{start}...' has {lengths[int(row)]} characters; shorten it to {limit}")
        columns.append(_clean(text))
    refused = [Refused(int(numbers[row]), f"{file} line {numbers[row]}: {text}", _raw(table, row)) for row, text in sorted(problems.items())]
    keep = np.ones(table.num_rows, dtype=bool)
    keep[list(problems)] = False
    return pa.Table.from_arrays(columns, schema=ITEM_ROWS).filter(pa.array(keep)), refused


def _clean(text: pa.Array) -> pa.Array:
    single = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[\s\x00-\x1f]+", " "))
    return pc.if_else(pc.equal(pc.utf8_length(single), 0), pa.scalar(None, _S), single)
