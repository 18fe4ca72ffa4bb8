"""Our Feast stores and the light codec beneath them; importing this package costs nothing, each name is
loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from feature_repo import feast_import

_HOMES = {
    "DeltaOfflineStore": "feature_repo.stores.offline.store",
    "DeltaOfflineStoreConfig": "feature_repo.stores.offline.store",
    "HomeRegistryStore": "feature_repo.stores.home_registry",
    "PackedOnlineStore": "feature_repo.stores.online.store",
    "PackedOnlineStoreConfig": "feature_repo.stores.online.store",
    "PackedProvider": "feature_repo.stores.online.provider",
    "LiveFeatureWriter": "feature_repo.stores.packed.live",
    "LiveFeatureReader": "feature_repo.stores.packed.live",
    "LiveRow": "feature_repo.stores.packed.live",
}


def __getattr__(name: str) -> Any:
    # Feast finds a store and its config class by attribute of one module; the consumer must not pay for
    # Feast's import.
    if name not in _HOMES:
        raise AttributeError(
            f"module 'feature_repo.stores' has no attribute '{name}'; it has {', '.join(_HOMES)}"
        )
    if not name.startswith("Live"):
        feast_import.import_feast()
    return getattr(import_module(_HOMES[name]), name)
