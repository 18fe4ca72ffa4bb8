"""Seconds of a training epoch, ours and RecTools' SASRec at the same shape, interleaved:
`python benchmarks/training_speed.py DATASET [--peer-python PYTHON] [--rounds 3] [--threads 1 2]`.

DATASET is a folder with `sequences.txt`. The peer runs in its own environment (`PYTHON -m pip install "rectools[torch]==0.19.0"` there first);
without one only ours is timed. Same training sequences (leave-one-out), 64 dims, 1 block, 1 head, length 50, batch 128, softmax over all items;
no text, so that both learn the same table. The clock starts after the data are loaded; validation is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from _report import spread, write_result

SHAPE = {"dim": 64, "length": 50, "batch": 128}

OURS = """
import sys, time, json, resource
import torch
from dataclasses import replace
from pathlib import Path
import numpy as np
from model.config import make_config
from model.data import load_folder
from model.train import train
folder, threads, shape = Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
data = load_folder(folder, protocol="leave-one-out")
data = replace(data, valid=data.valid.select(np.zeros(0, dtype=np.int64)))
sizes = {"dim": shape["dim"], "max_length": shape["length"], "batch_size": shape["batch"], "threads": threads}
config = make_config({**sizes, "text": False, "fusion": "none", "hybrid": False, "epochs": 2})
trained = train(data, config)
print(json.dumps({"seconds": [row["seconds"] for row in trained.history][1:], "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))
"""

PEER = """
import sys, time, json, resource
import pandas as pd, torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
folder, threads, shape = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(threads)
rows = []
for line in open(folder + "/sequences.txt"):
    user, *items = line.split()
    items = items[:-2] if len(items) >= 3 else items[:-1]
    rows += [(user, item, 1, step) for step, item in enumerate(items)]
frame = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime])
frame[Columns.Datetime] = pd.to_datetime(frame[Columns.Datetime], unit="s")
data = Dataset.construct(frame)
sizes = {"n_factors": shape["dim"], "session_max_len": shape["length"], "batch_size": shape["batch"]}
model = SASRecModel(**sizes, n_blocks=1, n_heads=1, loss="softmax", epochs=1, verbose=0)
begun = time.perf_counter()
model.fit(data)
print(json.dumps({"seconds": [time.perf_counter() - begun], "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))
"""


def run(python: str, code: str, folder: Path, threads: int) -> dict[str, float]:
    """One process, so that no peer inherits another's memory; seconds of an epoch after the first where there are several."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    done = subprocess.run([python, "-c", code, str(folder), str(threads), json.dumps(SHAPE)], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"training_speed: {python} failed: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    share = (after.ru_utime - before.ru_utime) / max(time.perf_counter() - begun, 1e-9)
    return {"seconds": min(found["seconds"]), "peak_mb": found["peak_mb"], "cores": share}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--peer-python", help="interpreter of an environment with rectools[torch]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    if not (arguments.dataset / "sequences.txt").is_file():
        sys.exit(f"training_speed: '{arguments.dataset}' has no sequences.txt; name a folder that has one")
    sides = [("IntentStore SASRec", sys.executable, OURS)]
    if arguments.peer_python:
        sides.append(("RecTools SASRec", arguments.peer_python, PEER))
    rows = []
    for threads in arguments.threads:
        measured: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in sides}
        for _ in range(arguments.rounds):
            for name, python, code in sides:  # interleaved: a change of load meets both
                measured[name].append(run(python, code, arguments.dataset, threads))
        for name, found in measured.items():
            rows.append(
                {
                    "side": name, "threads": threads, "seconds_an_epoch": spread([row["seconds"] for row in found]),
                    "peak_mb": max(row["peak_mb"] for row in found), "cores_used": round(sum(row["cores"] for row in found) / len(found), 2),
                }
            )  # fmt: skip
    write_result("training_speed", rows, {"dataset": arguments.dataset.name, "shape": {**SHAPE, "blocks": 1, "heads": 1}})


if __name__ == "__main__":
    main()
