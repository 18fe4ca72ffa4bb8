"""What Feast asks of the offline store, as one record that either engine takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
from feast import FeatureView, OnDemandFeatureView

from feature_repo.stores.offline.view_columns import ViewColumns
from feature_repo.stores.offline.views import columns_of

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class AskedView:
    """A view of a read, by its columns, and where it is stored."""

    columns: ViewColumns
    source: DataSource


@dataclass(frozen=True)
class Ask:
    """One historical read.

    Attributes
    ----------
    wanted : mapping
        View to the features that are asked of it.
    rows : pandas or Spark data frame, or SQL text, optional
        Entity rows; none = every key seen from `start` to `end`, at `end`.
    start, end : datetime
        Aware; looked at only without `rows`.
    full_names, by_created : bool
        See `views.columns_of`.
    on_demand : list of OnDemandFeatureView
    refs : list of str
        What the caller asked for, for the job's metadata.
    """

    wanted: Mapping[FeatureView, list[str]]
    rows: pd.DataFrame | DataFrame | str | None
    start: datetime
    end: datetime
    full_names: bool
    by_created: bool
    on_demand: list[OnDemandFeatureView]
    refs: list[str]

    def views(self) -> list[AskedView]:
        """Return the views in the order of the answer's columns."""
        return [
            AskedView(columns_of(view, names, self.full_names, self.by_created), view.batch_source)
            for view, names in self.wanted.items()
        ]

    def metadata_of(self, columns: list[str], event: str, first: datetime, last: datetime) -> dict[str, Any]:
        """Return the arguments of Feast's ``RetrievalMetadata``."""
        return {
            "features": self.refs,
            "keys": sorted(set(columns) - {event}),
            "min_event_timestamp": first,
            "max_event_timestamp": last,
        }
