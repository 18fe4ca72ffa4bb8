"""`python -m model recommend`: one session in, readable intents and items with reasons out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from model.recommender.loaded_model import LoadedModel, request_of

SHOWN_CHARACTERS = 60  # of a session or element in a message


class SessionError(ValueError):
    """A session that cannot be read; one line with the remedy."""


def read_session(text: str) -> list[str]:
    """Read the items of a session from the command line.

    Parameters
    ----------
    text : str
        Item ids, oldest first, separated by commas; or, beginning with ``[``, a JSON list of strings (for ids
        with commas).

    Returns
    -------
    list of str
        Whole numbers of a JSON list are taken as their text.

    Raises
    ------
    SessionError
        Neither of the two, an element that is no id, or no item at all.

    Examples
    --------
    >>> read_session("a, b"), read_session('["a,b", 7]')
    (['a', 'b'], ['a,b', '7'])
    """
    text = text.strip()
    if not text.startswith("["):
        items: list[Any] = [item.strip() for item in text.split(",") if item.strip()]
    else:
        try:
            items = json.loads(text)
        except ValueError as error:
            raise SessionError(
                f'--session {_short(text)} is no JSON list ({error}); give --session \'["ITEM","ITEM"]\' '
                "or 'ITEM,ITEM'"
            ) from None
    for place, item in enumerate(items, start=1):
        if (
            isinstance(item, bool)
            or not isinstance(item, str | int)
            or (isinstance(item, str) and not item.strip())
        ):
            shown = _short(json.dumps(item, ensure_ascii=False))
            raise SessionError(
                f"--session {_short(text)}: element {place}, {shown}, is no item id; give strings such as "
                '\'["ITEM","ITEM"]\''
            )
    if not items:
        raise SessionError(
            f"--session {_short(text)!r} names no item; give --session 'ITEM,ITEM', oldest first"
        )
    return [str(item) for item in items]


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


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
        ``items`` (item_id, title, score, reason, shares: source name to its part of the score), ``intents``
        (long and short: name, shown, text, items), ``source`` of the intents, ``unknown`` (ids the model does
        not know), ``model_version``.
    """
    catalogue = model.scorer.catalogue
    scored, intent = model.recommend([items], k)[0]
    intents: dict[str, dict[str, Any]] = {
        view: {"name": "", "shown": [], "text": "", "items": []} for view in ("long", "short")
    }
    for view, part in (("long", intent.long), ("short", intent.short)) if intent is not None else ():
        intents[view] = {
            "name": part.name,
            "shown": list(part.shown),
            "text": part.text,
            "items": list(part.items),
        }
    titles = [catalogue.titles[catalogue.index[item]] for item in scored.items]
    shares = model.scorer.shares(request_of(items, intent), scored.items)
    rows = [
        {"item_id": item, "title": title, "score": score, "reason": reason, "shares": share}
        for item, title, score, reason, share in zip(
            scored.items, titles, scored.scores, scored.reasons, shares, strict=True
        )
    ]
    unknown = [item for item in items if item not in catalogue.index]
    source = "none" if intent is None else intent.source
    return {
        "items": rows,
        "intents": intents,
        "unknown": unknown,
        "source": source,
        "model_version": model.version,
    }
