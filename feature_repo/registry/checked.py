"""`CheckedStore`: Feast's store whose refusals are one line in our words, where its own calls would end in a
bare key, an index, or without a word. What the stores see themselves, they refuse themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast import FeatureService, FeatureStore, FeatureView
from feast.errors import FeastObjectNotFoundException

from feature_repo.stores import asked
from feature_repo.stores.online.provider import PackedProvider

if TYPE_CHECKING:
    import pandas as pd
    from feast.infra.offline_stores.offline_store import RetrievalJob


class CheckedStore(FeatureStore):
    """A feature store that takes Feast's calls and says what is wrong with them.

    Raises of all calls
    -------------------
    RegistryError
        Nothing was ever applied.
    RequestError, PackedValueError, EntityFrameError
        Rows without a key or event time, a missing column, nothing at all.
    """

    def get_historical_features(
        self,
        entity_df: pd.DataFrame | str | None = None,
        features: list[str] | FeatureService = [],  # noqa: B006 - Feast's own signature
        full_feature_names: bool = False,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """Plan a historical read; see Feast."""
        asked.refuse_no_features(features, self.registry, self.project)
        ends = {"start_date": start_date, "end_date": end_date}
        given = {name: moment for name, moment in ends.items() if moment is not None}
        asked.refuse_range("get_historical_features", **given)
        asked.refuse_unapplied(self.registry, self.project)
        return super().get_historical_features(
            entity_df, features, full_feature_names, start_date, end_date, filter_by_created_timestamp
        )

    def get_feature_service(self, name: str, *options: Any, **named: Any) -> FeatureService:
        """Give a feature service; see Feast."""
        with self._applied():
            return super().get_feature_service(name, *options, **named)

    def get_feature_view(self, name: str, *options: Any, **named: Any) -> FeatureView:
        """Give a feature view; see Feast."""
        with self._applied():
            return super().get_feature_view(name, *options, **named)

    @contextmanager
    def _applied(self) -> Iterator[None]:
        """Say that nothing was applied where Feast says that one thing is not there."""
        try:
            yield
        except FeastObjectNotFoundException:
            asked.refuse_unapplied(self.registry, self.project)
            raise

    def write_to_online_store(
        self,
        feature_view_name: str,
        df: pd.DataFrame | None = None,
        inputs: Any = None,
        allow_registry_cache: bool = True,
        transform_on_write: bool = True,
    ) -> None:
        """Write a frame; one whose features are all null is written too, which Feast leaves out."""
        view, frame = self._frame(feature_view_name, df, inputs, allow_registry_cache, transform_on_write)
        self._get_provider().ingest_df(view, frame)

    async def write_to_online_store_async(
        self,
        feature_view_name: str,
        df: pd.DataFrame | None = None,
        inputs: Any = None,
        allow_registry_cache: bool = True,
    ) -> None:
        """Asyncio form of `write_to_online_store`."""
        view, frame = self._frame(feature_view_name, df, inputs, allow_registry_cache, True)
        await self._get_provider().ingest_df_async(view, frame)

    def push(self, push_source_name: str, df: pd.DataFrame, *options: Any, **named: Any) -> None:
        """Push a frame to the views of a push source; see Feast."""
        asked.refuse_unapplied(self.registry, self.project)
        super().push(push_source_name, df, *options, **named)

    async def push_async(self, push_source_name: str, df: pd.DataFrame, *options: Any, **named: Any) -> None:
        """Asyncio form of `push`."""
        asked.refuse_unapplied(self.registry, self.project)
        await super().push_async(push_source_name, df, *options, **named)

    def materialize(
        self,
        start_date: datetime,
        end_date: datetime,
        feature_views: list[str] | None = None,
        *options: Any,
        **named: Any,
    ) -> None:
        """Write a range of time into the online store; see Feast."""
        asked.refuse_range("materialize", start_date=start_date, end_date=end_date)
        self._refuse_no_views("materialize", feature_views)
        super().materialize(start_date, end_date, feature_views, *options, **named)

    def materialize_incremental(
        self, end_date: datetime, feature_views: list[str] | None = None, *options: Any, **named: Any
    ) -> None:
        """Write what is new up to a time; see Feast."""
        asked.refuse_range("materialize_incremental", end_date=end_date)
        self._refuse_no_views("materialize_incremental", feature_views)
        super().materialize_incremental(end_date, feature_views, *options, **named)

    def _refuse_no_views(self, call: str, names: list[str] | None) -> None:
        asked.refuse_unapplied(self.registry, self.project)
        if names is not None and not len(names):
            known = ", ".join(view.name for view in self.list_feature_views())
            raise asked.RequestError(
                f"{call}: feature_views is an empty list; leave it out for all views, or name some of {known}"
            )

    def _frame(
        self, name: str, df: Any, inputs: Any, allow_cache: bool, transform: bool
    ) -> tuple[Any, pd.DataFrame]:
        """Return view and frame of a write, checked; Feast makes the frame of `inputs` and the columns of an
        on-demand view.
        """
        known = [view.name for view in self.list_all_feature_views(allow_cache)]
        if name not in known:
            asked.refuse_unapplied(self.registry, self.project)
            raise asked.RequestError(
                f"feature view '{name}' is not in the registry; it has {', '.join(known)}"
            )
        asked.refuse_frame(name, inputs if df is None else df)
        view, frame = self._get_feature_view_and_df_for_online_write(name, df, inputs, allow_cache, transform)
        asked.refuse_frame(name, frame)
        provider = self._get_provider()
        if isinstance(provider, PackedProvider):
            provider.check(view, frame)
        return view, frame
