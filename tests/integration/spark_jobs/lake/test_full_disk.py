"""A lake on a disk that fills while a table is written; collected only where a small file system may be
mounted (see conftest).
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spark_jobs.ingest import job as ingest
from spark_jobs.job import JobError
from spark_jobs.lake.lake import Lake


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "intentstore-test", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write_clicks(folder: Path, sessions: int) -> None:
    folder.mkdir(exist_ok=True)
    with (folder / "clicks.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["session_id", "item_id", "event_time"])
        for one in range(sessions):
            out.writerows(
                [f"session-{one}", f"item-{one * 7919 % 5003}-{click}", 1_700_000_000 + one * 60 + click]
                for click in range(5)
            )


def test_full_disk_is_one_line_and_the_table_stays_whole(spark, settings, small_disk, tmp_path):
    dataset = settings.dataset.model_copy(update={"path": tmp_path / "shop", "live_share": 0.0})
    settings = settings.model_copy(update={"home": small_disk, "dataset": dataset})
    write_clicks(tmp_path / "shop", 20)
    before = ingest.run(Lake(spark, settings))
    write_clicks(tmp_path / "shop", 20_000)
    with pytest.raises(JobError) as told:
        ingest.run(Lake(spark, settings))
    line = str(told.value)
    assert "disk full" in line and str(small_disk) in line and "\n" not in line
    assert Lake(spark, settings).version("clicks") == before.delta_version
    assert Lake(spark, settings).read("clicks").count() == 100
