"""Feast's own universal tests, run on our two stores: a list of what passed, what failed, and what was not
run and why.

    python benchmarks/feast_universal.py --tree CHECKOUT [--extras FOLDER] [--part offline|online|types|all]
    [--match EXPRESSION]

CHECKOUT is a checkout of the Feast repository (its tests are not in the wheel); of it only `sdk/python/tests`
is used, beside the Feast that is installed here. FOLDER holds what the suite needs beyond this environment:
`uv pip install --no-deps --target FOLDER assertpy pytest-asyncio cryptography cffi pycparser`. Each part
updates its own tests in benchmarks/results/feast_universal.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from _report import RESULTS, write_result

HERE = Path(__file__).resolve().parent
PARTS = {
    "offline": [
        "offline_store/test_universal_historical_retrieval.py",
        "offline_store/test_universal_materialization.py",
        "offline_store/test_persist.py",
        "offline_store/test_offline_write.py",
        "offline_store/test_push_features_to_offline_store.py",
        "offline_store/test_feature_logging.py",
        "offline_store/test_non_entity_mode.py",
        "offline_store/test_dqm_validation.py",
        "offline_store/test_s3_custom_endpoint.py",
    ],
    "online": [
        "online_store/test_universal_online.py",
        "online_store/test_universal_e2e.py",
        "online_store/test_push_features_to_online_store.py",
        "online_store/test_universal_online_types.py",
        "online_store/test_redis_versioning.py",
        "materialization/test_universal_materialization.py",
    ],
    "types": ["offline_store/test_universal_types.py"],
}
INI = "[pytest]\nasyncio_mode = auto\ntimeout = 1800\nfilterwarnings =\n    ignore\n"


def run_part(
    tree: Path, extras: Path | None, files: Sequence[str], match: str | None, url: str, minutes: float
) -> list[dict[str, Any]]:
    """Run some of the suite's files in a process of their own, for so many minutes at the most, and return
    one record a test.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tests").symlink_to((tree / "sdk" / "python" / "tests").resolve())
        (folder / "pytest.ini").write_text(INI, encoding="utf-8")
        records = folder / "records.json"
        path = [str(folder), str(HERE), str(HERE.parent), *([str(extras)] if extras else [])]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "FEAST_IS_LOCAL_TEST": "True",
            "IS_TEST": "True",
            "FULL_REPO_CONFIGS_MODULE": "_feast_universal",
            "FEAST_UNIVERSAL_RECORDS": str(records),
            "FEAST_UNIVERSAL_URL": url,
            "FEAST_USAGE": "False",
        }
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "_feast_universal",
            "-p",
            "pytest_asyncio",
            "-p",
            "no:cacheprovider",
            "--integration",
            "--tb=short",
            "-q",
            *(["-k", match] if match else []),
            *(f"tests/integration/{file}" for file in files),
        ]
        with subprocess.Popen(command, cwd=folder, env=environment) as process:
            try:
                process.wait(minutes * 60)
            except subprocess.TimeoutExpired:
                process.kill()  # what ran so far is on record
        if process.returncode not in (0, 1, -9):
            raise RuntimeError(
                f"pytest ended with {process.returncode} on {files}; the suite in {tree} could not be "
                "collected (see above)"
            )
        found: list[dict[str, Any]] = json.loads(records.read_text(encoding="utf-8"))
        return found


def by_function(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sum the cases of each test function: how many passed, failed and were not run, and why not."""
    rows: dict[str, dict[str, Any]] = {}
    for record in records:
        row = rows.setdefault(
            record["test"], {"test": record["test"], "passed": 0, "failed": 0, "not_run": 0, "why": ""}
        )
        row[record["outcome"]] += 1
        row["why"] = row["why"] or record["why"]
    return sorted(rows.values(), key=lambda row: str(row["test"]))


def merged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put this run's rows over those of earlier parts."""
    file = RESULTS / "feast_universal.json"
    earlier = json.loads(file.read_text(encoding="utf-8"))["rows"] if file.exists() else []
    by_name = {row["test"]: row for row in [*earlier, *rows]}
    return [by_name[name] for name in sorted(by_name)]


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--tree", type=Path, required=True, help="checkout of the Feast repository")
    arguments.add_argument("--extras", type=Path, help="folder with assertpy and pytest-asyncio")
    arguments.add_argument("--part", choices=[*PARTS, "all"], default="all")
    arguments.add_argument("--match", help="pytest's -k; the result is then shown, not written")
    arguments.add_argument(
        "--minutes", type=float, default=60.0, help="after so long the run is cut short; what ran counts"
    )
    chosen = arguments.parse_args()
    from online import start_valkey

    files = [file for part, listed in PARTS.items() if chosen.part in (part, "all") for file in listed]
    with tempfile.TemporaryDirectory() as folder:
        server, port = start_valkey(folder)
        try:
            rows = by_function(
                run_part(
                    chosen.tree,
                    chosen.extras,
                    files,
                    chosen.match,
                    f"redis://127.0.0.1:{port}/0",
                    chosen.minutes,
                )
            )
        finally:
            server.terminate()
            server.wait()
    if chosen.match:
        print(json.dumps(rows, indent=1))
    else:
        write_result(
            "feast_universal",
            merged(rows),
            {"suite": "sdk/python/tests/integration of the Feast repository", "tree": _commit(chosen.tree)},
        )
    return 1 if any(row["failed"] for row in rows) else 0


def _commit(tree: Path) -> str:
    marker = tree / "COMMIT"  # for trees that were unpacked rather than checked out
    if marker.exists():
        return marker.read_text(encoding="utf-8").strip()
    asked = subprocess.run(
        ["git", "log", "-1", "--format=%h %ad", "--date=short"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
