"""RecTools' SASRec on a folder with sequences.txt; runs under a Python of its own with rectools[torch], and
knows nothing of the project.

``PYTHON benchmarks/peers/rectools_sasrec.py FOLDER --threads 1 --batches 20`` times batches after a warm-up;
``--epochs 2 --out FILE`` trains and writes predictions.jsonl. Prints one JSON line.
Leave-one-out: the last item of a user is the target, the one before is for validation and not trained on; all
but the target are read as history.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import time
import warnings
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

WARM_UP = 3  # batches


class Clock(Callback):
    """Wall-clock and processor seconds at the end of every batch; of the class, because the model works on a
    copy of its trainer.
    """

    ticks: ClassVar[list[tuple[float, float]]] = []
    batches: ClassVar[int] = 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        Clock.ticks.append((time.perf_counter(), time.process_time()))
        Clock.batches = len(trainer.train_dataloader)


def frame(users: list[tuple[str, list[str]]], left_out: int) -> pd.DataFrame:
    """Interactions without the last ``left_out`` of every user."""
    rows = [
        (user, item, 1, step)
        for user, items in users
        for step, item in enumerate(items[: len(items) - left_out])
    ]
    found = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime])
    found[Columns.Datetime] = pd.to_datetime(found[Columns.Datetime], unit="s")
    return found


def write(path: Path, model: SASRecModel, users: list[tuple[str, list[str]]]) -> None:
    history = Dataset.construct(frame(users, 1))
    found = model.recommend(
        [user for user, _ in users], history, k=20, filter_viewed=True, on_unsupported_targets="ignore"
    )
    lists = found.sort_values(Columns.Rank).groupby(Columns.User)[Columns.Item].apply(list)
    with path.open("w", encoding="utf-8") as file:
        for user, items in users:
            file.write(
                json.dumps(
                    {"case": f"{user}:{len(items) - 1}", "target": items[-1], "items": lists.get(user, [])}
                )
                + "\n"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--batches", type=int, help="time so many batches and stop")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(given.threads)
    lines = (given.folder / "sequences.txt").read_text(encoding="utf-8").splitlines()
    users = [(user, items) for user, *items in map(str.split, lines) if len(items) >= 3]
    clock = Clock()

    def trainer() -> Trainer:
        limit = {} if given.batches is None else {"limit_train_batches": given.batches + WARM_UP}
        return Trainer(
            max_epochs=1 if given.batches else given.epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[clock],
            **limit,
        )

    model = SASRecModel(
        n_factors=given.dim,
        session_max_len=given.length,
        batch_size=given.batch,
        n_blocks=1,
        n_heads=1,
        loss="softmax",
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    begun = time.perf_counter()
    model.fit(Dataset.construct(frame(users, 2)))
    first, last = clock.ticks[WARM_UP - 1], clock.ticks[-1]
    each = (last[0] - first[0]) / (len(clock.ticks) - WARM_UP)
    if given.out is not None:
        write(given.out, model, users)
    said = {
        "batches_an_epoch": clock.batches,
        "timed_batches": len(clock.ticks) - WARM_UP,
        "seconds_an_epoch": each * clock.batches,
    }
    said |= {
        "cpu_seconds_an_epoch": (last[1] - first[1]) / (len(clock.ticks) - WARM_UP) * clock.batches,
        "fit_seconds": time.perf_counter() - begun,
    }
    print(json.dumps({**said, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))


if __name__ == "__main__":
    main()
