"""Items that nobody has clicked yet: `python benchmarks/cold_items.py FOLDER [--share 5] [--seed 0]
[--checkpoint DIR] [--full PREDICTIONS]`.

A fifth of the items (by a hash of the id) is taken out of training and validation; test cases are told apart
by whether their target is one of them. Beside the model: itself with those items never recommended, title kNN
by MiniLM and by words, and (`--full`) the default model that saw all items, by the predictions it wrote.
Leave-one-out, seen items removed, every case counted. Writes the section `cold items` of
results/quality.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _sections import write_section

from feature_repo.contract.settings import load_settings
from model.config import make_config
from model.data.sequences import Cases, Sequences
from model.data.splits import Dataset
from model.evaluate.judge import Ranker, evaluate
from model.evaluate.metrics import difference, measure
from model.rankers.title_knn import TitleKnn, WordKnn
from model.recommender.recommender import Scorer
from model.recommender.train import train
from model.study.benchmark import prepare

METRICS = ("R@10", "N@10", "R@20", "MRR@20")
MISS = 10**6


@dataclass(frozen=True)
class Banned:
    """A ranker that never recommends some items."""

    ranker: Ranker
    items: np.ndarray
    name: str = "the model, cold items never recommended"

    def scores(self, cases: Cases) -> np.ndarray:
        found = self.ranker.scores(cases).copy()
        found[:, self.items] = -1.0
        return found


def is_cold(item_id: str, share: int) -> bool:
    """Whether the hash of an id falls into the share (5 = one in five)."""
    return int(hashlib.sha256(item_id.encode()).hexdigest(), 16) % share == 0


def without(sequences: Sequences, cold: np.ndarray) -> Sequences:
    """Sessions without the clicks on cold items; sessions may become empty."""
    keep = ~cold[sequences.items]
    lengths = np.bincount(sequences.rows[keep], minlength=len(sequences))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Sequences(
        sequences.session_ids, sequences.items[keep], offsets, sequences.times[keep], sequences.first_position
    )


def warm_only(data: Dataset, cold: np.ndarray) -> Dataset:
    """The dataset whose training and validation never saw the cold items; the test cases stay as they are."""
    trained, valid = without(data.train, cold), data.valid
    prefixes = without(valid.prefixes, cold)
    kept = np.flatnonzero((prefixes.lengths > 0) & ~cold[valid.targets])
    cases = Cases(prefixes, valid.targets, valid.positions, valid.long, valid.short).select(kept)
    return replace(data, train=trained.select(trained.lengths > 0), valid=cases, validation_sequences=None)


def ranks_of(file: Path, cases: Cases) -> np.ndarray:
    """Ranks of the targets in lists that another run wrote; beyond them a miss."""
    said = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        said[case["case"]] = (
            case["items"].index(case["target"]) + 1 if case["target"] in case["items"] else MISS
        )
    return np.array([said[case] for case in cases.ids])


def table(found: dict[str, np.ndarray], test: Cases, cold: np.ndarray) -> list[dict[str, Any]]:
    """Rows by kind of target, with the paired difference of the model to each."""
    names, rows = test.prefixes.session_ids, []
    for kind, mask in (("cold targets", cold[test.targets]), ("warm targets", ~cold[test.targets])):
        ids = [names[place] for place in np.flatnonzero(mask)]
        for name, ranks in found.items():
            own = measure(ranks[mask], ids)
            gap = difference(found["model"][mask], ranks[mask], ids)
            compared = (
                {}
                if name == "model"
                else {f"model minus it, {metric}": str(gap[metric]) for metric in METRICS[:2]}
            )
            rows.append(
                {
                    "targets": kind,
                    "cases": int(mask.sum()),
                    "ranker": name,
                    **{metric: str(own[metric]) for metric in METRICS},
                    **compared,
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=int, default=5, help="one item in so many is cold")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="a killed run goes on from here")
    parser.add_argument("--full", type=Path, help="predictions.jsonl of the default model on the same folder")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any key of the model's config, value as JSON",
    )
    given = parser.parse_args()
    config = make_config(
        {
            "seed": given.seed,
            **{key: json.loads(value) for key, value in (pair.split("=", 1) for pair in given.set)},
        }
    )
    data, _ = prepare(load_settings(None, os.environ), given.folder, "leave-one-out", config, "encoder")
    cold = np.array([is_cold(item, given.share) for item in data.catalogue.item_ids])
    small = warm_only(data, cold)
    begun = time.process_time()
    trained = train(small, config, checkpoint_dir=given.checkpoint)
    used = time.process_time() - begun
    scorer = Scorer.of(trained)
    rankers: dict[str, Ranker] = {
        "model": scorer,
        Banned.name: Banned(scorer, cold),
        "title kNN (MiniLM)": TitleKnn.fit(small),
        "title kNN (words)": WordKnn.fit(small),
    }
    found = {name: evaluate(ranker, data.test, lists=False).removed.ranks for name, ranker in rankers.items()}
    if given.full is not None:
        found["default model that saw all items"] = ranks_of(given.full, data.test)
    facts = {
        "data": data.name,
        "cold items": int(cold.sum()),
        "training clicks": small.train.clicks,
        "training clicks with them": data.train.clicks,
        "seed": given.seed,
        "best epoch": trained.best_epoch,
        "weights": trained.hybrid.weights if trained.hybrid else {},
        "train CPU s": round(used),
        "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
    }
    write_section("quality", "cold items", table(found, data.test, cold), facts)


if __name__ == "__main__":
    main()
