"""The wheel, and environments of single extras: what runs without torch, pyspark, feast or dagster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).with_name("uv")


def _uv(*words: str) -> None:
    subprocess.run([UV, *words], check=True, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `uv build` makes it, out of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    _uv("build", "-q", "--no-build-isolation", "--python", sys.executable, "-o", str(folder), str(ROOT))
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def live_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what requirements-live.lock names, and the wheel."""
    return _environment("live", wheel, tmp_path_factory.mktemp("live"))


@pytest.fixture(scope="session")
def features_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with what requirements-features.lock names, and the wheel."""
    return _environment("features", wheel, tmp_path_factory.mktemp("features"))


def _environment(extra: str, wheel: Path, folder: Path) -> Path:
    python = folder / "bin" / "python"
    _uv("venv", "-q", "--python", sys.executable, str(folder))
    lock = str(ROOT / f"requirements-{extra}.lock")
    _uv("pip", "install", "-q", "--python", str(python), "--require-hashes", "-r", lock)
    _uv("pip", "install", "-q", "--python", str(python), "--no-deps", str(wheel))
    return folder
