"""What callers ask of the stores through Feast's calls, checked: rows of keys, frames, ranges of time. One
line in our words names view, column and row where Feast's own error names none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from feast import FeatureService, FeatureView, utils
from feast.errors import FeastObjectNotFoundException
from feast.infra.registry.base_registry import BaseRegistry
from feast.protos.feast.types.Value_pb2 import RepeatedValue, Value

from feature_repo.stores.packed.keys import DUMMY_KEY

# What Feast's own code ends with on rows that are none.
ROW_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError)
Asked: TypeAlias = Sequence[str] | FeatureService
_ASKING = "ask with entity_rows={'%s': ['...']}"


class RegistryError(RuntimeError):
    """The registry holds nothing to read; the text names it and the command."""


class RequestError(ValueError):
    """A call that asks for nothing, or for what cannot be looked up; names view, column, row and remedy."""


def refuse_unapplied(registry: BaseRegistry, project: str) -> None:
    """Raise where definitions were never applied.

    Raises
    ------
    RegistryError
        With the command.
    """
    if not registry.list_feature_views(project, allow_cache=True):
        raise RegistryError(
            f"the registry of project '{project}' holds no feature view; register them with `python -m "
            "feature_repo apply`"
        )


def refuse_no_features(features: Asked, registry: BaseRegistry, project: str) -> None:
    """Raise a ``RequestError`` where a call names no feature."""
    if isinstance(features, FeatureService):
        return
    if isinstance(features, Sequence) and len(features) and all(isinstance(one, str) for one in features):
        return
    refuse_unapplied(registry, project)
    services = ", ".join(
        service.name for service in registry.list_feature_services(project, allow_cache=True)
    )
    raise RequestError(
        f"features is {features!r}, which names none; give a feature service ({services}) or a list of "
        "'view:feature'"
    )


def plain_rows(rows: Any) -> Any:
    """Return rows of keys as the lists that Feast takes, where they are tuples, arrays or generators."""
    if isinstance(rows, tuple | Iterator):
        return list(rows)
    if not isinstance(rows, Mapping):
        return rows
    other = (np.ndarray, pd.Series, pd.Index, pd.api.extensions.ExtensionArray, tuple, Iterator)
    return {name: list(column) if isinstance(column, other) else column for name, column in rows.items()}


def wrong_rows(rows: Any) -> bool:
    """Tell, at little cost, whether rows of keys are empty, no table, or lack a value."""
    if isinstance(rows, Mapping):
        return not rows or any(
            not _is_column(column) or any(map(_missing, values := _values(column))) or not values
            for column in rows.values()
        )
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        return True
    return any(not isinstance(row, Mapping) or any(map(_missing, row.values())) for row in rows)


def refuse_rows(features: Asked, rows: Any, registry: BaseRegistry, project: str) -> None:
    """Raise what is wrong with the rows of keys of an online read; nothing where they are good.

    Parameters
    ----------
    features : list of str or FeatureService
    rows : mapping of columns, or list of mappings
        As `get_online_features` takes them.
    registry : BaseRegistry
    project : str

    Raises
    ------
    RegistryError
        Nothing was ever applied.
    RequestError
        No rows, rows of several forms, a column that is missing, or a row without its key.
    """
    refuse_unapplied(registry, project)
    keys = list(_keys_of(features, registry, project))
    view, first = keys[0] if keys else ("", "key")
    if not _is_table(rows):
        what = f"{type(rows).__name__} {str(rows)[:40]!r}"
        raise RequestError(f"view '{view}': entity_rows is {what}, no rows; {_ASKING % first}")
    columns, count = _columns(rows, view, first)
    if not count:
        raise RequestError(f"view '{view}': entity_rows is empty ({rows!r:.80}); {_ASKING % first}")
    for view, name in keys:
        nested = [row for row, value in enumerate(columns.get(name, ())) if isinstance(value, list | Mapping)]
        if nested:
            raise RequestError(
                f"view '{view}': row {nested[0]} of entity_rows has '{name}' = "
                f"{columns[name][nested[0]]!r:.60}, which is no key; {_ASKING % name}"
            )
        if name not in columns:
            raise RequestError(
                f"view '{view}' needs the column '{name}'; entity_rows has {sorted(columns)}: rename or add "
                "it"
            )
        empty = [row for row, value in enumerate(columns[name]) if _missing(value)]
        if empty:
            more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
            raise RequestError(
                f"view '{view}': row {empty[0]}{more} of entity_rows without '{name}'; leave such rows out"
            )


def refuse_frame(view: str, frame: Any) -> None:
    """Raise a ``RequestError`` where there is no frame, or no row in it."""
    if frame is None:
        raise RequestError(
            f"view '{view}': there is no frame (None); give a data frame with a row a key and time"
        )
    if len(frame) == 0:
        columns = list(getattr(frame, "columns", []))
        raise RequestError(
            f"view '{view}': the frame has no rows (columns {columns}); nothing would be written, leave the "
            "call out"
        )


def refuse_range(call: str, **times: Any) -> None:
    """Raise a ``RequestError`` where an end of a range of time is none."""
    for name, value in times.items():
        if not isinstance(value, datetime) or pd.isna(value):
            raise RequestError(f"{call}: {name} is {value!r}, no time; give a datetime with its zone")


def _is_column(column: Any) -> bool:
    return not isinstance(column, str | bytes | Mapping) and isinstance(column, Iterable | RepeatedValue)


def _is_table(rows: Any) -> bool:
    if isinstance(rows, Mapping):
        return all(map(_is_column, rows.values()))
    plain = isinstance(rows, Sequence) and not isinstance(rows, str)
    return plain and all(isinstance(row, Mapping) for row in rows)


def _columns(rows: Any, view: str, first: str) -> tuple[dict[str, list[Any]], int]:
    if isinstance(rows, Mapping):
        columns = {str(name): _values(column) for name, column in rows.items()}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise RequestError(
                f"view '{view}': columns of entity_rows differ in length {lengths}; fill them up"
            )
        return columns, next(iter(lengths.values()), 0)
    names = list(rows[0]) if rows else [first]
    for place, row in enumerate(rows):
        if set(row) != set(names):
            raise RequestError(
                f"view '{view}': row {place} of entity_rows has {sorted(row)}, row 0 has {sorted(names)}; "
                "give every row the same columns"
            )
    return {str(name): list(map(itemgetter(name), rows)) for name in names}, len(rows)


def _values(column: Any) -> list[Any]:
    return list(getattr(column, "val", column))


def _missing(value: Any) -> bool:
    if isinstance(value, float):
        return value != value
    if isinstance(value, Value):
        return value.WhichOneof("val") in (None, "null_val")
    return value is None or value is pd.NaT or value is pd.NA


def _keys_of(features: Asked, registry: BaseRegistry, project: str) -> Iterator[tuple[str, str]]:
    """Yield view and name of each key that an answer needs."""
    try:
        views, _ = utils._get_feature_views_to_use(registry, project, features, allow_cache=True)
    except FeastObjectNotFoundException:
        raise
    except ROW_ERRORS:  # names that Feast's own words are about
        return
    seen: set[str] = set()
    for view in views:
        for column in view.entity_columns if isinstance(view, FeatureView) else ():
            name = view.projection.join_key_map.get(column.name, column.name)
            if column.name != DUMMY_KEY and name not in seen:
                seen.add(name)
                yield view.name, name
