"""Workers of a materialisation are killed (kill -9) in its middle: reads go on, nothing is taken for done,
the next run leaves no gap.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from feature_repo.registry import store
from feature_repo.registry.materialize import materialize
from feature_repo.stores.online.reader import NOT_FOUND, PRESENT, OnlineReader
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.keys import storage_key

ROWS = 40_000
SOME = [f"i{number}" for number in range(0, ROWS, ROWS // 200)]


@pytest.fixture
def popular(settings, spark, valkey, tmp_path):
    """A home whose item_popularity holds item i<n> with n clicks, and an empty store of its own."""
    own = type(valkey)(tmp_path)
    mine = settings.model_copy(
        update={"online": settings.online.model_copy(update={"url": SecretStr(own.url)})}
    )
    frame = spark.range(0, ROWS, 1, 2).selectExpr(
        "concat('i', id) item_id",
        "id clicks_total",
        "id clicks_1d",
        "id clicks_7d",
        "cast(id AS int) popularity_rank",
        "timestamp_micros(1700000000000000) event_timestamp",
        "timestamp_micros(1700000000000000) created",
    )
    frame.write.format("delta").save(str(mine.table("item_popularity")))
    store.apply(mine)
    yield mine, own
    own.kill()


def python_workers():
    """Process ids of this process's own Spark workers: children of a pyspark daemon that descends from
    here.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            chain, pid = [], int(entry.name)
            while pid > 1 and pid != os.getpid():
                try:
                    chain.append(b"pyspark.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes())
                    pid = int(
                        Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
                    )
                except OSError:  # it ended while we looked
                    break
            if pid == os.getpid() and chain[:2] == [True, True]:
                found.append(int(entry.name))
    return found


def read(reader):
    """How many of some items are there; each must be right."""
    columns = reader.read({"item_id": SOME})["item_popularity"]
    assert set(columns.status.tolist()) <= {NOT_FOUND, PRESENT}
    there = columns.status == PRESENT
    assert [f"i{number}" for number in columns.columns["clicks_total"][there].tolist()] == [
        item for item, ok in zip(SOME, there, strict=True) if ok
    ]
    return int(there.sum())


def test_killed_workers_leave_no_gap_and_stop_no_read(popular, spark):
    settings, own = popular
    feast_store = store.feature_store(settings)
    reader, client = OnlineReader(feast_store, "item_text_v1"), PackedClient(own.url)
    written = lambda: sum(1 for _ in client.keys(storage_key("intentstore", "item_popularity", b"*")))
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(materialize, settings, spark, views=["item_popularity"])
        while not written():
            assert not job.done(), job.result()
        # the middle lasts as long as we need it; reads pass
        client.connection.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        victims = python_workers()
        assert victims, "the rows are written by Spark's workers"
        before = read(reader)
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(Exception, match="(?i)worker|crash|EOF|killed|abort"):
            job.result(timeout=120)
    client.connection.execute_command("CLIENT", "UNPAUSE")
    half = written()
    assert 0 < half < ROWS
    assert read(reader) >= before
    online = feast_store._get_provider().online_store
    assert online.watermark(feast_store.config, feast_store.get_feature_view("item_popularity")) == {}, (
        "half a run is not taken for a whole one"
    )
    (again,) = materialize(settings, spark, views=["item_popularity"])
    assert (again.since, again.rows, again.taken) == (None, ROWS, ROWS - half)
    assert (written(), read(reader)) == (ROWS, len(SOME))
