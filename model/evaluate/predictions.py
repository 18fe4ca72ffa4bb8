"""Ranked lists of a judged model as a file that anybody can judge again. Ranks nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from model.evaluate.judge import Evaluation, Seen


def write_predictions(path: Path, evaluation: Evaluation, item_ids: Sequence[str], seen: Seen) -> None:
    """Write ``predictions.jsonl``: one line a case, ``{"case", "target", "items"}``, items best first.

    Metrics computed from the place of the target in ``items`` equal ``evaluation.metrics(seen)`` exactly.
    """
    top = evaluation.ranking(seen).top
    with path.open("w", encoding="utf-8") as file:
        for name, target, row in zip(
            evaluation.cases.ids, evaluation.cases.targets.tolist(), top.tolist(), strict=True
        ):
            items = [item_ids[place] for place in row if place >= 0]
            file.write(
                json.dumps({"case": name, "target": item_ids[target], "items": items}, ensure_ascii=False)
                + "\n"
            )
