"""Pictures of the demo's page as SVG within it: no outside part, colours of the page (light and dark), a text
for who does not see them. Draws what it is given, reads nothing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

WIDTH = 640  # of the drawing's own units; the page scales it
ROW = 26
_NAMES, _RIGHT, _TOP = 230, 20, 16
NAME_CHARACTERS = 34


@dataclass(frozen=True)
class Dots:
    """A group of points of a map.

    Attributes
    ----------
    name : str
        For the legend.
    style : str
        Class of the page's style sheet.
    places : sequence of int
        Rows of the map's points.
    radius : float
    """

    name: str
    style: str
    places: Sequence[int]
    radius: float


def forest(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Draw a metric of each model with its 95 % interval, the candidate in colour.

    Parameters
    ----------
    rows : sequence of mapping
        Of a quality report: ``role``, ``name``, ``metrics``.
    metric : str

    Returns
    -------
    str
        SVG; empty where nothing was measured.
    """
    found = [(row, row["metrics"]["metrics"].get(metric)) for row in rows]
    known = [(row, value) for row, value in found if value is not None and value["mean"] is not None]
    if not known:
        return ""
    low, high = min(value["low"] for _, value in known), max(value["high"] for _, value in known)
    scale = _scale(low, high, _NAMES, WIDTH - _RIGHT)
    height = _TOP + ROW * len(known) + 28
    parts = _grid(scale, low, high, height)
    for place, (row, value) in enumerate(known):
        y = _TOP + ROW * place + ROW / 2
        style = "own" if row["role"] == "with_intents" else "other"
        left, right, middle = (scale(value[end]) for end in ("low", "high", "mean"))
        parts.append(_text(_NAMES - 10, y + 4, _short(row["name"]), "end"))
        parts.append(f'<line class="{style}" x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle class="{style}" cx="{middle:.1f}" cy="{y}" r="4.5"/>')
    best = max(known, key=lambda pair: float(pair[1]["mean"]))
    said = "; ".join(
        f"{row['name']} {value['mean']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" for row, value in known
    )
    return _svg(height, parts, f"{metric} with 95 % intervals, {best[0]['name']} is highest: {said}")


def calibration(found: Mapping[str, Any]) -> str:
    """Draw how often recommended items were clicked next, against their scores; both axes logarithmic.

    Parameters
    ----------
    found : mapping
        Of `model.evaluate.calibration`.
    """
    bins = [entry for entry in found["bins"] if entry["hits"] > 0 and entry["score"] > 0]
    if not bins:
        return ""
    values = [entry[name] for entry in bins for name in ("score", "hits", "hits_low", "hits_high")]
    low = min(value for value in values if value > 0)
    ends = math.log10(low) - 0.1, math.log10(max(values)) + 0.1
    side = 300
    across, up = _scale(*ends, 60, 60 + side), _scale(*ends, _TOP + side, _TOP)
    corner = (across(ends[0]), up(ends[0]), across(ends[1]), up(ends[1]))
    parts = ['<line class="axis" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'.format(*corner)]
    for power in range(math.ceil(ends[0]), math.floor(ends[1]) + 1):
        parts.append(_text(across(power), _TOP + side + 18, f"{10.0**power:g}", "middle"))
        parts.append(_text(54, up(power) + 4, f"{10.0**power:g}", "end"))
    for entry in bins:
        x = across(math.log10(entry["score"]))
        least, most = (up(math.log10(max(entry[name], low))) for name in ("hits_low", "hits_high"))
        parts.append(f'<line class="own" x1="{x:.1f}" x2="{x:.1f}" y1="{least:.1f}" y2="{most:.1f}"/>')
        parts.append(f'<circle class="own" cx="{x:.1f}" cy="{up(math.log10(entry["hits"])):.1f}" r="4.5"/>')
    parts.append(_text(60 + side / 2, _TOP + side + 36, "mean score", "middle"))
    text = (
        f"share of recommended items that were clicked next against their score, mean distance "
        f"{found['error']:.4f}; on the line scores are true"
    )
    return _svg(_TOP + side + 46, parts, text)


def histogram(edges: Sequence[float], counts: Sequence[int], unit: str, marks: Mapping[str, float]) -> str:
    """Draw counts between edges on a logarithmic axis, with marked values.

    Parameters
    ----------
    edges : sequence of float
        Rising, above 0, one more than counts.
    counts : sequence of int
    unit : str
    marks : mapping
        Name to value, such as ``p50``.
    """
    if not sum(counts):
        return ""
    bottom = _TOP + 160
    scale = _scale(math.log10(edges[0]), math.log10(edges[-1]), 40, WIDTH - _RIGHT)
    tallest, parts = max(counts), []
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        left, right = scale(math.log10(low)), scale(math.log10(high))
        tall, wide = 150 * count / tallest, max(right - left - 1, 1)
        parts.append(
            f'<rect class="own" x="{left:.1f}" y="{bottom - tall:.1f}" width="{wide:.1f}" '
            f'height="{tall:.1f}"/>'
        )
    for power in range(math.ceil(math.log10(edges[0])), math.floor(math.log10(edges[-1])) + 1):
        parts.append(_text(scale(power), bottom + 16, f"{10.0**power:g}", "middle"))
    for name, value in marks.items():
        x = scale(min(max(math.log10(value), math.log10(edges[0])), math.log10(edges[-1])))
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(
            _text(x + 4, _TOP + (12 if name == "p50" else 26), f"{name} {value:.0f} {unit}", "start")
        )
    marked = ", ".join(f"{name} {value:.0f} {unit}" for name, value in marks.items())
    return _svg(bottom + 24, parts, f"histogram of {sum(counts):,} values in {unit}: {marked}")


def steps(shares: Sequence[float], name: str) -> str:
    """Draw a share over equal parts of a run, from its beginning to its end."""
    if not shares:
        return ""
    bottom, most = _TOP + 130, max([*shares, 0.01])
    scale, up = _scale(0, len(shares), 40, WIDTH - _RIGHT), _scale(0, most, bottom, _TOP)
    points = " ".join(f"{scale(place + 0.5):.1f},{up(share):.1f}" for place, share in enumerate(shares))
    parts = [f'<polyline class="own" points="{points}"/>']
    parts += [_text(36, up(value) + 4, f"{value:.2f}", "end") for value in (0.0, most)]
    parts += [
        _text(40, bottom + 16, "first click", "start"),
        _text(WIDTH - _RIGHT, bottom + 16, "last", "end"),
    ]
    said = ", ".join(f"{share:.2f}" for share in shares)
    return _svg(bottom + 24, parts, f"{name} over the replay, from its first to its last click: {said}")


def item_map(vectors: np.ndarray, groups: Sequence[Dots], text: str) -> str:
    """Draw items as points of a plane: the two directions in which their vectors differ most.

    Parameters
    ----------
    vectors : array, shape (items, dim)
    groups : sequence of Dots
        Drawn one above the other.
    text : str
        What is seen, for who does not see it.
    """
    if len(vectors) < 3:
        return ""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    plane = centred @ directions[:2].T
    low, high = plane.min(axis=0), plane.max(axis=0)
    bottom = _TOP + 380
    across, up = _scale(low[0], high[0], 20, WIDTH - 20), _scale(low[1], high[1], bottom, _TOP)
    parts = []
    for group in groups:
        parts += [
            f'<circle class="{group.style}" cx="{across(plane[place, 0]):.1f}" '
            f'cy="{up(plane[place, 1]):.1f}" r="{group.radius:g}"/>'
            for place in group.places
        ]
    for number, group in enumerate(groups):
        x = 30 + number * WIDTH / len(groups)
        parts.append(f'<circle class="{group.style}" cx="{x:.1f}" cy="{bottom + 24}" r="5"/>')
        parts.append(_text(x + 10, bottom + 28, group.name, "start"))
    return _svg(bottom + 40, parts, text)


def _scale(low: float, high: float, first: float, last: float) -> Any:
    span = (high - low) or 1.0
    return lambda value: first + (value - low) / span * (last - first)


def _grid(scale: Any, low: float, high: float, height: int) -> list[str]:
    parts = []
    for step in range(5):
        value = low + (high - low) * step / 4
        x = scale(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{height - 24}"/>')
        parts.append(_text(x, height - 8, f"{value:.3f}", "middle"))
    return parts


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def _short(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"


def _svg(height: float, parts: Sequence[str], text: str) -> str:
    said = html.escape(text)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{said}"><title>{said}</title>'
        f"{''.join(parts)}</svg>"
    )
