"""Which items a model saw clicks on, read from its folder without loading the model."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from model.recommender.artifact import ITEMS, TENSORS


def warm_items(folder: Path) -> frozenset[str] | None:
    """Return the items with a click in training; None when the folder is no model any more.

    Parameters
    ----------
    folder : Path
        Of one model version.
    """
    try:
        with safe_open(str(folder / TENSORS), framework="np") as tensors:
            counts = tensors.get_tensor("counts").tolist()
        items = json.loads((folder / ITEMS).read_text(encoding="utf-8"))["item_ids"]
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    return frozenset(item for item, count in zip(items, counts, strict=False) if count)
