"""A worker thread that answers asyncio callers in batches. Knows nothing of what the jobs are."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from streaming.http.wire.errors import ApiError

log = logging.getLogger("intentstore.http")
Job = TypeVar("Job")
Result = TypeVar("Result")


class Batcher(Generic[Job, Result]):
    """Collect what arrives while the worker is busy and process it together.

    Nothing waits for a batch to fill: a lone job starts at once, and under load batches grow by themselves,
    which shares the round trip to the online store and the model's fixed cost.

    Parameters
    ----------
    process : callable
        From a list of jobs to a list of results of the same length, each a value or an exception; runs on the
        worker thread only, so that what it uses (connections, model) needs no lock.
    name : str
        Of the thread.
    most : int
        Largest batch.
    waiting : int
        Jobs under way from which new ones are refused.
    on_batch : callable, optional
        Called with the size of each batch.
    """

    def __init__(
        self,
        process: Callable[[list[Job]], Sequence[Result | Exception]],
        name: str,
        most: int = 64,
        waiting: int = 500,
        on_batch: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._process, self._most, self._waiting, self._on_batch = process, most, waiting, on_batch
        self._queue: SimpleQueue[tuple[Job, asyncio.Future[Result]] | None] = SimpleQueue()
        self._under_way = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the worker; must be called on the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit(self, job: Job) -> Result:
        """Have one job done.

        Raises
        ------
        ApiError
            503 when too many jobs wait already.
        Exception
            What the job itself failed with.
        """
        if self._under_way >= self._waiting:
            raise ApiError(
                503,
                "overloaded",
                f"{self._under_way} requests are waiting; ask again in a second",
                {"retry-after": "1"},
            )
        if self._loop is None:
            raise RuntimeError(f"{self._thread.name}: start() must come before submit()")
        self._under_way += 1
        try:
            future: asyncio.Future[Result] = self._loop.create_future()
            self._queue.put((job, future))
            return await future
        finally:
            self._under_way -= 1

    def close(self, timeout: float = 5.0) -> None:
        """End the worker after the jobs it holds."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while len(batch) < self._most:
                try:
                    more = self._queue.get_nowait()
                except Empty:
                    break
                if more is None:
                    last = True
                    break
                batch.append(more)
            results = self._results([job for job, _ in batch])
            if self._loop is None or self._loop.is_closed():
                return
            self._loop.call_soon_threadsafe(_finish, [future for _, future in batch], results)
            if last:
                return

    def _results(self, jobs: list[Job]) -> Sequence[Result | Exception]:
        """Process a batch; when it fails as a whole, each job alone, so that one bad job fails no other."""
        self._on_batch(len(jobs))
        try:
            return self._process(jobs)
        except Exception as error:  # noqa: BLE001 - handed to the caller of each job, who logs it
            if len(jobs) == 1:
                return [error]
            log.warning(
                "a batch of %d failed (%s: %s); its jobs are tried one by one",
                len(jobs),
                type(error).__name__,
                error,
            )
            return [self._results([job])[0] for job in jobs]


def _finish(futures: list[asyncio.Future[Result]], results: Sequence[Result | Exception]) -> None:
    for future, result in zip(futures, results, strict=True):
        if future.done():  # the client left
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
