"""The settings of a process that Feast alone started: ``FeatureStore("feature_repo")`` and the ``feast``
command are entry points that know nothing of ours, so what `feature_store.yaml` leaves out is read here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.contract.endpoints import EndpointError, online_store_url
from feature_repo.contract.settings import DEFAULT_FILE, ENVIRONMENT_PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from feast import FeatureStore, RepoConfig

    from feature_repo.stores.online.store import PackedOnlineStore

NOWHERE = (
    "redis://127.0.0.1:1/0"  # answers nothing: offline work goes on, an online read says that none is there
)
_MARKS = (DEFAULT_FILE, Path(".intentstore"))


def online_store_of(store: FeatureStore) -> PackedOnlineStore:
    """Return the online store behind a feature store of ours; Feast has no public name for it."""
    online: PackedOnlineStore = store._get_provider().online_store  # type: ignore[attr-defined]
    return online


def settings_here(repo: Path | None) -> Settings:
    """Read the settings that hold for a Feast repository.

    Parameters
    ----------
    repo : Path, optional
        Folder of ``feature_store.yaml``.

    Returns
    -------
    Settings
        Of ``INTENTSTORE_*`` and the working folder's ``intentstore.toml``; where the working folder has
        neither that file nor a home, as when `feast` runs inside the repository, of the folder above it.

    Raises
    ------
    SettingsError
        A file or variable that cannot be used.
    """
    here = Path.cwd()
    above = here if repo is None else repo.resolve().parent
    if f"{ENVIRONMENT_PREFIX}HOME" in os.environ or _marked(here) or not _marked(above):
        return load_settings(None, os.environ)
    file = above / DEFAULT_FILE
    settings = load_settings(file if file.exists() else None, os.environ)
    if settings.home.is_relative_to(here):  # a relative home is that of the file's folder
        return settings.model_copy(update={"home": above / settings.home.relative_to(here)})
    return settings


def _marked(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in _MARKS)


def lake_of(config: RepoConfig) -> str:
    """Return the lake's folder or address: that of the configuration, else the home's."""
    named: str | None = getattr(config.offline_store, "lake", None)
    return named or str(settings_here(config.repo_path and Path(config.repo_path)).lake)


def online_url_of(config: RepoConfig) -> str:
    """Return the online store's address: that of the configuration, else the settings' or the embedded one's.

    Where there is none, one that answers nothing.
    """
    named: str | None = config.online_store.url
    if named:
        return named
    try:
        return online_store_url(settings_here(config.repo_path and Path(config.repo_path)))
    except EndpointError:
        return NOWHERE
