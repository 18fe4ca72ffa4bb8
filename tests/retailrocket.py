"""A made-up log of RetailRocket's shape: its header, its types of events, its rates, none of its rows."""

from __future__ import annotations

import random
from pathlib import Path

HEADER = "timestamp,visitorid,event,itemid,transactionid"
VISITORS, ITEMS = 160, 60
START_MS = 1_433_221_332_117  # the published log begins on 2 June 2015


def write_log(folder: Path, rows: int = 2_000, seed: int = 3) -> Path:
    """Write ``clicks.csv`` of a shop whose visitors walk through neighbouring items; about one view in
    twelve is followed by a cart, one cart in three by a purchase, as the published log's rates are.

    Returns
    -------
    Path
        The folder.
    """
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    made: list[str] = []
    clock = [START_MS + draw.randrange(20 * 86_400_000) for _ in range(VISITORS)]
    at = [draw.randrange(ITEMS) for _ in range(VISITORS)]
    bought = 0
    while len(made) < rows:
        visitor = draw.randrange(VISITORS)
        clock[visitor] += draw.choice((20_000, 60_000, 60_000, 6 * 3_600_000))
        at[visitor] = (at[visitor] + draw.choice((1, 1, 1, 2, 7))) % ITEMS
        events = [("view", "")]
        if draw.random() < 1 / 12:
            events.append(("addtocart", ""))
            if draw.random() < 1 / 3:
                bought += 1
                events.append(("transaction", str(bought)))
        for kind, transaction in events:
            made.append(f"{clock[visitor]},{visitor},{kind},{at[visitor]},{transaction}")
            clock[visitor] += 5_000
    (folder / "clicks.csv").write_text("\n".join([HEADER, *made[:rows]]) + "\n")
    return folder
