"""Ranking quality on Beauty, Yoochoose and ML-100K beside every baseline, for several seeds; peers by the
predictions they wrote.

Data are given by path and never copied: `python benchmarks/quality.py --beauty DIR --yoochoose DIR [--ml-100k
DIR] [--peer NAME=FILE]`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _sections import write_section

from feature_repo.contract.settings import SessionSettings, load_settings
from model.config import ModelConfig, make_config
from model.data.prepare import prepare as make_folder
from model.data.splits import Dataset
from model.evaluate.judge import SEEN, TOP, Evaluation, Seen, default_seen, evaluate, repeats
from model.evaluate.metrics import difference, measure
from model.mix.hybrid import Hybrid
from model.recommender.recommender import Scorer
from model.recommender.train import train
from model.study.baselines import baselines
from model.study.benchmark import prepare
from model.study.quality import described

METRICS = ("R@10", "N@10", "R@20", "MRR@20")
MISS = 10**6  # the rank of a target that a peer's list does not hold
RECIPES: dict[str, dict[str, Any]] = {
    "beauty": {},
    "yoochoose": {"score": "cosine", "dim": 64, "temperature": 9.0},
    "ml-100k": {"dim": 64},
}
PROTOCOLS = {"beauty": "leave-one-out", "yoochoose": "next-item", "ml-100k": "next-item"}


def line(data: str, name: str, found: Evaluation, seen: Seen, seconds: float, **facts: Any) -> dict[str, Any]:
    """One row of the table: the quoted rule first, the other rule's R@10 and N@10 beside it under their own
    names.
    """
    own, other = found.metrics(seen), found.metrics(SEEN[seen == "removed"], samples=0)
    cells: dict[str, Any] = {metric: str(own[metric]) for metric in METRICS}
    cells |= {
        f"{metric}, seen {SEEN[seen == 'removed']}": round(other[metric].mean, 4) for metric in METRICS[:2]
    }
    return {"data": data, "model": name, "seen": seen, **cells, "s": round(seconds, 1), **facts}


def of_baselines(
    data: str, dataset: Dataset, seen: Seen, ease: bool
) -> tuple[list[dict[str, Any]], dict[str, Evaluation]]:
    rows, found = [], {}
    for baseline in baselines(dataset, ease=ease or None):
        started = time.perf_counter()
        ranker = baseline.fit(dataset)
        found[ranker.name] = evaluate(ranker, dataset.test, lists=False)
        rows.append(line(data, ranker.name, found[ranker.name], seen, time.perf_counter() - started))
    started = time.perf_counter()
    blend = Hybrid.fit(dataset, None, ModelConfig()).ranker(None, "no-training blend")
    found[blend.name] = evaluate(blend, dataset.test, lists=False)
    rows.append(line(data, blend.name, found[blend.name], seen, time.perf_counter() - started))
    return rows, found


def of_seeds(
    data: str, dataset: Dataset, config: ModelConfig, seen: Seen, seeds: list[int], best: Evaluation
) -> list[dict[str, Any]]:
    rows = []
    for seed in seeds:
        trained = train(dataset, config.model_copy(update={"seed": seed}))
        found = evaluate(Scorer.of(trained), dataset.test, lists=False)
        gap = difference(
            found.ranking(seen).ranks, best.ranking(seen).ranks, dataset.test.prefixes.session_ids
        )
        facts = {
            "epochs": trained.best_epoch,
            "train s": round(trained.seconds, 1),
            "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
            "weights": {} if trained.hybrid is None else trained.hybrid.weights,
            f"N@10 over {best.name}": str(gap["N@10"]),
        }
        refitted = ", validation put back" if trained.refitted else ""
        rows.append(
            line(data, f"{described(trained)}, seed {seed}{refitted}", found, seen, trained.seconds, **facts)
        )
        rows += of_parts(data, seed, dataset, found, seen)
    return rows


def of_parts(data: str, seed: int, dataset: Dataset, found: Evaluation, seen: Seen) -> list[dict[str, Any]]:
    """New-item and repeat cases apart, where the data repeat items."""
    again = repeats(dataset.test)
    if seen == "removed" or not again.any():
        return []
    ids = dataset.test.prefixes.session_ids
    rows = []
    for name, mask in (("new items", ~again), ("repeated items", again)):
        part = measure(found.ranking(seen).ranks[mask], [ids[place] for place in mask.nonzero()[0].tolist()])
        shown = {metric: str(part[metric]) for metric in METRICS}
        rows.append(
            {"data": data, "model": f"seed {seed}: {name} ({int(mask.sum())} cases)", "seen": seen, **shown}
        )
    return rows


def of_peers(data: str, dataset: Dataset, files: list[str], seen: Seen) -> list[dict[str, Any]]:
    """Judge peers by the predictions.jsonl that they wrote in their own environment: same cases, a case that
    is missing counts as a miss.
    """
    rows = []
    ids = dataset.catalogue.item_ids
    for given in files:
        name, _, file = given.partition("=")
        if not name.startswith(f"{data}:"):
            continue
        said = {}
        for text in Path(file).read_text(encoding="utf-8").splitlines():
            case = json.loads(text)
            said[case["case"]] = case["items"][:TOP]
        ranks = []
        for case, target in zip(dataset.test.ids, dataset.test.targets.tolist(), strict=True):
            items = said.get(case, [])
            ranks.append(items.index(ids[target]) + 1 if ids[target] in items else MISS)
        found = measure(np.array(ranks), dataset.test.prefixes.session_ids)
        missing = len(dataset.test) - sum(case in said for case in dataset.test.ids)
        rows.append(
            {
                "data": data,
                "model": name,
                "seen": seen,
                **{metric: str(found[metric]) for metric in METRICS},
                "cases missing": missing,
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--beauty", type=Path, help="folder with sequences.txt and items.csv")
    parser.add_argument(
        "--yoochoose", type=Path, help="folder with train.tsv and test.tsv (SessionId, ItemId, Time)"
    )
    parser.add_argument(
        "--ml-100k", type=Path, help="folder with ml-100k.inter and ml-100k.item; default: the fetched asset"
    )
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument(
        "--refit", action="store_true", help="put the validation items back before the last training"
    )
    parser.add_argument(
        "--ease",
        action="store_true",
        help="also EASE on large catalogues (a minute and 2.3 GB at 12,000 items)",
    )
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="DATA:NAME=FILE",
        help=(
            "predictions.jsonl that a peer (RecTools, RecBole) wrote under the same rule about seen items, "
            "e.g. beauty:RecTools=p.jsonl"
        ),
    )
    given = parser.parse_args()
    settings = load_settings(None, os.environ)
    sources = {
        "beauty": given.beauty,
        "yoochoose": given.yoochoose,
        "ml-100k": given.ml_100k or settings.assets_dir / "ml-100k",
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for data, folder in sources.items():
            if folder is None or not folder.is_dir():
                print(f"{data}: no folder given or fetched; left out", file=sys.stderr)
                continue
            if data != "beauty":
                make_folder(folder, Path(scratch) / data)
                folder = Path(scratch) / data
            config = make_config({**settings.model, **RECIPES[data], "refit": given.refit})
            session = SessionSettings() if data == "ml-100k" else None
            dataset, _ = prepare(settings, folder, PROTOCOLS[data], config, "encoder", session)
            seen = default_seen(dataset)
            own, found = of_baselines(data, dataset, seen, given.ease)
            best = max(found.values(), key=lambda one: one.metrics(seen, samples=0)["N@10"].mean)
            rows += own + of_seeds(
                data, dataset, config, seen, [int(seed) for seed in given.seeds.split(",")], best
            )
            rows += of_peers(data, dataset, given.peer, seen)
            section = data + (", validation put back before the last training" if given.refit else "")
            write_section(
                "quality", section, [row for row in rows if row["data"] == data], {"refit": given.refit}
            )
    return 0 if rows else 2


if __name__ == "__main__":
    raise SystemExit(main())
