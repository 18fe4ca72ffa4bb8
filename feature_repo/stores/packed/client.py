"""Valkey or redis, single or cluster, behind the few calls our online store makes. Knows keys and bytes, not
features.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from importlib.resources import files
from typing import Any

import redis
from redis import asyncio as redis_async
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from feature_repo.contract.addresses import AddressError
from feature_repo.contract.kinds import redis_address
from feature_repo.stores.packed.refusals import OPTIONS, OnlineStoreError, refusal, unusable

ROWS_PER_CALL = 64  # one script call blocks the server for well under a millisecond at this size
CALLS_PER_PIPELINE = 32  # about 3 MB of 1.5 kB rows in flight
TIMEOUT_SECONDS = 5.0
# the second is none of the first in redis-py
_ERRORS = (redis.RedisError, redis.exceptions.RedisClusterException)

__all__ = ["AsyncPackedClient", "OnlineStoreError", "PackedClient"]


class PackedClient:
    """Reads and writes packed rows by key.

    Parameters
    ----------
    url : str
        ``redis://[user:password@]host:port[/db]`` (``rediss://`` for TLS).
    cluster : bool
        Whether the address is a node of a cluster; then every call names one key, else keys are sent
        together.
    """

    def __init__(self, url: str, cluster: bool = False) -> None:
        self.url, self.cluster = url, cluster
        self.script = (
            files("feature_repo.stores.packed").joinpath("newer_wins.lua").read_text(encoding="utf-8")
        )

    @cached_property
    def connection(self) -> Any:
        """The redis-py client, made on first use; safe to share between threads."""
        options: dict[str, Any] = {
            "socket_timeout": TIMEOUT_SECONDS,
            "socket_connect_timeout": TIMEOUT_SECONDS,
        }
        # every call may be repeated: the script decides by content
        retry = Retry(ExponentialBackoff(cap=0.2, base=0.02), 2)
        self.refuse_address()
        with self._clear_errors():
            if self.cluster:
                return redis.RedisCluster.from_url(self.url, **options)
            return redis.Redis.from_url(self.url, retry=retry, **options)

    def refuse_address(self) -> None:
        """Look at the address before redis-py does, whose own errors would quote it.

        Raises
        ------
        OnlineStoreError
            No client can be made of it.
        """
        reason = ""
        try:
            redis_address(self.url)
            pool = redis.ConnectionPool.from_url(self.url)
            pool.connection_class(**pool.connection_kwargs)  # connects to nothing, and knows every option
        except AddressError as error:
            reason = str(error)
        except (TypeError, ValueError, redis.RedisError):
            reason = f"an option after '?' is unknown or has a wrong value; usual ones are {OPTIONS}"
        if reason:
            raise unusable(self.url, reason)

    @cached_property
    def _compare_and_set(self) -> Any:
        return self.connection.register_script(self.script)

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Fetch values in one round trip; missing ones are ``None``.

        Raises
        ------
        OnlineStoreError
            Unreachable or refusing server.
        """
        if not keys:
            return []
        with self._clear_errors():
            if not self.cluster:
                return list(self.connection.mget(keys))
            pipeline = self.connection.pipeline(transaction=False)
            for key in keys:
                pipeline.get(key)
            return list(pipeline.execute())

    def write(self, rows: Sequence[tuple[bytes, bytes]], keep_ms: int = 0) -> int:
        """Send packed rows; the server keeps the newer one of each key.

        Parameters
        ----------
        rows : sequence of (key, packed value)
        keep_ms : int
            Milliseconds a row outlives its event time, or its writing if that is later, in the server; 0 =
            for ever.

        Returns
        -------
        int
            Rows that were taken; the others were older than, or equal to, what was there.

        Raises
        ------
        OnlineStoreError
            Unreachable or refusing server; part of the rows may be written, and writing all again is safe.
        """
        taken, per_call = 0, 1 if self.cluster else ROWS_PER_CALL
        calls = [rows[start : start + per_call] for start in range(0, len(rows), per_call)]
        with self._clear_errors():
            for start in range(0, len(calls), CALLS_PER_PIPELINE):
                taken += self._send(calls[start : start + CALLS_PER_PIPELINE], keep_ms)
        return taken

    def _send(self, calls: Sequence[Sequence[tuple[bytes, bytes]]], keep_ms: int) -> int:
        if len(calls) == 1 and not self.cluster:
            keys, values = zip(*calls[0], strict=True)
            return int(self._compare_and_set(keys=keys, args=[keep_ms, *values]))
        pipeline = self.connection.pipeline(transaction=False)
        for call in calls:
            keys, values = zip(*call, strict=True)
            if self.cluster:
                # redis-py offers a cluster no eval in a pipeline
                pipeline.execute_command("EVAL", self.script, len(keys), *keys, keep_ms, *values)
            else:
                self._compare_and_set(keys=keys, args=[keep_ms, *values], client=pipeline)
        return sum(int(count) for count in pipeline.execute())

    def keys(self, pattern: bytes) -> Iterator[bytes]:
        """Walk all keys of a pattern; new keys may be missed, none is blocked meanwhile."""
        with self._clear_errors():
            yield from self.connection.scan_iter(match=pattern, count=1000)

    def delete(self, pattern: bytes) -> int:
        """Remove every key of a pattern and return how many there were."""
        removed, batch = 0, []
        for key in self.keys(pattern):
            batch.append(key)
            if len(batch) == 1000:
                removed, batch = removed + self._unlink(batch), []
        return removed + self._unlink(batch)

    def _unlink(self, keys: list[bytes]) -> int:
        if not keys:
            return 0
        with self._clear_errors():
            pipeline = self.connection.pipeline(transaction=False)
            for key in keys:
                pipeline.unlink(key)
            return sum(pipeline.execute())

    def get(self, key: bytes) -> bytes | None:
        """Fetch one plain value, such as a watermark."""
        with self._clear_errors():
            value: bytes | None = self.connection.get(key)
            return value

    def put(self, key: bytes, value: bytes) -> None:
        """Store one plain value, such as a watermark."""
        with self._clear_errors():
            self.connection.set(key, value)

    def close(self) -> None:
        """Return the connections."""
        if "connection" in self.__dict__:
            self.connection.close()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except _ERRORS as error:
            raise refusal(self.url, type(error).__name__, str(error)) from None


class AsyncPackedClient:
    """The same rows over an asyncio connection, for `feast serve`."""

    def __init__(self, url: str, cluster: bool = False) -> None:
        self._sync = PackedClient(url, cluster)
        self.url, self.cluster = url, cluster

    @cached_property
    def connection(self) -> Any:
        """The asyncio redis-py client; belongs to one event loop."""
        self._sync.refuse_address()
        kind: Any = redis_async.RedisCluster if self.cluster else redis_async.Redis
        return kind.from_url(self.url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS)

    async def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Fetch values in one round trip; see `PackedClient.read`."""
        if not keys:
            return []
        async with self._clear_errors():
            if not self.cluster:
                return list(await self.connection.mget(keys))
            pipeline = self.connection.pipeline()
            for key in keys:
                pipeline.get(key)
            return list(await pipeline.execute())

    async def write(self, rows: Sequence[tuple[bytes, bytes]], keep_ms: int = 0) -> int:
        """Send packed rows; see `PackedClient.write`."""
        taken, per_call = 0, 1 if self.cluster else ROWS_PER_CALL
        async with self._clear_errors():
            for start in range(0, len(rows), per_call):
                keys, values = zip(*rows[start : start + per_call], strict=True)
                taken += int(
                    await self.connection.eval(self._sync.script, len(keys), *keys, keep_ms, *values)
                )
        return taken

    async def close(self) -> None:
        """Return the connections."""
        if "connection" in self.__dict__:
            await self.connection.aclose()

    @asynccontextmanager
    async def _clear_errors(self) -> AsyncIterator[None]:
        try:
            yield
        except _ERRORS as error:
            raise refusal(self.url, type(error).__name__, str(error)) from None
