"""Answers of an LLM as intents: each text grounded on items of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.intent.ground.localiser import Localiser
from model.intent.types import SessionIntent, ViewIntent

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def ground_answers(
    localiser: Localiser, encode: Encode, source: str, rows: Sequence[Mapping[str, Any]]
) -> list[SessionIntent]:
    """Ground answers on the catalogue.

    Parameters
    ----------
    localiser : Localiser
        The catalogue and its space.
    encode : callable
        Texts to raw vectors of the encoder whose vectors the localiser was made of; called once.
    source : str
        ``llm`` or ``endpoint``.
    rows : sequence of mapping
        ``long_text``, ``short_text``, ``cache_key``.

    Returns
    -------
    list of SessionIntent
        One a row.
    """
    texts = [row["long_text"] for row in rows] + [row["short_text"] for row in rows]
    grounded = localiser.ground(encode(texts)) if texts else []
    views = [ViewIntent(text, *found) for text, found in zip(texts, grounded, strict=True)]
    pairs = zip(views[: len(rows)], views[len(rows) :], rows, strict=True)
    return [SessionIntent(long, short, source, row["cache_key"]) for long, short, row in pairs]
