"""Every backbone alone and with the intent fusion: `python benchmarks/backbones.py FOLDER [--backbones
srgnn,stamp] [--epochs 4] [--checkpoint DIR]`.

The fusion `intent` leaves the network as it is and mixes retrieval into its score, so each network is trained
once and judged twice, on the same cases: leave-one-out, seen items removed. `--epochs` bounds the training,
because graph backbones take minutes an epoch; the bound stands in the result. Adds to the section `backbones`
of results/quality.json; a backbone measured before with the same seed is replaced.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from _sections import write_section

from _report import RESULTS
from feature_repo.contract.settings import load_settings
from model.config import BACKBONES, ModelConfig, make_config
from model.data.splits import Dataset
from model.evaluate.judge import default_seen, evaluate
from model.evaluate.metrics import difference, measure
from model.recommender.recommender import Scorer
from model.recommender.train import train
from model.study.benchmark import prepare

METRICS = ("R@10", "N@10", "R@20", "MRR@20")


def measured(data: Dataset, config: ModelConfig, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Rows of one backbone: alone, and with intents."""
    begun = time.process_time()
    trained = train(data, config, checkpoint_dir=checkpoint)
    used = round(time.process_time() - begun)
    seen = default_seen(data)
    found = {
        "none": evaluate(Scorer.of(replace(trained, hybrid=None)), data.test, lists=False)
        .ranking(seen)
        .ranks,
        "intent": evaluate(Scorer.of(trained), data.test, lists=False).ranking(seen).ranks,
    }
    ids = data.test.prefixes.session_ids
    gap = difference(found["intent"], found["none"], ids)
    rows = []
    for fusion, ranks in found.items():
        own = measure(ranks, ids)
        facts = {
            "seed": config.seed,
            "epochs at most": config.epochs,
            "best epoch": trained.best_epoch,
            "train CPU s": used,
        }
        more = (
            {} if fusion == "none" else {f"minus none, {metric}": str(gap[metric]) for metric in METRICS[:2]}
        )
        more |= {} if fusion == "none" or trained.hybrid is None else {"weights": trained.hybrid.weights}
        rows.append(
            {
                "backbone": config.backbone,
                "fusion": fusion,
                **{metric: str(own[metric]) for metric in METRICS},
                **facts,
                **more,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbones", default=",".join(BACKBONES))
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--checkpoint", type=Path, help="a killed run goes on from here")
    given = parser.parse_args()
    settings = load_settings(None, os.environ)
    base = {"epochs": given.epochs, "seed": given.seed}
    data, _ = prepare(settings, given.folder, "leave-one-out", make_config(base), "encoder")
    for backbone in given.backbones.split(","):
        config = make_config({**base, "backbone": backbone})
        rows = measured(
            data, config, None if given.checkpoint is None else given.checkpoint / f"{backbone}-{given.seed}"
        )
        file = RESULTS / "quality.json"
        known = (
            json.loads(file.read_text(encoding="utf-8"))
            .get("sections", {})
            .get("backbones", {})
            .get("rows", [])
            if file.is_file()
            else []
        )
        rows = [row for row in known if (row["backbone"], row["seed"]) != (backbone, given.seed)] + rows
        peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
        write_section(
            "quality",
            "backbones",
            rows,
            {"data": data.name, "seen": default_seen(data), "peak MB of the last run": peak},
        )


if __name__ == "__main__":
    main()
