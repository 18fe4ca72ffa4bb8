"""RecBole's sequential models on a folder with sequences.txt; runs under a Python of its own with recbole,
and knows nothing of the project.

``PYTHON benchmarks/peers/recbole_model.py SASRec|SRGNN FOLDER --threads 1 --batches 20`` times batches after
a warm-up; ``--epochs 1 --out FILE`` trains and writes predictions.jsonl. Prints one JSON line. RecBole's own
leave-one-out split (every prefix is one training row) and its defaults, with softmax over all items.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, init_seed

WARM_UP = 3  # batches
BEAUTY_LENGTH = 50


def atomic(folder: Path, users: list[tuple[str, list[str]]]) -> None:
    """Write RecBole's own file format, with the place in the sequence as time."""
    target = folder / "data"
    target.mkdir(parents=True)
    rows = [f"{user}\t{item}\t{step}" for user, items in users for step, item in enumerate(items)]
    (target / "data.inter").write_text(
        "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n", encoding="utf-8"
    )


def settings(folder: Path, given: argparse.Namespace) -> Config:
    sys.argv = sys.argv[:1]  # RecBole reads the command line itself
    values = {
        "data_path": str(folder),
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
        "train_neg_sample_args": None,
        "loss_type": "CE",
        "MAX_ITEM_LIST_LENGTH": BEAUTY_LENGTH,
        "use_gpu": False,
        "train_batch_size": given.batch,
        "state": "ERROR",
        "show_progress": False,
        "worker": 0,
    }
    return Config(model=given.model, dataset="data", config_dict=values)


def train(model: Any, loader: Any, rate: float, given: argparse.Namespace) -> list[tuple[float, float]]:
    """RecBole's training loop, with the time after every batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    ticks: list[tuple[float, float]] = []
    model.train()
    for _ in range(1 if given.batches else given.epochs):
        for interaction in loader:
            optimizer.zero_grad()
            loss = model.calculate_loss(interaction)
            loss.backward()
            optimizer.step()
            ticks.append((time.perf_counter(), time.process_time()))
            if given.batches and len(ticks) == given.batches + WARM_UP:
                return ticks
    return ticks


@torch.no_grad()
def write(path: Path, model: Any, dataset: Any, users: list[tuple[str, list[str]]]) -> None:
    """Score every user's history but the last item, seen items removed."""
    from recbole.data.interaction import Interaction

    model.eval()
    ids = dataset.field2token_id["item_id"]
    names = dataset.field2id_token["item_id"]
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, len(users), 256):
            block = users[start : start + 256]
            seen = [[ids[item] for item in items[:-1] if item in ids] for _, items in block]
            rows = torch.zeros(len(block), BEAUTY_LENGTH, dtype=torch.int64)
            for row, items in enumerate(seen):
                cut = items[-BEAUTY_LENGTH:]
                rows[row, : len(cut)] = torch.tensor(cut)
            lengths = torch.tensor([min(len(items), BEAUTY_LENGTH) for items in seen])
            scores = model.full_sort_predict(Interaction({model.ITEM_SEQ: rows, model.ITEM_SEQ_LEN: lengths}))
            for row, items in enumerate(seen):
                scores[row, [0, *items]] = float("-inf")
            best = scores.topk(20).indices.tolist()
            for (user, items), top in zip(block, best, strict=True):
                file.write(
                    json.dumps(
                        {
                            "case": f"{user}:{len(items) - 1}",
                            "target": items[-1],
                            "items": [str(names[place]) for place in top],
                        }
                    )
                    + "\n"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=("SASRec", "SRGNN"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=2048, help="rows (prefixes); 2048 is RecBole's default")
    parser.add_argument("--batches", type=int, help="time so many batches and stop")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    lines = (given.folder / "sequences.txt").read_text(encoding="utf-8").splitlines()
    users = [(user, items) for user, *items in map(str.split, lines) if len(items) >= 3]
    with tempfile.TemporaryDirectory() as scratch:
        atomic(Path(scratch), users)
        config = settings(Path(scratch), given)
        init_seed(config["seed"], True)
        dataset = create_dataset(config)
        loader = data_preparation(config, dataset)[0]
    torch.set_num_threads(given.threads)
    model = get_model(given.model)(config, loader.dataset)
    begun = time.perf_counter()
    ticks = train(model, loader, config["learning_rate"], given)
    if given.out is not None:
        write(given.out, model, dataset, users)
    first, last, timed = ticks[WARM_UP - 1], ticks[-1], len(ticks) - WARM_UP
    said = {
        "batches_an_epoch": len(loader),
        "timed_batches": timed,
        "seconds_an_epoch": (last[0] - first[0]) / timed * len(loader),
    }
    said |= {
        "cpu_seconds_an_epoch": (last[1] - first[1]) / timed * len(loader),
        "fit_seconds": time.perf_counter() - begun,
    }
    print(json.dumps({**said, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))


if __name__ == "__main__":
    main()
