"""`python -m model recommend`: one session in, readable intents and items with reasons out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.loaded_model import LoadedModel, request_of


def answer(model: LoadedModel, items: Sequence[str], k: int) -> dict[str, Any]:
    """Answer one session.

    Parameters
    ----------
    model : LoadedModel
        The very object that consumer and HTTP side answer by.
    items : sequence of str
        Clicks, oldest first.
    k : int

    Returns
    -------
    dict
        ``items`` (item_id, title, score, reason, shares: source name to its part of the score), ``intents`` (long and short: text, items),
        ``source`` of the intents, ``unknown`` (ids the model does not know), ``model_version``.
    """
    catalogue = model.scorer.catalogue
    scored, intent = model.recommend([items], k)[0]
    intents: dict[str, dict[str, Any]] = {view: {"text": "", "items": []} for view in ("long", "short")}
    for view, part in (("long", intent.long), ("short", intent.short)) if intent is not None else ():
        intents[view] = {"text": part.text, "items": list(part.items)}
    titles = [catalogue.titles[catalogue.index[item]] for item in scored.items]
    shares = model.scorer.shares(request_of(items, intent), scored.items)
    rows = [
        {"item_id": item, "title": title, "score": score, "reason": reason, "shares": share}
        for item, title, score, reason, share in zip(scored.items, titles, scored.scores, scored.reasons, shares, strict=True)
    ]
    unknown = [item for item in items if item not in catalogue.index]
    source = "none" if intent is None else intent.source
    return {"items": rows, "intents": intents, "unknown": unknown, "source": source, "model_version": model.version}
