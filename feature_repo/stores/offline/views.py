"""What a historical read asks of a feature view, said by names of columns; the same for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from feast import FeatureView

from feature_repo.stores.offline.errors import EntityFrameError, FeatureTableError
from feature_repo.stores.packed.keys import DUMMY_KEY


@dataclass(frozen=True)
class ViewColumns:
    """A feature view as a join needs it.

    Attributes
    ----------
    view, table : str
        Names, for what is said.
    keys : tuple of (entity column, source column)
    features : tuple of (output column, source column)
    event, created : str
        Source columns of the event time and of the creation time (none where the source has none).
    ttl_us : int
        Greatest age in microseconds; 0 = no limit.
    known_by_created : bool
        Whether a row counts only from its creation time on (knowledge-time cut-off).
    """

    view: str
    table: str
    keys: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, str], ...]
    event: str
    created: str | None
    ttl_us: int
    known_by_created: bool

    def refuse_missing(self, columns: Sequence[str], version: int | None) -> None:
        """Raise a ``FeatureTableError`` where the table lacks a column of the view."""
        needed = [column for _, column in (*self.features, *self.keys)] + [self.event]
        missing = [column for column in needed if column not in columns]
        if missing:
            raise FeatureTableError(
                f"table '{self.table}' (version {version}) lacks {missing} of view '{self.view}'; run its "
                "Spark job or pin a version"
            )


def columns_of(view: FeatureView, names: Sequence[str], full_names: bool, by_created: bool) -> ViewColumns:
    """Name the columns that a read needs of a view.

    Parameters
    ----------
    view : FeatureView
    names : sequence of str
        Its features that are asked for.
    full_names : bool
        Whether outputs are named ``view__feature``.
    by_created : bool
        Whether rows count only from their creation time on.

    Raises
    ------
    FeatureTableError
        The view has no batch source.
    """
    source = view.batch_source
    if source is None:
        raise FeatureTableError(
            f"feature view '{view.name}' has no batch source; it cannot be read historically"
        )
    prefix = f"{view.projection.name_to_use()}__" if full_names else ""
    created = _source_name(view, source.created_timestamp_column) if source.created_timestamp_column else None
    entity_columns = [column.name for column in view.entity_columns if column.name != DUMMY_KEY]
    return ViewColumns(
        view=view.name,
        table=source.name,
        keys=tuple(
            (view.projection.join_key_map.get(name, name), _source_name(view, name))
            for name in entity_columns
        ),
        features=tuple((prefix + name, _source_name(view, name)) for name in names),
        event=_source_name(view, source.timestamp_field),
        created=created,
        ttl_us=(view.ttl or timedelta(0)) // timedelta(microseconds=1),
        known_by_created=by_created and created is not None,
    )


def refuse_taken(entity_columns: Sequence[str], views: Sequence[ViewColumns]) -> None:
    """Raise an ``EntityFrameError`` where a column would occur twice in the answer."""
    taken = set(entity_columns)
    for view in views:
        for output, _ in view.features:
            if output in taken:
                raise EntityFrameError(
                    f"column '{output}' would occur twice in the result; ask with full_feature_names=True "
                    "or rename the entity column"
                )
            taken.add(output)


def _source_name(view: FeatureView, name: str) -> str:
    back = {renamed: source for source, renamed in view.batch_source.field_mapping.items()}
    return str(back.get(name, name))
