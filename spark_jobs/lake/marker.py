"""What a lake knows of its dataset: whose clicks it holds, what names a session, whether the split is the
user's own. Needs no Spark.
"""

from __future__ import annotations

import json
from typing import Any

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings

FILE = "dataset.json"  # beside the tables


def read_marker(settings: Settings) -> dict[str, Any]:
    """Return ``dataset``, ``session_key`` and ``own_split``, as the latest ingest of files wrote them; empty
    before the first one.
    """
    file = settings.lake / FILE
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return kept


def write_marker(settings: Settings, dataset: str, session_key: str, own_split: bool) -> None:
    """Write what a lake knows of its dataset, when all of it is in the tables."""
    body = {"dataset": dataset, "session_key": session_key, "own_split": own_split}
    replace_file(settings.lake / FILE, json.dumps(body))


def split_rule(settings: Settings) -> dict[str, bool]:
    """Return what a job that cuts or folds sessions keeps among its rules: with split files of the user's
    own, no session crosses their border.
    """
    return {"own_split": True} if read_marker(settings).get("own_split") else {}
