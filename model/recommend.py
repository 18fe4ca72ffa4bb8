"""`python -m model recommend`: one session in, readable intents and items with reasons out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model.scorer import Scorer, ScoreRequest


def answer(scorer: Scorer, items: Sequence[str], k: int) -> dict[str, Any]:
    """Answer one session.

    Parameters
    ----------
    scorer : Scorer
    items : sequence of str
        Clicks, oldest first.
    k : int

    Returns
    -------
    dict
        ``items`` (item_id, title, score, reason, shares: source name to its part of the score), ``intents`` (long and short: text, items),
        ``unknown`` (ids the model does not know), ``model_version``.
    """
    intents: dict[str, dict[str, Any]] = {view: {"text": "", "items": []} for view in ("long", "short")}
    request = ScoreRequest(items)
    catalogue = scorer.catalogue
    if catalogue.vectors is not None and catalogue.known(items):
        from model.intent.encoder_source import EncoderSource
        from model.intent.locate import Localiser

        localiser = Localiser(catalogue.item_ids, catalogue.titles, catalogue.vectors)
        found = EncoderSource(localiser).infer([list(items)])[0]
        for view, intent in (("long", found.long), ("short", found.short)):
            intents[view] = {"text": intent.text, "items": list(intent.items)}
        request = ScoreRequest(items, found.long.vector, found.short.vector)
    scored = scorer.score([request], k)[0]
    titles = [catalogue.titles[catalogue.index[item]] for item in scored.items]
    shares = scorer.shares(request, scored.items)
    rows = [
        {"item_id": item, "title": title, "score": score, "reason": reason, "shares": share}
        for item, title, score, reason, share in zip(scored.items, titles, scored.scores, scored.reasons, shares, strict=True)
    ]
    unknown = [item for item in items if item not in catalogue.index]
    return {"items": rows, "intents": intents, "unknown": unknown, "model_version": scorer.version}
