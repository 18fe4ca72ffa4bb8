"""The catalogue: what other teams can find of the features, as JSON and as a static page that needs no
server.

The page's snippets are made here from the registry's names, so that they run as they are shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.catalogue.page import page
from feature_repo.catalogue.statistics import view_statistics
from feature_repo.contract.settings import Settings
from feature_repo.registry.plan import Shape, as_rows, compare, shape_of_registry
from feature_repo.registry.store import applied_store

if TYPE_CHECKING:
    from feast import FeatureService, FeatureStore, FeatureView
    from pyspark.sql import SparkSession

    from feature_repo.catalogue.statistics import ViewStatistics

CHANGES_KEPT = 200


def write_catalogue(settings: Settings, out: Path, spark: SparkSession | None = None) -> Path:
    """Write ``catalogue.json`` and ``index.html`` from the registry, and from the tables where a session is
    given.

    Parameters
    ----------
    settings : Settings
    out : Path
        Folder; what an earlier catalogue there says is the other side of the change log.
    spark : SparkSession, optional
        None = no statistics.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RegistryError
        The definitions were never applied.
    """
    store = applied_store(settings)
    statistics = _statistics(spark, store) if spark is not None else {}
    out.mkdir(parents=True, exist_ok=True)
    file = out / "catalogue.json"
    before: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    catalogue = build(store, statistics, before, datetime.now(UTC).isoformat(timespec="seconds"))
    file.write_text(json.dumps(catalogue, indent=1) + "\n", encoding="utf-8")
    index = out / "index.html"
    index.write_text(page(catalogue), encoding="utf-8")
    return index


def build(
    store: FeatureStore, statistics: Mapping[str, ViewStatistics], before: Mapping[str, Any], now: str
) -> dict[str, Any]:
    """Collect the catalogue as plain data.

    Parameters
    ----------
    store : feast.FeatureStore
    statistics : mapping
        View name to what its table says; views may be missing.
    before : mapping
        An earlier catalogue, or nothing.
    now : str
        Time of this one, ISO.
    """
    shape = shape_of_registry(store)
    services = sorted(store.list_feature_services(), key=lambda service: service.name)
    views = sorted(store.list_feature_views(), key=lambda view: view.name)
    readers: dict[str, list[str]] = {view.name: [] for view in views}
    for service in services:
        for projection in service.feature_view_projections:
            readers.setdefault(projection.name, []).append(service.name)
    return {
        "project": store.project,
        "made": now,
        "shape": {"services": shape.services, "views": shape.views, "keys": shape.keys},
        "services": [_service(service, shape) for service in services],
        "views": [_view(view, readers[view.name], statistics.get(view.name)) for view in views],
        "changes": _changes(before, shape, now),
    }


def _statistics(spark: SparkSession, store: FeatureStore) -> dict[str, ViewStatistics]:
    found = {view.name: view_statistics(spark, store, view) for view in store.list_feature_views()}
    return {name: statistics for name, statistics in found.items() if statistics is not None}


def _service(service: FeatureService, shape: Shape) -> dict[str, Any]:
    views = [projection.name for projection in service.feature_view_projections]
    key = sorted({part.split(" ")[0] for view in views for part in shape.keys[view]})
    return {
        "name": service.name,
        "owner": service.owner,
        "description": service.description,
        "tags": dict(service.tags),
        "keys": key,
        "features": [{"name": name, "type": kind} for name, kind in shape.services[service.name].items()],
        "snippets": snippets(service.name, key),
    }


def _view(view: FeatureView, readers: list[str], statistics: ViewStatistics | None) -> dict[str, Any]:
    features = []
    for feature in view.features:
        counted = statistics.features.get(feature.name) if statistics else None
        features.append(
            {
                "name": feature.name,
                "type": str(feature.dtype),
                "description": feature.description,
                "statistics": asdict(counted) if counted else None,
            }
        )
    return {
        "name": view.name,
        "owner": view.owner,
        "description": view.description,
        "tags": dict(view.tags),
        "keys": sorted(map(str, view.join_keys)),
        "ttl_seconds": view.ttl.total_seconds() if view.ttl else 0.0,
        "services": readers,
        "lineage": {
            "table": view.batch_source.path,
            "job": f"python -m spark_jobs {view.tags.get('job', '')}".strip(),
            "event_time": view.batch_source.timestamp_field,
            "created": view.batch_source.created_timestamp_column,
            "push_source": view.stream_source.name if view.stream_source else None,
        },
        "freshness": view.tags.get("freshness", ""),
        "rows": statistics.rows if statistics else None,
        "newest": statistics.newest if statistics else None,
        "delta_version": statistics.version if statistics else None,
        "features": features,
    }


def snippets(service: str, keys: list[str]) -> dict[str, str]:
    """Copy-paste code for one service: history (``history``), online (``online``) and HTTP (``http``).

    Examples
    --------
    >>> print(snippets("item_text_v1", ["item_id"])["http"].splitlines()[0])
    import json, os, urllib.request
    """
    entities = ", ".join(f'"{key}": ["1"]' for key in keys)
    start = (
        "import os\nfrom feature_repo.contract.settings import load_settings\nfrom "
        "feature_repo.registry.store import feature_store\n\n"
        "settings = load_settings(None, os.environ)\nstore = feature_store(settings)\n"
    )
    history = (
        "import pandas as pd\n"
        + start
        + (
            f'rows = pd.DataFrame({{{entities}, "event_timestamp": [pd.Timestamp.now(tz="UTC")]}})\n'
            "job = store.get_historical_features(entity_df=rows, "
            f'features=store.get_feature_service("{service}"))\n'
            "print(job.to_df())\nprint(job.delta_versions)  # keep these: store.pinned(...) reads the same "
            "set again\n"
        )
    )
    online = start + (
        f'answer = store.get_online_features(features=store.get_feature_service("{service}"), '
        f"entity_rows={{{entities}}})\nprint(answer.to_dict())\n"
    )
    http = (
        "import json, os, urllib.request\n\n"
        f'body = {{"feature_service": "{service}", "entities": {{{entities}}}}}\n'
        'address = os.environ.get("FEATURES_URL", "http://127.0.0.1:8750") + "/get-online-features"\n'
        'headers = {"Authorization": "Bearer " + os.environ["FEATURES_TOKEN"], "Content-Type": '
        '"application/json"}\n'
        "request = urllib.request.Request(address, json.dumps(body).encode(), headers)\n"
        "answer = json.load(urllib.request.urlopen(request))\n"
        'print(dict(zip(answer["metadata"]["feature_names"], [result["values"] for result in '
        'answer["results"]])))\n'
    )
    return {"history": history, "online": online, "http": http}


def _changes(before: Mapping[str, Any], shape: Shape, now: str) -> list[dict[str, Any]]:
    earlier: list[dict[str, Any]] = list(before.get("changes", []))
    if not before:
        return earlier
    old = before["shape"]
    keys = {view: tuple(names) for view, names in old["keys"].items()}
    new = [
        {"when": now, **row} for row in as_rows(compare(Shape(old["services"], old["views"], keys), shape))
    ]
    return (new + earlier)[:CHANGES_KEPT]
