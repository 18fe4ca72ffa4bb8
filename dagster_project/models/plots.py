"""Pictures of a quality report: metrics with intervals, long tail, calibration. Drawn with matplotlib, shown
by the graph and the report.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from model.study.plots import OTHER_COLOUR, OWN_COLOUR, WIDTH_INCHES, panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_INCHES = 0.34
NAME_CHARACTERS = 38


def quality(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str] = ("R@10", "N@10")) -> Figure:
    """Draw each row's metrics with their 95 % intervals.

    Parameters
    ----------
    rows : sequence of mapping
        Of a quality report: ``role``, ``name``, ``metrics``.
    metrics : sequence of str
        One panel each.

    Returns
    -------
    matplotlib Figure
        Rows from top to bottom as given; the candidate in colour.
    """
    # a long name would leave no room for the figures
    names = [textwrap.fill(row["name"], NAME_CHARACTERS) for row in rows]
    drawn, axes = panels(
        WIDTH_INCHES, 0.9 + ROW_INCHES * sum(1 + 0.4 * name.count("\n") for name in names), len(metrics)
    )
    for axis, name in zip(axes, metrics, strict=True):
        for place, row in enumerate(rows):
            found = row["metrics"]["metrics"][name]
            if found["mean"] is None:  # no case, nothing measured
                continue
            colour = OWN_COLOUR if row["role"] == "with_intents" else OTHER_COLOUR
            axis.plot(
                [found["low"], found["high"]],
                [place, place],
                color=colour,
                linewidth=3,
                solid_capstyle="butt",
            )
            axis.plot(found["mean"], place, "o", color=colour)
        axis.set_yticks(range(len(rows)), names if axis is axes[0] else [""] * len(rows), fontsize=8)
        axis.invert_yaxis()
        axis.set_title(f"{name}, 95 % interval", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    drawn.tight_layout()
    return drawn


def slices(values: Mapping[str, Mapping[str, Any]], metric: str = "R@10") -> Figure:
    """Draw one metric by kind of case, such as recall by how often the target was clicked in training: the
    long tail.

    Parameters
    ----------
    values : mapping
        Name of the slice to its metrics (``cases`` and ``metrics`` with mean, low, high); slices without
        cases are left out.
    metric : str
        What is drawn.

    Returns
    -------
    matplotlib Figure
        One bar a slice with its 95 % interval and number of cases.
    """
    kept = {name: found for name, found in values.items() if found["cases"]}
    drawn, axes = panels(WIDTH_INCHES, 0.9 + ROW_INCHES * len(kept))
    for place, found in enumerate(kept.values()):
        one = found["metrics"][metric]
        axes[0].barh(place, one["mean"], color=OWN_COLOUR, alpha=0.75)
        axes[0].plot([one["low"], one["high"]], [place, place], color="black", linewidth=1.5)
    axes[0].set_yticks(range(len(kept)), [f"{name} ({found['cases']:,})" for name, found in kept.items()])
    axes[0].invert_yaxis()
    axes[0].set_title(f"{metric} by kind of case (number of cases), 95 % interval", fontsize=10)
    axes[0].grid(axis="x", alpha=0.3)
    drawn.tight_layout()
    return drawn


def calibration(found: Mapping[str, Any]) -> Figure:
    """Draw how often recommended items were clicked next, against their scores; on the diagonal scores are
    true.

    Parameters
    ----------
    found : mapping
        Of `model.evaluate.calibration`: ``bins`` and ``error``.

    Returns
    -------
    matplotlib Figure
        Both axes logarithmic; one point a range of scores with its 95 % interval, ranges without a hit left
        out.
    """
    drawn, axes = panels(WIDTH_INCHES * 0.6, WIDTH_INCHES * 0.5)
    bins = [entry for entry in found["bins"] if entry["hits"] > 0 and entry["score"] > 0]
    scores, hits = [entry["score"] for entry in bins], [entry["hits"] for entry in bins]
    spread = [
        [entry["hits"] - entry["hits_low"] for entry in bins],
        [entry["hits_high"] - entry["hits"] for entry in bins],
    ]
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    ends = [min([*scores, *hits, 0.01]) / 2, max([*scores, *hits, 0.1]) * 2]
    axes[0].plot(ends, ends, color=OTHER_COLOUR, linestyle="--", label="score = share of hits")
    axes[0].errorbar(
        scores, hits, yerr=spread, fmt="o", color=OWN_COLOUR, capsize=3, label="recommended items"
    )
    axes[0].set_xlabel("mean score", fontsize=9)
    axes[0].set_ylabel("share clicked next", fontsize=9)
    axes[0].set_title(f"calibration, mean error {found['error']:.4f}", fontsize=10)
    axes[0].legend(fontsize=8)
    axes[0].grid(alpha=0.3)
    drawn.tight_layout()
    return drawn


def over_time(
    days: Sequence[Mapping[str, Any]], tests: Mapping[str, Mapping[str, tuple[float, float, float]]]
) -> Figure:
    """Draw live hit rate and MRR at 20 over the days, with intervals, and each model's own test figure.

    Parameters
    ----------
    days : sequence of mapping
        Rows of `live_quality` of whole days, oldest first.
    tests : mapping
        Model version to ``hit_20`` and ``mrr_20`` as (mean, low, high); empty where none is known.

    Returns
    -------
    matplotlib Figure
        One panel a figure, one colour a model; the test figure is dashed.
    """
    drawn, axes = panels(WIDTH_INCHES, WIDTH_INCHES * 0.4, 2)
    versions = sorted({row["model_version"] for row in days})
    for axis, name in zip(axes, ("hit_20", "mrr_20"), strict=True):
        for number, version in enumerate(versions):
            rows = [row for row in days if row["model_version"] == version and row["cases"]]
            means = [row[name] for row in rows]
            spread = [
                [row[name] - row[f"{name}_low"] for row in rows],
                [row[f"{name}_high"] - row[name] for row in rows],
            ]
            colour = f"C{number}"
            dates = [row["day"].isoformat() for row in rows]
            axis.errorbar(dates, means, yerr=spread, fmt="o-", color=colour, capsize=3, label=version)
            if name in tests.get(version, {}):
                axis.axhline(tests[version][name][0], color=colour, linestyle="--")
        axis.set_title(f"{name.replace('_', '@')}, 95 % interval; dashed: own test", fontsize=9)
        axis.tick_params(axis="x", labelrotation=45, labelsize=7)
        axis.grid(axis="y", alpha=0.3)
    axes[0].legend(fontsize=7)
    drawn.tight_layout()
    return drawn
