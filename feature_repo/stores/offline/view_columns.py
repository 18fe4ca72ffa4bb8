"""What a historical read asks of a feature view, said by names of columns; the same for every engine. Knows
nothing of Feast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feature_repo.stores.offline.errors import EntityFrameError, FeatureTableError


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
