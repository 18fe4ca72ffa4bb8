"""Pictures of training: what each epoch recorded. Drawn with matplotlib; knows no report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 7.0
OWN_COLOUR, OTHER_COLOUR = "#1b6ca8", "#9aa7b2"


def panels(width: float, height: float, columns: int = 1) -> tuple[Figure, Sequence[Axes]]:
    """Return an empty figure of so many inches and its axes, drawn without a screen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(1, columns, figsize=(width, height), squeeze=False)
    return drawn, list(axes[0])


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
    names = [
        name
        for name in lines[0]
        if name not in {"epoch", "seconds"} and isinstance(lines[0][name], int | float)
    ][:3] or ["epoch"]
    drawn, axes = panels(WIDTH_INCHES, 2.4, len(names))
    for axis, name in zip(axes, names, strict=True):
        axis.plot(
            [line.get("epoch", place + 1) for place, line in enumerate(lines)],
            [line[name] for line in lines],
            color=OWN_COLOUR,
            marker=".",
        )
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("epoch", fontsize=9)
        axis.grid(alpha=0.3)
    drawn.tight_layout()
    return drawn
