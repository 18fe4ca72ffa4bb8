"""Entity rows given as a pandas frame, checked; the same for every engine. Knows Arrow, not Spark."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from feast.errors import EntityTimestampInferenceException
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df

from feature_repo.stores.offline.errors import EntityFrameError, FutureRowsWarning

ROW = "__row"
AT = "__at"  # the entity row's time in microseconds
AHEAD = timedelta(days=1)  # later times are told; clocks differ by less


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
        No rows, no time column or several, or null times.

    Warns
    -----
    FutureRowsWarning
        Times more than a day in the future; they are answered with what is known now.
    """
    if rows.empty:
        raise EntityFrameError(f"entity_df with columns {list(rows.columns)} has no rows; give at least one")
    event = time_column({str(name): kind for name, kind in rows.dtypes.items()})
    times = pd.to_datetime(rows[event], utc=True)
    if times.isna().any():
        raise EntityFrameError(
            f"entity_df row {int(np.flatnonzero(times.isna())[0])}: '{event}' is null; every row needs a time"
        )
    table = pa.Table.from_pandas(rows.reset_index(drop=True).assign(**{event: times}), preserve_index=False)
    table = pa.table({field.name: _in_stored_form(table.column(field.name)) for field in table.schema})
    at_us = table.column(event).cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy()
    first, last = times.min().to_pydatetime(), times.max().to_pydatetime()
    check(table.column_names, event, last)
    return EntityRows(table, event, at_us, first, last)


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
