"""What the lake knows of availability and attributes: as the file that scoring processes begin with, and as
it was at any moment. Needs no Spark.
"""

from __future__ import annotations

import datetime
import json
import logging

import pyarrow.compute as pc

from feature_repo.contract.items.fold import ItemFold, Placed
from feature_repo.contract.items.messages import ItemUpdate
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import ITEM_UPDATES, ITEMS
from model.recommender import stock
from spark_jobs.lake.log import DeltaLog

log = logging.getLogger("intentstore.ingest")


def publish_stock(settings: Settings) -> bool:
    """Write the file out of the table `items`; gives whether it says something else now."""
    table = DeltaLog(settings.table(ITEMS))
    there = set(table.stored_schema())
    names = [name for name in ("item_id", "available", "attributes") if name in there]
    rows = table.read(names).to_pylist()
    gone = [row["item_id"] for row in rows if row.get("available") is False]
    attributes = {row["item_id"]: json.loads(row["attributes"]) for row in rows if row.get("attributes")}
    changed = stock.write(settings, gone, attributes)
    if changed:
        log.info("ingest: %s items are not available; answers follow", f"{len(gone):,}")
    return changed


def unavailable_at(settings: Settings, moment: datetime.datetime) -> set[str]:
    """Give the items that the topic had said to be unavailable at a moment, out of the history.

    Parameters
    ----------
    settings : Settings
        The home whose lake it is.
    moment : datetime.datetime
        With a zone.
    """
    known = DeltaLog(settings.table(ITEM_UPDATES)).read(
        ["item_id", "partition", "offset", "arrival_time", "available"],
        filter=pc.field("arrival_time") <= pc.scalar(moment),
    )
    fold, times = ItemFold(), known["arrival_time"].cast("int64").to_pylist()
    for row, time_us in zip(known.drop_columns("arrival_time").to_pylist(), times, strict=True):
        update = ItemUpdate(row["item_id"], available=row["available"])
        fold.apply(Placed(row["partition"], row["offset"], time_us, update))
    return {item for item, update in fold.now().items.items() if not update.available}
