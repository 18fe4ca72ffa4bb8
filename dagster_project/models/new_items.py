"""Brings the items that the serving model has never met from the lake's tables to the file beside the models,
where consumer and HTTP side find them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from feature_repo.contract import tables as columns
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from model.data.lake import joined
from spark_jobs.lake.log import DeltaLog

if TYPE_CHECKING:
    from pathlib import Path

    from model.recommender import artifact, new_items
else:
    artifact = lazy("model.recommender.artifact")
    new_items = lazy("model.recommender.new_items")

# of the lake, the model folder and the file; the text of each names it and the remedy
ERRORS = (RuntimeError, ValueError, OSError)


def update(settings: Settings) -> dict[str, Any]:
    """Write what the promoted model does not know and could rank: items with a title and a vector of the
    model's encoder.

    Parameters
    ----------
    settings : Settings
        Where tables and models are.

    Returns
    -------
    dict
        ``version`` of the promoted model (empty without one), ``rows`` written, ``changed`` whether that is
        another set than before, ``left_out`` items whose vector is of another encoder.

    Raises
    ------
    LakeError, ArtifactError, NewItemsError
        A table or the promoted folder cannot be read; the file stays as it was.
    """
    folder = artifact.promoted_dir(settings.models_dir)
    found: dict[str, Any] = {
        "version": folder.name if folder else "",
        "rows": 0,
        "changed": False,
        "left_out": 0,
    }
    if folder is None or any(
        DeltaLog(settings.table(name)).version() < 0 for name in (columns.ITEMS, columns.ITEM_VECTORS)
    ):
        return found  # clicks alone: there is nothing to rank a new item by
    encoder = str(artifact.read_manifest(folder).get("encoder", ""))
    items, left_out = _unknown(settings, _known(folder), encoder)
    changed = new_items.write(settings.models_dir, new_items.NewItems(items, encoder))
    return {**found, "rows": len(items), "changed": changed, "left_out": left_out}


def _known(folder: Path) -> list[str]:
    try:
        return list(json.loads((folder / artifact.ITEMS).read_text(encoding="utf-8"))["item_ids"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise artifact.ArtifactError(
            f"model folder '{folder}': {artifact.ITEMS} cannot be read ({error}); copy the folder again"
        ) from None


def _unknown(settings: Settings, known: list[str], encoder: str) -> tuple[Any, int]:
    """Return the catalogue of unknown items with a vector of this encoder, and how many have one of
    another.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    new = ~pc.field("item_id").isin(pa.array(known, pa.string()))
    vectors = DeltaLog(settings.table(columns.ITEM_VECTORS)).read(
        ["item_id", "encoder", "vector"], filter=new
    )
    own = vectors.filter(pc.equal(vectors["encoder"], encoder)) if encoder else vectors
    items = DeltaLog(settings.table(columns.ITEMS)).read(["item_id", "title", "category"], filter=new)
    return joined(items, own), vectors.num_rows - own.num_rows
