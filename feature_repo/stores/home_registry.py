"""`HomeRegistryStore`: Feast's file registry, found in the home where its path is not written out."""

from __future__ import annotations

from pathlib import Path

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig

from feature_repo.stores.surroundings import settings_here


class HomeRegistryStore(FileRegistryStore):
    """What ``registry_store_type:`` of ``feature_store.yaml`` names; a relative path is one of the home."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        path = Path(registry_config.path)
        if not path.is_absolute():
            path = settings_here(repo_path).home / path
        super().__init__(registry_config.model_copy(update={"path": str(path)}), repo_path)

    def update_registry_proto(self, registry_proto: Registry) -> None:
        """Write the registry, making the home's folder for it first."""
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        super().update_registry_proto(registry_proto)
