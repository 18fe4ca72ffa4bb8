"""Writes the model card: what a model is, what it was made of, what it reached, where it must not be used."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from dagster_project.models.train import Candidate

SHOWN = ("R@5", "R@10", "R@20", "N@10", "MRR@20")


def quality_markdown(report: dict[str, Any]) -> str:
    """Return the quality table of a report as Markdown, means with 95 % intervals.

    Parameters
    ----------
    report : dict
        ``rows`` with name and metrics.

    Returns
    -------
    str
        One line a row.
    """
    lines = ["| | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for row in report.get("rows", []):
        cells = []
        for name in SHOWN:
            cells.append(interval(row["metrics"]["metrics"].get(name)))
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(found: Mapping[str, float | None] | None) -> str:
    """Write a mean with its interval; empty where there is none.

    Examples
    --------
    >>> interval({"mean": 0.12345, "low": 0.1, "high": 0.15})
    '0.1235 [0.1000, 0.1500]'
    """
    return (
        ""
        if found is None or found["mean"] is None
        else f"{found['mean']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
    )


def write(candidate: Candidate, manifest: dict[str, Any]) -> str:
    """Return the card of a model as Markdown.

    Parameters
    ----------
    candidate : Candidate
        What was trained.
    manifest : dict
        Of its folder.

    Returns
    -------
    str
        Every figure out of the manifest or the quality report.
    """
    config = manifest.get("config", {})
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(candidate.trained_at))
    tables = ", ".join(
        f"`{name}` version {version}" for name, version in sorted(candidate.delta_versions.items())
    )
    chosen = ", ".join(
        f"`{name}` = {value}"
        for name, value in sorted(config.items())
        if name in {"backbone", "fusion", "dim", "layers", "epochs", "seed", "max_length"}
    )
    return f"""# Model {candidate.version}

**What it does.** Ranks the next item of a session from its clicks and, where there are any, from its long and short intents (text, grounded on items).

**Made** {made} in {candidate.seconds:.0f} s, of code `{str(manifest.get("code_commit", "unknown"))[:12]}` and {candidate.cases:,} cases: {tables}.

**Settings.** {chosen or "see manifest.json"}

**Quality** on the test cases, full ranking, ties against us, mean and 95 % bootstrap interval; {manifest.get("figures", "measured by this model")}:

{quality_markdown(candidate.report)}

**Reads** {", ".join(f"`{name}`" for name in manifest.get("features", manifest.get("feature_list", []))) or "see manifest.json"}.

**Limits.** Learned from one catalogue and one period of clicks: popular items are ranked better than rare ones, and later items are known only by their text.
Intents are texts of a small language model; they explain, they are no statement about a person. Not for decisions about people.
"""  # noqa: E501
