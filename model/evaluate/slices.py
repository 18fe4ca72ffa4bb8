"""Cases by what makes them hard: rare, unseen or repeated targets, short and long sessions."""

from __future__ import annotations

from typing import Any

import numpy as np

from model.data.sequences import Cases
from model.evaluate.judge import Evaluation, Seen, repeats
from model.evaluate.metrics import bands, measure


def masks(cases: Cases, item_counts: np.ndarray) -> dict[str, np.ndarray]:
    """Name the slices of a report.

    Parameters
    ----------
    cases : Cases
    item_counts : ndarray int, shape (items,)
        Clicks in training.

    Returns
    -------
    dict
        Slice name to bool mask, shape (cases,): target cold or warm, its clicks in training, length of the
        prefix, new or repeated item.
    """
    seen = item_counts[cases.targets]
    repeated = repeats(cases)
    return {
        "target cold (no click in training)": seen == 0,
        "target warm": seen > 0,
        **{
            f"target clicked {name}": mask
            for name, mask in bands(
                seen, [0, 4, 30], ["never", "1-4 times", "5-30 times", "over 30 times"]
            ).items()
        },
        **{
            f"prefix of {name}": mask
            for name, mask in bands(
                cases.prefixes.lengths, [1, 4, 9], ["1 click", "2-4 clicks", "5-9 clicks", "10 or more"]
            ).items()
        },
        "new item": ~repeated,
        "repeated item": repeated,
    }


def sliced(
    evaluation: Evaluation, item_counts: np.ndarray, seen: Seen, *, samples: int = 200
) -> dict[str, dict[str, Any]]:
    """Return the metrics of every slice, for JSON; empty slices say 0 cases."""
    ranks, names = (
        evaluation.ranking(seen).ranks,
        np.array(evaluation.cases.prefixes.session_ids, dtype=object),
    )
    return {
        name: measure(ranks[mask], names[mask].tolist(), samples=samples).to_dict()
        for name, mask in masks(evaluation.cases, item_counts).items()
    }
