"""Machine code is kept between processes; whatever is wrong with it costs a line, and no answer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model.kernels.store import PLACE, keep_under

# a small kernel that calls another one: each of these processes may have to compile it
CODE = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
import numpy as np
from model.kernels.cosines import exponentials
row = np.zeros(2, np.float32)
exponentials(row, np.float32(1), np.float32(0))
print(row.tolist())
print(sum(exponentials.stats.cache_hits.values()))
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE],
        env={**os.environ, PLACE: str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Kernels that were not compiled, and the log."""
    out, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    answer, hits = out.splitlines()
    assert answer == "[1.0, 1.0]"
    return int(hits), log


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.suffix in {".nbi", ".nbc"}]


def test_kept_used_again_damaged_and_made_whole(tmp_path: Path) -> None:
    hits, log = ended(start(tmp_path))
    assert hits == 0
    assert "kernels are compiled" in log
    hits, log = ended(start(tmp_path))
    assert hits == 1
    assert not log
    for place, file in enumerate(files(tmp_path)):
        file.write_bytes((b"", b"rubbish", file.read_bytes()[:40])[place % 3])
    hits, log = ended(start(tmp_path))
    assert hits == 0
    assert "compiled" in log
    assert ended(start(tmp_path)) == (1, "")


def test_many_that_start_at_once_keep_one_whole_set(tmp_path: Path) -> None:
    for process in [start(tmp_path) for _ in range(3)]:
        ended(process)
    assert ended(start(tmp_path)) == (1, "")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    _, log = ended(start(tmp_path / "file" / "kernels"))
    assert f"cannot be kept in '{tmp_path / 'file' / 'kernels'}'" in log


def test_a_folder_that_goes_away_is_made_again(tmp_path: Path) -> None:
    ended(start(tmp_path / "kernels"))
    shutil.rmtree(tmp_path / "kernels")
    ended(start(tmp_path / "kernels"))
    assert files(tmp_path / "kernels")


def test_the_folder_is_of_this_version_and_an_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PLACE, raising=False)
    assert keep_under(tmp_path).parent == tmp_path / "kernels"
    assert os.environ[PLACE] == str(keep_under(Path("elsewhere")))
    monkeypatch.delenv(PLACE)
