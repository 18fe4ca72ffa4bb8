"""The feature store of a home: configuration from the settings, `apply`, historical reads. Holds no
definitions and no storage code.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo import feast_import
from feature_repo.contract.endpoints import EndpointError, online_store_url
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from feature_repo.stores.surroundings import NOWHERE

if TYPE_CHECKING:
    from feast import FeatureStore, RepoConfig

    from feature_repo import definitions
    from feature_repo.registry import checked
    from feature_repo.stores import asked
    from feature_repo.stores.offline import pins
else:
    definitions = lazy("feature_repo.definitions")
    checked = lazy("feature_repo.registry.checked")
    asked = lazy("feature_repo.stores.asked")
    pins = lazy("feature_repo.stores.offline.pins")


REPO = Path(__file__).resolve().parents[1]


def repo_config(settings: Settings, *, url: str | None = None) -> RepoConfig:
    """Build Feast's configuration: ``feature_store.yaml`` with the home's paths and the online store's
    address.

    Parameters
    ----------
    settings : Settings
    url : str, optional
        Address of the online store; none = the settings' or the embedded one's, or where there is none
        (offline work) one that answers nothing.

    Returns
    -------
    feast.RepoConfig
    """
    import yaml  # type: ignore[import-untyped]

    quiet()
    from feast import RepoConfig

    raw: dict[str, Any] = yaml.safe_load((REPO / "feature_store.yaml").read_text(encoding="utf-8"))
    registry = settings.home / "feast" / "registry.db"
    registry.parent.mkdir(parents=True, exist_ok=True)
    raw["registry"]["path"] = str(registry)
    raw["offline_store"]["lake"] = str(settings.lake)
    if url is None:
        try:
            url = online_store_url(settings)
        except EndpointError:
            url = NOWHERE
    ttl = settings.online.ttl_hours
    raw["online_store"].update(
        url=url, cluster=settings.online.cluster, ttl_seconds=None if ttl is None else ttl * 3600
    )
    config = RepoConfig(**raw)
    config.repo_path = REPO
    return config


def quiet() -> None:
    """Import Feast, and silence what it says on every start about parts that we replace or tests of ours
    cover.
    """
    feast_import.import_feast()
    if find_spec("pyspark") is not None:  # the extra `features` has none
        # it resets the filters when it is imported
        from feast.infra.offline_stores.contrib.spark_offline_store import spark  # noqa: F401

    warnings.filterwarnings(
        "ignore", category=RuntimeWarning, message=".*experimental feature in alpha development.*"
    )
    logging.getLogger("feast.repo_config").setLevel(logging.ERROR)


def feature_store(settings: Settings, *, url: str | None = None) -> FeatureStore:
    """Open the feature store of a home; see `repo_config`.

    Returns
    -------
    CheckedStore
        Feast's, with errors in our words.
    """
    config = repo_config(settings, url=url)

    return checked.CheckedStore(config=config)


def applied_store(settings: Settings, *, url: str | None = None) -> FeatureStore:
    """Open the feature store of a home whose definitions were applied; see `feature_store`.

    Raises
    ------
    RegistryError
        They never were.
    """
    store = feature_store(settings, url=url)

    if not store.list_feature_views():
        raise asked.RegistryError(
            f"the registry of home '{settings.home}' holds no feature view; register them with `python -m "
            "feature_repo apply`"
        )
    return store


def apply(settings: Settings, *, url: str | None = None) -> FeatureStore:
    """Write the definitions into the registry; needs no Spark and no table.

    Returns
    -------
    feast.FeatureStore
        With everything of `definitions.OBJECTS` registered and what is no longer defined removed.
    """
    store = feature_store(settings, url=url)

    store.apply(
        list(definitions.OBJECTS),
        objects_to_delete=_no_longer_defined(store, definitions.OBJECTS),
        partial=False,
    )
    return store


def _no_longer_defined(store: FeatureStore, objects: tuple[Any, ...]) -> list[Any]:
    kept = {(type(thing).__name__, thing.name) for thing in objects}
    found = [
        *store.list_feature_services(),
        *store.list_feature_views(),
        *store.list_entities(),
        *store.list_data_sources(),
    ]
    return [
        thing
        for thing in found
        if (type(thing).__name__, thing.name) not in kept and not thing.name.startswith("__")
    ]


def pinned(versions: Mapping[str, int | str]) -> Any:
    """Pin tables for the historical reads of a ``with`` block: table name to Delta version (int) or timestamp
    (ISO text).

    Returns
    -------
    context manager
    """
    return pins.pinned(versions)
