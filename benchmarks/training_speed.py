"""Seconds of a training epoch, ours beside RecTools' and RecBole's, interleaved:
`python benchmarks/training_speed.py [DATASET] [--peer-python PYTHON] [--rounds 2] [--threads 1 2]`.

DATASET is a folder with `sequences.txt`; without one ML-100K is taken, a user a sequence. The peers run in an
environment of their own (`PYTHON -m pip install "rectools[torch]==0.19.0" recbole==1.2.1`); without one only
ours is timed. RecTools has our shape: 64 dims, 1 block, 1 head, length 50, batch 128, softmax over all items,
no text. RecBole has its defaults. Same training sequences (leave-one-out). A peer's epoch takes minutes, so
some of its batches are timed after a warm-up and scaled to the epoch; ours is a whole epoch after a first
one. Loading and validation are left out. Rows of other data and thread counts in the results file are kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from _report import RESULTS, spread, write_result
from feature_repo.contract.settings import load_settings

SHAPE = {"dim": 64, "length": 50, "batch": 128}
PEERS = Path(__file__).parent / "peers"
RECTOOLS_BATCHES, RECBOLE_BATCHES = 12, 4  # 128 sequences, and 2,048 prefixes each

OURS = """
import sys, json, resource, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from model.config import make_config
from model.data.folder import load_folder
from model.recommender.train import train
folder, threads, shape = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
data = load_folder(folder, protocol="leave-one-out")
data = replace(data, valid=data.valid.select(np.zeros(0, dtype=np.int64)))
sizes = {"dim": shape["dim"], "max_length": shape["length"], "batch_size": shape["batch"], "threads": threads}
used = []
config = make_config({**sizes, "text": False, "fusion": "none", "hybrid": False, "epochs": 2})
trained = train(data, config, progress=lambda step: used.append(time.process_time()) if step.record else None)
said = {"seconds_an_epoch": trained.history[1]["seconds"], "cpu_seconds_an_epoch": used[1] - used[0]}
print(json.dumps({**said, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))
"""


def ml_100k(folder: Path) -> Path:
    """Write ML-100K, which the assets fetch, as sequences in order of time."""
    settings = load_settings(None, os.environ)
    lines = (settings.assets_dir / "ml-100k" / "ml-100k.inter").read_text(encoding="utf-8").splitlines()[1:]
    clicks = sorted((user, float(moment), item) for user, item, _, moment in map(str.split, lines))
    sequences: dict[str, list[str]] = {}
    for user, _, item in clicks:
        sequences.setdefault(user, []).append(item)
    folder.mkdir()
    (folder / "sequences.txt").write_text(
        "".join(f"{user} {' '.join(items)}\n" for user, items in sequences.items()), encoding="utf-8"
    )
    return folder


def run(command: list[str], threads: int) -> dict[str, float]:
    """One process, so that no side inherits another's memory; what it printed last."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(
            f"training_speed: {' '.join(command[:3])[:200]} failed: {done.stderr.strip().splitlines()[-1]}"
        )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def commands(folder: Path, peer: str | None, threads: int) -> dict[str, list[str]]:
    """Side to the command that times it."""
    found = {"IntentStore SASRec": [sys.executable, "-c", OURS, str(folder), str(threads), json.dumps(SHAPE)]}
    if peer:
        common = ["--threads", str(threads), "--batches"]
        shape = [text for name, value in SHAPE.items() for text in (f"--{name}", str(value))]
        found["RecTools SASRec"] = [
            peer,
            str(PEERS / "rectools_sasrec.py"),
            str(folder),
            *common,
            str(RECTOOLS_BATCHES),
            *shape,
        ]
        for model in ("SASRec", "SRGNN"):
            found[f"RecBole {model}, its defaults"] = [
                peer,
                str(PEERS / "recbole_model.py"),
                model,
                str(folder),
                *common,
                str(RECBOLE_BATCHES),
            ]
    return found


def measure(folder: Path, peer: str | None, threads: int, rounds: int) -> list[dict[str, Any]]:
    """Rows of one thread count."""
    measured: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        # interleaved: a change of load meets all
        for name, command in commands(folder, peer, threads).items():
            measured.setdefault(name, []).append(run(command, threads))
    rows, ours = [], min(one["seconds_an_epoch"] for one in measured["IntentStore SASRec"])
    for name, found in measured.items():
        seconds = [one["seconds_an_epoch"] for one in found]
        rows.append(
            {
                "side": name,
                "threads": threads,
                "seconds_an_epoch": spread(seconds),
                "cpu_seconds_an_epoch": spread([one["cpu_seconds_an_epoch"] for one in found]),
                "times_ours": round(min(seconds) / ours, 1),
                "peak_mb": round(max(one["peak_mb"] for one in found)),
                "rounds": rounds,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument(
        "--peer-python", help="interpreter of an environment with rectools[torch] and recbole"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.dataset or ml_100k(Path(scratch) / "ml-100k")
        if not (folder / "sequences.txt").is_file():
            sys.exit(f"training_speed: '{folder}' has no sequences.txt; name a folder that has one")
        rows = [
            row
            for threads in given.threads
            for row in measure(folder, given.peer_python, threads, given.rounds)
        ]
    rows = [{"dataset": folder.name, **row} for row in rows]
    before = RESULTS / "training_speed.json"
    kept = json.loads(before.read_text(encoding="utf-8"))["rows"] if before.is_file() else []
    rows = [
        row
        for row in kept
        if (row.get("dataset"), row["threads"]) not in {(folder.name, threads) for threads in given.threads}
    ] + rows
    write_result("training_speed", rows, {"shape": {**SHAPE, "blocks": 1, "heads": 1}})


if __name__ == "__main__":
    main()
