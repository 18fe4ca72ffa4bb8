"""Results files that several runs add to: each run replaces its own section and leaves the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _report import RESULTS, conditions, show


def write_section(
    name: str, section: str, rows: Sequence[Mapping[str, Any]], extra: Mapping[str, Any] | None = None
) -> Path:
    """Print the rows and put them, with machine, versions, commit and date, under ``section`` of
    ``results/<name>.json``.
    """
    show(f"{name}: {section}", rows)
    path = RESULTS / f"{name}.json"
    body = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"benchmark": name}
    body.setdefault("sections", {})[section] = {**conditions(), **(extra or {}), "rows": list(rows)}
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(body, indent=1, default=str, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
