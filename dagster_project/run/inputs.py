"""What steps read outside the lake: a shop's own files, and the online store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from feature_repo.contract.endpoints import EndpointError, online_store_url
from feature_repo.contract.settings import Settings

ONLINE_TIMEOUT_SECONDS = 2.0


class FileState(NamedTuple):
    """A file as its folder's listing tells of it: path within the folder, size, time of its last change."""

    path: str
    size_bytes: int
    changed_ns: int


def input_files(settings: Settings) -> list[FileState]:
    """List the dataset folder; empty for the fetched ML-100K, which never changes."""
    return files_in(settings.dataset.path, "**/*") if settings.dataset.path is not None else []


def files_in(folder: Path, pattern: str = "*") -> list[FileState]:
    """List a folder's files of a pattern by path; empty where there is none."""
    if not folder.is_dir():
        return []
    files = (file for file in folder.glob(pattern) if file.is_file())
    return sorted(
        FileState(file.relative_to(folder).as_posix(), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
    )


def online_store(settings: Settings) -> dict[str, Any] | None:
    """Count keys and memory of the online store; none when it does not answer."""
    import redis

    try:
        client = redis.Redis.from_url(
            online_store_url(settings),
            socket_timeout=ONLINE_TIMEOUT_SECONDS,
            socket_connect_timeout=ONLINE_TIMEOUT_SECONDS,
        )
        return {"keys": int(client.dbsize()), "bytes": int(client.info("memory")["used_memory"])}  # type: ignore[arg-type, index]
    except (EndpointError, redis.RedisError):
        return None
