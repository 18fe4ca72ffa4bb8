"""The worker that batches: what comes together is done together, and one bad job fails alone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streaming.http.batcher import Batcher
from streaming.http.wire.errors import ApiError


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario(), 20))


def test_jobs_that_wait_are_done_in_one_batch():
    entered, release, sizes = threading.Event(), threading.Event(), []

    def process(jobs):
        sizes.append(len(jobs))
        entered.set()
        release.wait(10)
        return [job * 2 for job in jobs]

    async def scenario():
        batcher = Batcher(process, "test")
        batcher.start()
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.to_thread(entered.wait, 10)
        others = [asyncio.create_task(batcher.submit(job)) for job in (2, 3, 4)]
        await asyncio.sleep(0)
        release.set()
        results = await asyncio.gather(first, *others)
        batcher.close()
        return results

    assert run(scenario) == [2, 4, 6, 8]
    assert sizes == [1, 3]


def test_a_bad_job_fails_alone():
    def process(jobs):
        if "bad" in jobs:
            raise ValueError("no such job")
        return [job.upper() for job in jobs]

    async def scenario():
        batcher = Batcher(process, "test")
        batcher._loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(batcher.submit(job)) for job in ("a", "bad", "c")]
        await asyncio.sleep(0)  # all three wait before the worker starts
        batcher.start()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        batcher.close()
        return results

    first, second, third = run(scenario)
    assert (first, third) == ("A", "C")
    assert isinstance(second, ValueError)


def test_too_many_waiting_jobs_are_refused_with_a_remedy():
    release = threading.Event()

    def process(jobs):
        release.wait(10)
        return jobs

    async def scenario():
        batcher = Batcher(process, "test", waiting=1)
        batcher.start()
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="ask again") as refused:
            await batcher.submit(2)
        release.set()
        assert await first == 1
        assert await batcher.submit(3) == 3
        batcher.close()
        return refused.value.status_code

    assert run(scenario) == 503


def test_a_client_that_left_disturbs_nobody():
    entered, release = threading.Event(), threading.Event()

    def process(jobs):
        entered.set()
        release.wait(10)
        return jobs

    async def scenario():
        batcher = Batcher(process, "test")
        batcher.start()
        gone = asyncio.create_task(batcher.submit(1))
        await asyncio.to_thread(entered.wait, 10)
        gone.cancel()
        release.set()
        result = await batcher.submit(2)
        batcher.close()
        return result

    assert run(scenario) == 2
