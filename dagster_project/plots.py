"""Pictures of a quality report: metrics with intervals, training curve, slices. Drawn with matplotlib, shown by the graph and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 7.0
ROW_INCHES = 0.34
OWN_COLOUR, OTHER_COLOUR = "#1b6ca8", "#9aa7b2"


def _new(width: float, height: float, columns: int = 1) -> tuple[Figure, Sequence[Axes]]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False)
    return drawn, list(axes[0])


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
    drawn, axes = _new(WIDTH_INCHES, 0.9 + ROW_INCHES * len(rows), len(metrics))
    for axis, name in zip(axes, metrics, strict=True):
        for place, row in enumerate(rows):
            found = row["metrics"]["metrics"][name]
            colour = OWN_COLOUR if row["role"] == "with_intents" else OTHER_COLOUR
            axis.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
            axis.plot(found["mean"], place, "o", color=colour)
        axis.set_yticks(range(len(rows)), [row["name"] for row in rows] if axis is axes[0] else [""] * len(rows))
        axis.invert_yaxis()
        axis.set_title(f"{name}, 95 % interval", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    drawn.tight_layout()
    return drawn


def history(lines: Sequence[Mapping[str, float]]) -> Figure:
    """Draw what training recorded of each epoch, one panel a figure (loss, validation metrics).

    Parameters
    ----------
    lines : sequence of mapping
        One an epoch; figures by name.

    Returns
    -------
    matplotlib Figure
        At most three panels.
    """
    names = [name for name in lines[0] if name not in {"epoch", "seconds"} and isinstance(lines[0][name], int | float)][:3] or ["epoch"]
    drawn, axes = _new(WIDTH_INCHES, 2.4, len(names))
    for axis, name in zip(axes, names, strict=True):
        axis.plot([line.get("epoch", place + 1) for place, line in enumerate(lines)], [line[name] for line in lines], color=OWN_COLOUR, marker=".")
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("epoch", fontsize=9)
        axis.grid(alpha=0.3)
    drawn.tight_layout()
    return drawn


def bars(values: Mapping[str, float], title: str) -> Figure:
    """Draw one figure per group, such as recall by popularity of the target.

    Parameters
    ----------
    values : mapping
        Group to figure.
    title : str
        What is drawn.

    Returns
    -------
    matplotlib Figure
        One horizontal bar a group.
    """
    drawn, axes = _new(WIDTH_INCHES, 0.8 + ROW_INCHES * len(values))
    axes[0].barh(list(values), list(values.values()), color=OWN_COLOUR)
    axes[0].invert_yaxis()
    axes[0].set_title(title, fontsize=10)
    axes[0].grid(axis="x", alpha=0.3)
    drawn.tight_layout()
    return drawn
