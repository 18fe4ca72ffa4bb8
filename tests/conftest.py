"""Heavy fixtures, started once per run: the fetched assets, one Spark session, one broker with one valkey."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# before Feast, whose import turns on files shared by all registries of a process
import prometheus_client  # noqa: F401
import pytest

from model.kernels.store import keep_under

ROOT = Path(__file__).parent.parent
keep_under(ROOT / ".intentstore")  # compiled once for all tests and the processes they start, not once a home
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Importing an optimiser imports triton where it is installed; on a CPU it is of no use, and it reports leaks
# behind pytest's summary.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
os.environ.setdefault("OMP_NUM_THREADS", "1")


@functools.cache
def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        try:
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1m", "intentstore-probe", folder],
                check=False,
                capture_output=True,
            )
        except FileNotFoundError:
            return False
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out tests of a full disk where a small file system may not be mounted."""
    return True if collection_path.name == "test_full_disk.py" and not _may_mount() else None


# Fixtures too dear to start in each of the two processes of a run. Tests are dealt out in this order, then
# file by file, those with services of their own before the rest: what takes minutes must not begin when the
# other process is already done.
_SHARED = ("demo", "spark", "side", "services")
_DEALT = ("spark", "demo", "side", "services")


@pytest.hookimpl(wrapper=True)  # before xdist's own, which reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Keep tests together that share a fixture of the session, else those of a file, so that each is started
    once; long ones first.
    """
    turns = {}
    for item in items:
        names = getattr(item, "fixturenames", ())
        group = next((name for name in _SHARED if name in names), str(item.path))
        item.add_marker(pytest.mark.xdist_group(group))
        turns[item] = (
            _DEALT.index(group) if group in _DEALT else len(_DEALT) + ("integration" not in item.path.parts)
        )
    items.sort(key=turns.__getitem__)
    yield


@pytest.fixture(scope="session")
def assets_dir() -> Path:
    """Folder of the fetched weights, ML-100K and jars (`make test` fetches them first)."""
    from feature_repo.contract.assets import fetch as assets

    folder = Path(os.environ.get("INTENTSTORE_ASSETS", ROOT / ".intentstore" / "assets")).absolute()
    assets.ensure_all(folder)
    return folder


@pytest.fixture(scope="session")
def base_settings(tmp_path_factory: pytest.TempPathFactory, assets_dir: Path) -> Any:
    """Settings with a home of this test run and two-core Spark."""
    from feature_repo.contract.settings import load_settings

    home = tmp_path_factory.mktemp("home")
    quick = {
        "spark.driver_memory": "2g",
        "spark.shuffle_partitions": 2,
        "spark.java_options": "-XX:TieredStopAtLevel=1",
    }
    return load_settings(Path(os.devnull), {}, {"home": str(home), "assets": str(assets_dir), **quick})


@pytest.fixture
def settings(base_settings: Any, tmp_path: Path) -> Any:
    """Settings with a home of this one test; Spark, broker and valkey are still shared."""
    return base_settings.model_copy(update={"home": tmp_path / "home"})


@pytest.fixture(scope="session")
def spark(base_settings: Any) -> Iterator[Any]:
    """The one Spark session of the run."""
    from spark_jobs.session import spark_session

    session = spark_session(base_settings, app="intentstore-tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def services(base_settings: Any) -> Iterator[Any]:
    """The embedded broker and valkey: `.bootstrap_servers`, `.online_store_url`, `.pids`."""
    from streaming.services import services as broker

    running = broker.up(base_settings)
    yield running
    broker.down(base_settings)
