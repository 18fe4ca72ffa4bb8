"""What a study found: Markdown that says which differences are proven, JSON, and plots. Measures nothing
itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.study.variants import Measured, Study

SHOWN = ("R@5", "R@10", "R@20", "N@10", "MRR@20")
TITLES = {
    "backbones": "Backbones: alone, with the paper's fusion, with intents at score level",
    "paper-losses": "The paper's losses (SR-GNN, paper fusion)",
    "views": "Long and short view",
    "grounding": "Items that an intent is grounded on",
    "sources": "Intent sources and controls",
    "seeds": "Seeds of the default model",
}


def write_report(study: Study, out: Path) -> Path:
    """Write ``study.json``, one plot a section, and ``study.md``; returns the last."""
    gaps = study.differences()
    rows = [{"section": row.section, "name": row.name, **row.body} for row in study.rows]
    facts = {
        "dataset": study.dataset.name,
        "protocol": study.dataset.protocol,
        "test_cases": len(study.dataset.test),
        "seen": study.seen,
        "config": study.config.model_dump(),
        "rows": rows,
        "differences": gaps,
        "notes": list(study.dataset.notes),
        "refused": study.dataset.refused,
        "refused_by": study.dataset.refused_by,
        "own_split": study.dataset.own_split,
    }
    (out / "study.json").write_text(
        json.dumps(facts, indent=1, ensure_ascii=False, default=str), encoding="utf-8"
    )
    lines = [
        f"# Study of {study.dataset.name}",
        "",
        f"{study.dataset.protocol}, {len(study.dataset.test):,} test cases, all "
        f"{len(study.dataset.catalogue):,} items ranked, seen items {study.seen}, ties against the model, "
        "misses 0. Mean and 95 % bootstrap interval over sessions. A difference counts as proven when the "
        "interval of the paired difference in N@10 does not hold 0.",
        "",
    ]
    for section in dict.fromkeys(row.section for row in study.rows):
        own = [row for row in study.rows if row.section == section]
        plot(own, out / f"{section}.png")
        lines += [
            f"## {TITLES[section]}",
            "",
            *_whose(study, section, own),
            *table(own),
            "",
            f"![{TITLES[section]}]({section}.png)",
            "",
        ]
        lines += [*verdicts([gap for gap in gaps if gap["section"] == section]), ""]
        if section == "seeds":
            lines += [*spread(own), ""]
    file = out / "study.md"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def table(rows: Sequence[Measured]) -> list[str]:
    """Return the rows as Markdown lines."""
    lines = ["| | " + " | ".join(SHOWN) + " | s |", "|---" * (len(SHOWN) + 2) + "|"]
    for row in rows:
        cells = [_cell(row.body["metrics"]["metrics"][name]) for name in SHOWN]
        lines.append(f"| {row.name} | " + " | ".join(cells) + f" | {row.body['seconds']} |")
    return lines


def verdicts(gaps: Sequence[dict[str, Any]]) -> list[str]:
    """Say of each difference whether it is proven."""
    found = []
    for gap in gaps:
        value = gap["metrics"]["N@10"]
        word = ("proven better" if value["mean"] > 0 else "proven worse") if gap["proven"] else "not proven"
        found.append(
            f"- {gap['name']} against {gap['reference']}: {value['mean']:+.4f} N@10 [{value['low']:+.4f}, "
            f"{value['high']:+.4f}], {word}."
        )
    return found


def spread(rows: Sequence[Measured]) -> list[str]:
    """Say how far seeds lie apart."""
    found = []
    for name in SHOWN:
        values = [row.body["metrics"]["metrics"][name]["mean"] for row in rows]
        found.append(
            f"- {name} over {len(values)} seeds: mean {sum(values) / len(values):.4f}, lowest "
            f"{min(values):.4f}, highest {max(values):.4f}."
        )
    return found


def plot(rows: Sequence[Measured], file: Path) -> None:
    """Draw N@10 of the rows with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, axis = pyplot.subplots(figsize=(7.0, 0.9 + 0.34 * len(rows)))
    for place, row in enumerate(rows):
        value = row.body["metrics"]["metrics"]["N@10"]
        axis.plot(
            [value["low"], value["high"]], [place, place], color="#9aa7b2", linewidth=3, solid_capstyle="butt"
        )
        axis.plot(value["mean"], place, "o", color="#1b6ca8")
    axis.set_yticks(range(len(rows)), [row.name for row in rows])
    axis.invert_yaxis()
    axis.set_xlabel("N@10, 95 % interval")
    axis.grid(axis="x", alpha=0.3)
    drawn.tight_layout()
    drawn.savefig(file, dpi=120)
    pyplot.close(drawn)


def _whose(study: Study, section: str, rows: Sequence[Measured]) -> list[str]:
    """Say whose intents a section's views and groundings are, and how many cases of each row were
    answered.
    """
    if section not in {"views", "grounding"}:
        return []
    if study.answers is None:
        return ["Intents by the encoder; no language model is asked.", ""]
    names: dict[str, list[str]] = {
        note: ["as stored"] for note in study.dataset.notes if note.startswith("intents:")
    }
    for row in rows:
        for note in row.body.get("notes", ()):
            names.setdefault(note, []).append(row.name)
    return [
        f"Intents by {study.answers.source}.",
        "",
        *(f"- {', '.join(named)}: {note.removeprefix('intents: ')}" for note, named in names.items()),
        "",
    ]


def _cell(value: dict[str, float]) -> str:
    return f"{value['mean']:.4f} [{value['low']:.4f}, {value['high']:.4f}]"
