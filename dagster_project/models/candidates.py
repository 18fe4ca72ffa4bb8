"""All model versions on disk side by side: what each was made of, what it reached, which one serves."""

from __future__ import annotations

from typing import Any

from dagster_project.models import card as model_card
from dagster_project.models import gates
from dagster_project.models import train as training_run
from feature_repo.contract.settings import Settings


def listed(settings: Settings) -> list[dict[str, Any]]:
    """List the versions, oldest first.

    Parameters
    ----------
    settings : Settings
        Where the models are.

    Returns
    -------
    list of dict
        ``version``, ``serves``, ``backbone``, ``cases``, and ``row``: that of its own quality report, none
        where it has no such row.
    """
    promoted = training_run.promoted_version(settings)
    found = []
    for version in training_run.versions(settings):
        known = training_run.manifest(settings, version)
        report = known.get("metrics", {})
        found.append(
            {
                "version": version,
                "serves": version == promoted,
                "backbone": str(known.get("config", {}).get("backbone", "")),
                "cases": report.get("test_cases"),
                "row": next((row for row in report.get("rows", []) if row["role"] == gates.CANDIDATE), None),
            }
        )
    return found


def markdown(found: list[dict[str, Any]]) -> str:
    """Return the table as Markdown, means with 95 % intervals; what serves is in bold."""
    lines = [
        "| version | backbone | test cases | " + " | ".join(model_card.SHOWN) + " |",
        "|---" * (len(model_card.SHOWN) + 3) + "|",
    ]
    for one in found:
        metrics = one["row"]["metrics"]["metrics"] if one["row"] else {}
        cells = [model_card.interval(metrics.get(name)) for name in model_card.SHOWN]
        name = f"**{one['version']}** (serves)" if one["serves"] else one["version"]
        lines.append(f"| {name} | {one['backbone']} | {one['cases'] or ''} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rows_to_draw(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows for `plots.quality`: those with figures, the one that serves in colour."""
    return [
        {
            "name": f"{one['version']} {one['backbone']}",
            "role": gates.CANDIDATE if one["serves"] else "",
            "metrics": one["row"]["metrics"],
        }
        for one in found
        if one["row"]
    ]
