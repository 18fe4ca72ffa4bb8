"""Entity rows given as a pandas frame, checked; the same for every engine. Knows Arrow, not Spark."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from feast.errors import EntityTimestampInferenceException
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from feature_repo.stores.offline.errors import EntityFrameError, FutureRowsWarning, NullKeyWarning

ROW = "__row"
AT = "__at"  # the entity row's time in microseconds
AHEAD = timedelta(days=1)  # later times are told; clocks differ by less


class NullRows(NamedTuple):
    """The first row of a column that is null, and how many are."""

    first: int
    number: int


@dataclass(frozen=True)
class EntityRows:
    """Checked entity rows.

    Attributes
    ----------
    table : pyarrow.Table
        The caller's columns in the caller's order, times in microseconds.
    event : str
        Name of the time column.
    at_us : numpy.ndarray, shape (rows,)
        Times as microseconds UTC.
    first, last : datetime
        Their range, UTC.
    """

    table: pa.Table
    event: str
    at_us: np.ndarray
    first: datetime
    last: datetime

    def nulls(self) -> dict[str, NullRows]:
        """Return the columns that have nulls, and where."""
        return {
            field.name: NullRows(int(np.flatnonzero(column.is_null().to_numpy())[0]), column.null_count)
            for field, column in zip(self.table.schema, self.table.columns, strict=True)
            if column.null_count
        }


def from_pandas(rows: pd.DataFrame) -> EntityRows:
    """Take a pandas frame of entity rows.

    Parameters
    ----------
    rows : pandas.DataFrame
        Needs a time column: ``event_timestamp``, or the only column that holds times. Times without a zone
        are UTC (Feast's rule).

    Raises
    ------
    EntityFrameError
        No rows, columns without names of their own, no time column or several, values that are no times, null
        times, or values of several types in a column.

    Warns
    -----
    FutureRowsWarning
        Times more than a day in the future; they are answered with what is known now.
    """
    if rows.empty:
        raise EntityFrameError(f"entity_df with columns {list(rows.columns)} has no rows; give at least one")
    if not rows.columns.is_unique or not all(isinstance(name, str) for name in rows.columns):
        raise EntityFrameError(
            f"entity_df has the columns {list(rows.columns)}; give every column a name of its own, as text"
        )
    event = time_column({str(name): kind for name, kind in rows.dtypes.items()})
    times = _times(rows[event], event)
    if times.isna().any():
        raise EntityFrameError(
            f"entity_df row {int(np.flatnonzero(times.isna())[0])}: '{event}' is null; every row needs a time"
        )
    plain = rows.reset_index(drop=True).assign(**{event: times})
    try:
        table = pa.Table.from_pandas(plain, preserve_index=False)
    except pa.ArrowException as error:
        raise _several_types(plain, error) from None
    table = pa.table({field.name: _in_stored_form(table.column(field.name)) for field in table.schema})
    at_us = table.column(event).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    first, last = times.min().to_pydatetime(), times.max().to_pydatetime()
    check(table.column_names, event, last)
    return EntityRows(table, event, at_us, first, last)


def _times(column: pd.Series, event: str) -> pd.Series:
    """Return a column as times; raises ``EntityFrameError`` where it holds anything else."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        raise EntityFrameError(
            f"entity_df column '{event}' is {column.dtype}, no times; convert it, "
            f"pd.to_datetime(entity_df['{event}'], unit='s', utc=True) say"
        )
    try:
        return pd.to_datetime(column, utc=True)
    except (ValueError, TypeError, OverflowError):
        each = pd.to_datetime(column, utc=True, errors="coerce", format="mixed")
    wrong = np.flatnonzero(each.isna() & column.notna())
    if len(wrong):
        raise EntityFrameError(
            f"entity_df row {wrong[0]}: '{event}' = {column.iloc[wrong[0]]!r:.60} is no time that can be "
            "told; give times, or texts like 2026-01-31T12:00:00Z"
        )
    return each


def _several_types(rows: pd.DataFrame, error: Exception) -> EntityFrameError:
    """Return the error of a column that Arrow cannot hold, by its first value of another type."""
    for name, column in rows.items():
        kinds = column[column.notna()].map(type)
        if column.dtype != object or kinds.nunique() < 2:
            continue
        other = np.flatnonzero(column.notna() & (column.map(type) != kinds.iloc[0]))
        return EntityFrameError(
            f"entity_df row {other[0]}: '{name}' = {column.iloc[other[0]]!r:.60} is another type than "
            f"{kinds.iloc[0].__name__}, that of the rows before; give the column one type"
        )
    return EntityFrameError(f"entity_df cannot be read ({' '.join(str(error).split())[:200]})")


def time_column(kinds: Mapping[str, object]) -> str:
    """Return the name of the time column among columns and their types.

    Raises
    ------
    EntityFrameError
        There is none, or several might be it.
    """
    try:
        event = infer_event_timestamp_from_entity_df(dict(kinds))
    except (ValueError, EntityTimestampInferenceException):
        raise EntityFrameError(
            f"entity_df has columns {list(kinds)}: none is named 'event_timestamp' and not exactly one "
            "holds times; name it so"
        ) from None
    return str(event)


def check(columns: Sequence[str], event: str, last: datetime) -> None:
    """Refuse columns that the join uses itself, and tell of rows of a time that is yet to come."""
    if last > datetime.now(UTC) + AHEAD:
        # as Feast answers them: "as of month's end" is asked before the month ends
        warnings.warn(
            f"entity_df column '{event}' reaches {last.isoformat()}, more than a day "
            "ahead; these rows are answered with what is known now, and may be answered otherwise then",
            FutureRowsWarning,
            stacklevel=3,
        )
    taken = [name for name in (ROW, AT) if name in columns]
    if taken:
        raise EntityFrameError(f"entity_df has columns {taken}, which the join uses itself; rename them")


def refuse_missing_key(view: str, entity: str, columns: Sequence[str]) -> None:
    """Raise an ``EntityFrameError`` where entity rows lack a key column of a view."""
    if entity not in columns:
        raise EntityFrameError(
            f"view '{view}' needs the entity column '{entity}'; entity_df has {list(columns)}: rename or add "
            "it"
        )


def tell_null_key(view: str, entity: str, nulls: Mapping[str, NullRows]) -> None:
    """Warn of entity rows without a key: they are answered, with nulls, as they may have keys of other views.

    Warns
    -----
    NullKeyWarning
        With view, column and row.
    """
    found = nulls.get(entity)
    if found is not None:
        more = f" and {found.number - 1:,} more" if found.number > 1 else ""
        warnings.warn(
            f"view '{view}': row {found.first}{more} of entity_df without '{entity}'; it comes back without "
            "features, fill it in or leave such rows out",
            NullKeyWarning,
            stacklevel=3,
        )


def wrong_key(view: str, entity: str, given: str, wanted: str) -> EntityFrameError:
    """Return the error of a key column of another type, by Spark's names of the types."""
    return EntityFrameError(
        f"entity column '{entity}' is {given}, view '{view}' has {wanted}; cast it, or nothing would match"
    )


def _in_stored_form(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):  # pandas' categories
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_timestamp(kind):  # pandas keeps nanoseconds, Spark and Delta microseconds, and UTC
        return column.cast(pa.timestamp("us", tz="UTC" if kind.tz else None), safe=False)
    return column.cast(pa.string()) if pa.types.is_large_string(kind) else column
