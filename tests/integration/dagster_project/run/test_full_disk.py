"""A home on a disk that fills in the middle of a run; collected only where a small file system may be mounted
(see conftest).
"""

from __future__ import annotations

import subprocess

import pytest

from spark_jobs.lake.log import DeltaLog


@pytest.fixture
def small_disk(settings):
    settings.home.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "intentstore-test", str(settings.home)], check=True
    )
    yield settings.home
    subprocess.run(["umount", "-l", str(settings.home)], check=True)


def test_full_disk_stops_at_the_table_that_did_not_fit(small_disk, graph):
    rows = "\n".join(
        f"session-{number},item-{number * 7919 % 5003},2026-01-01T10:00:{number % 60:02d}.{number:06d}"
        for number in range(60_000)
    )
    (graph.shop / "clicks.csv").write_text(f"session_id,item_id,event_time\n{rows}\n", encoding="utf-8")
    good, text, made = graph("clicks", "items", "quarantine", "sessions", "candidate_model")
    assert not good and made == set()
    assert text.startswith("ingest: ") and "disk full" in text and "free some space" in text
    assert DeltaLog(graph.settings.table("sessions")).version() < 0
