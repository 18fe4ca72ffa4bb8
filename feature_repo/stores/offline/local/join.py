"""The features of one view for entity rows: which feature rows they see, then those rows' values, once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.stores.offline.entity_rows import EntityRows, refuse_missing_key, tell_null_key, wrong_key
from feature_repo.stores.offline.errors import OnlySparkError
from feature_repo.stores.offline.local import asof
from feature_repo.stores.offline.local.asof import Found, Longs
from feature_repo.stores.offline.local.content_hash import content_hashes
from feature_repo.stores.offline.local.tables import LocalTable, spark_name
from feature_repo.stores.offline.view_columns import ViewColumns

TABLE_ROWS = 20_000_000
"""Rows of one key and time each that are held at once, some 100 bytes each; more are Spark's work."""


@dataclass(frozen=True)
class _Times:
    """Keys and times of the feature rows that may matter, and where each stands."""

    keys: list[pa.ChunkedArray]
    event_us: Longs
    created_us: Longs
    file: Longs
    row: Longs


def check_table(view: ViewColumns, table: LocalTable) -> None:
    """Check that a table has what a view needs, in types and numbers that are read here.

    Raises
    ------
    FeatureTableError
        The table lacks a column.
    OnlySparkError
        Too many rows, or columns of types that only Spark reads.
    """
    view.refuse_missing(list(table.types), table.version)
    for column in (view.event, view.created):
        if column is not None and not _is_moment(table.types.get(column)):
            held = spark_name(table.types.get(column))
            raise OnlySparkError(f"table '{table.name}' holds the time '{column}' as {held}")
    for _, column in view.keys:
        kind = table.types[column]
        if kind is None or pa.types.is_nested(kind):
            raise OnlySparkError(f"key '{column}' of table '{table.name}' is {spark_name(kind)}")
    table.schema([column for _, column in view.features])
    rows = table.snapshot.rows()
    if rows > TABLE_ROWS:
        raise OnlySparkError(f"table '{table.name}' has {rows:,} rows, more than {TABLE_ROWS:,}")


def check_keys(view: ViewColumns, table: LocalTable, entities: EntityRows) -> None:
    """Check that entity rows hold a view's keys in the table's types.

    Raises
    ------
    EntityFrameError
        A key column is missing or of another type.
    """
    nulls = entities.nulls()
    for entity, column in view.keys:
        refuse_missing_key(view.view, entity, entities.table.column_names)
        tell_null_key(view.view, entity, nulls)
        given, wanted = entities.table.schema.field(entity).type, table.types[column]
        if given != wanted and not (pa.types.is_integer(given) and pa.types.is_integer(wanted)):
            raise wrong_key(view.view, entity, spark_name(given), spark_name(wanted))


def features(view: ViewColumns, table: LocalTable, entities: EntityRows) -> pa.Table:
    """Read the features of a view for entity rows.

    Returns
    -------
    pyarrow.Table
        One row an entity row, in their order, a column a feature; nulls where there is none.

    Raises
    ------
    FeatureTableError
        A data file is gone.
    OnlySparkError
        Rows tie that only Spark tells apart.
    """
    asked = [_plain(entities.table.column(entity)) for entity, _ in view.keys]
    times = _read_times(view, table, asked, entities.at_us.max())
    history, key = asof.key_numbers(times.keys, asked)
    if not view.keys:
        history, key = np.zeros(len(times.event_us), np.int64), np.zeros(len(entities.at_us), np.int64)
    found = asof.find(
        asof.History(history, times.event_us, times.created_us),
        key,
        entities.at_us,
        ttl_us=view.ttl_us,
        known_by_created=view.known_by_created,
    )
    values = _read_values(view, table, times, found)
    return values.take(_chosen(found, values))


def _read_times(view: ViewColumns, table: LocalTable, asked: list[pa.ChunkedArray], last_us: int) -> _Times:
    """Read keys and times of the rows that some entity row might see."""
    sought = [column.unique() for column in asked]
    keys: list[list[pa.ChunkedArray]] = [[] for _ in asked]
    events, created, files, rows = [], [], [], []
    columns = [column for _, column in view.keys]
    names = [*columns, view.event, *([view.created] if view.created else [])]
    for number, part in enumerate(table.parts(names)):
        event = micros(part.column(view.event))
        kept = event <= last_us
        parts = [_plain(part.column(column)) for column in columns]
        for have, want in zip(parts, sought, strict=True):
            kept &= pc.is_in(have, value_set=want.cast(have.type), skip_nulls=True).to_numpy()
        places = np.flatnonzero(kept)
        for column, have in zip(keys, parts, strict=True):
            column.append(have.take(pa.array(places)))
        events.append(event[places])
        made = micros(part.column(view.created)) if view.created else np.full(len(event), asof.NEVER)
        created.append(made[places])
        files.append(np.full(len(places), number))
        rows.append(places)
    return _Times(
        keys=[_chained(parts, want.type) for parts, want in zip(keys, asked, strict=True)],
        event_us=_joined(events),
        created_us=_joined(created),
        file=_joined(files),
        row=_joined(rows),
    )


def _chained(parts: list[pa.ChunkedArray], kind: pa.DataType) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], kind)


def _read_values(view: ViewColumns, table: LocalTable, times: _Times, found: Found) -> pa.Table:
    """Read the features of the rows that are seen, in the order of `found.rows`."""
    names = [column for _, column in view.features]
    schema = table.schema(names)
    seen_file, seen_row = times.file[found.rows], times.row[found.rows]
    order = np.lexsort((seen_row, seen_file))
    parts = [
        table.rows(names, int(file), seen_row[order][seen_file[order] == file])
        for file in np.unique(seen_file)
    ]
    read = pa.concat_tables(parts) if parts else schema.empty_table()
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    read = read.take(pa.array(back))
    return pa.table({output: read.column(source) for output, source in view.features})


def _chosen(found: Found, values: pa.Table) -> pa.Array:
    """Return for each entity row the place in `values` of the one row it gets: of a tie that of the greatest
    content hash.
    """
    groups, first, size = np.unique(found.group_of_row, return_index=True, return_counts=True)
    best = first.copy()
    tied = np.flatnonzero(size > 1)
    if len(tied):
        members = [np.arange(first[group], first[group] + size[group]) for group in tied]
        hashes = np.array(content_hashes(values.take(pa.array(np.concatenate(members)))), np.int64)
        begin = 0
        for group, rows in zip(tied, members, strict=True):
            best[group] = rows[np.argmax(hashes[begin : begin + len(rows)])]
            begin += len(rows)
    if not len(groups):
        return pa.nulls(len(found.group), pa.int64())
    place = np.minimum(np.searchsorted(groups, found.group), len(groups) - 1)
    return pa.array(best[place], mask=found.group < 0)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a key column in one form: whole numbers as 64 bits."""
    return column.cast(pa.int64()) if pa.types.is_integer(column.type) else column


def _is_moment(kind: pa.DataType | None) -> bool:
    return kind is not None and (pa.types.is_timestamp(kind) or pa.types.is_date32(kind))


def micros(column: pa.ChunkedArray) -> Longs:
    """Return times or dates as microseconds UTC, `asof.NEVER` where null."""
    micros = column.cast(pa.timestamp("us")).cast(pa.int64())
    whole: Longs = pc.fill_null(micros, asof.NEVER).to_numpy()
    return whole


def _joined(parts: list[Longs]) -> Longs:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
