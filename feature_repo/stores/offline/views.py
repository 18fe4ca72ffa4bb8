"""Takes what a historical read asks of a feature view out of Feast's objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from feast import FeatureView

from feature_repo.stores.offline.errors import FeatureTableError
from feature_repo.stores.offline.view_columns import ViewColumns
from feature_repo.stores.packed.keys import DUMMY_KEY


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


def _source_name(view: FeatureView, name: str) -> str:
    back = {renamed: source for source, renamed in view.batch_source.field_mapping.items()}
    return str(back.get(name, name))
