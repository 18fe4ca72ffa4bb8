"""The catalogue's page: one HTML file with its style, script and plots inside, opened straight from the
disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

_WIDTH, _HEIGHT = 150, 34


def page(catalogue: Mapping[str, Any]) -> str:
    """Render a catalogue (see `catalogue.build`) as one HTML document; everything in it is escaped."""
    source = files("feature_repo.catalogue").joinpath("catalogue.html").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(source)
    return template.render(**catalogue, width=_WIDTH, height=_HEIGHT, bars=bars)


def bars(counted: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Rectangles of a small bar chart, in pixels from the top left.

    Examples
    --------
    >>> [(bar["x"], bar["height"]) for bar in bars([("0", 2), ("1", 4)])]
    [(0.0, 17.0), (75.0, 34.0)]
    """
    highest, width = max(count for _, count in counted) or 1, _WIDTH / len(counted)
    drawn = []
    for number, (label, count) in enumerate(counted):
        height = round(_HEIGHT * count / highest, 1)
        drawn.append(
            {
                "x": round(number * width, 1),
                "y": round(_HEIGHT - height, 1),
                "width": round(max(1.0, width - 1), 1),
                "height": height,
                "label": label,
                "count": count,
            }
        )
    return drawn
