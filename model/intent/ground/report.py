"""What intents are worth on some data: shares, cosines and hit rates beside plain predictors. Pure numbers
in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from model.intent.ground.encoder import EncoderSource
from model.intent.ground.localiser import Localiser
from model.intent.ground.names import repeats_title

HIT_AT: Final = 20
# in the centred space two unrelated titles lie below 0.2; an answer below this names nothing of the catalogue
NO_MATCH_COSINE: Final = 0.35
BOOTSTRAP_SAMPLES: Final = 1_000


@dataclass(frozen=True)
class Case:
    """One session with an intent: its prefix, what came next, and the two views.

    Attributes
    ----------
    session_id : str
    items : tuple of str
        The prefix, oldest first.
    target : str
        The next click, which no source saw.
    source : str
    long_text, short_text : str
    long_items, short_items : tuple of str
        What the answers are grounded on.
    long_cosine, short_cosine : float
        With the nearest item.
    long, short : arrays, float32, shape (dim,)
        Intent vectors.
    cache_key : str
        Of the LLM's answer; empty without one.
    long_name, short_name : str
        What the views are called.
    long_shown, short_shown : tuple of str
        Items that stand for them.
    """

    session_id: str
    items: tuple[str, ...]
    target: str
    source: str
    long_text: str
    short_text: str
    long_items: tuple[str, ...]
    short_items: tuple[str, ...]
    long_cosine: float
    short_cosine: float
    long: NDArray[np.float32]
    short: NDArray[np.float32]
    cache_key: str = ""
    long_name: str = ""
    short_name: str = ""
    long_shown: tuple[str, ...] = ()
    short_shown: tuple[str, ...] = ()


def shares(cases: Sequence[Case], titles: Callable[[str], str]) -> dict[str, float]:
    """Return how answers relate to the catalogue and to their session, as shares of all views.

    Returns
    -------
    dict
        ``exact_title`` (the text is a title's), ``copies_session`` (nearest item was clicked in the session),
        ``long_equals_short``, ``no_match`` (nearest item's cosine below ``NO_MATCH_COSINE``), ``named``,
        ``name_repeats`` (the name holds a clicked title), ``names_differ`` (long from short, of all cases),
        ``shown_outside`` (of the shown items, not clicked in the session); empty without cases.
    """
    if not cases:
        return {}
    views = [
        (case, getattr(case, f"{view}_text"), getattr(case, f"{view}_items"), getattr(case, f"{view}_cosine"))
        for case in cases
        for view in ("long", "short")
    ]
    total = len(views)
    return {
        "exact_title": sum(bool(items) and _same(text, titles(items[0])) for _, text, items, _ in views)
        / total,
        "copies_session": sum(bool(items) and items[0] in case.items for case, _, items, _ in views) / total,
        "long_equals_short": sum(_same(case.long_text, case.short_text) for case in cases) / len(cases),
        "no_match": sum(cosine < NO_MATCH_COSINE for *_, cosine in views) / total,
        **_of_names(cases, titles),
    }


def _of_names(cases: Sequence[Case], titles: Callable[[str], str]) -> dict[str, float]:
    views = [
        (case, getattr(case, f"{view}_name"), getattr(case, f"{view}_shown"))
        for case in cases
        for view in ("long", "short")
    ]
    shown = sum(len(items) for *_, items in views)
    outside = sum(len(set(items) - set(case.items)) for case, _, items in views)
    return {
        "named": sum(bool(name) for _, name, _ in views) / len(views),
        "name_repeats": sum(repeats_title(name, list(map(titles, case.items))) for case, name, _ in views)
        / len(views),
        "names_differ": sum(case.long_name != case.short_name for case in cases) / len(cases),
        "shown_outside": outside / max(shown, 1),
    }


def _same(first: str, second: str) -> bool:
    return first.casefold().strip(" .\"'") == second.casefold().strip(" .\"'")


def cosine_quantiles(cases: Sequence[Case]) -> dict[str, float]:
    """Return the 5, 25, 50, 75 and 95 % quantiles of the cosines of answers with their nearest item; empty
    without cases.
    """
    values = [cosine for case in cases for cosine in (case.long_cosine, case.short_cosine)]
    return (
        {}
        if not values
        else {f"p{share}": float(np.percentile(values, share)) for share in (5, 25, 50, 75, 95)}
    )


def hit_table(
    cases: Sequence[Case],
    localiser: Localiser,
    popularity: Sequence[str],
    following: Callable[[str], Sequence[str]],
    *,
    half_life: float,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Compare what finds the next click, items of the prefix left out of every list.

    Parameters
    ----------
    cases : sequence of Case
        Of one source.
    localiser : Localiser
        The space of the intents.
    popularity : sequence of str
        Items, most clicked first; counted without the cases' targets.
    following : callable
        Item to the items that followed it most often (co-occurrence), most often first.
    half_life : float
        Of the recency-weighted mean of titles.
    seed : int
        Of the random and shuffled controls and the bootstrap.

    Returns
    -------
    list of dict
        ``predictor``, ``hit@20``, ``low``, ``high`` (95 % bootstrap interval), ``cases``.
    """
    if not cases:
        return []
    chooser = np.random.default_rng(seed)
    shuffled = _derangement(len(cases), chooser)
    long, short = np.stack([case.long for case in cases]), np.stack([case.short for case in cases])
    prefixes = [case.items for case in cases]
    mean = EncoderSource(localiser, half_life).vectors(prefixes)
    last = localiser.vectors_of([case.items[-1] for case in cases])
    everything = list(localiser.item_ids)
    lists: dict[str, list[Sequence[str]]] = {
        "random": [_some(everything, chooser) for _ in cases],
        "popularity": [popularity] * len(cases),
        "last item's title": _near(localiser, last),
        "mean of titles": _near(localiser, mean[1]),
        "co-occurrence": [following(case.items[-1]) for case in cases],
        "intent, long": _near(localiser, long),
        "intent, short": _near(localiser, short),
        "shuffled intents, short": _near(localiser, short[shuffled]),
    }
    return [{"predictor": name, **_rate(cases, found, seed)} for name, found in lists.items()]


def _some(items: list[str], chooser: np.random.Generator) -> Sequence[str]:
    return [items[place] for place in chooser.permutation(len(items))[: HIT_AT + 100]]


def _near(localiser: Localiser, vectors: NDArray[np.float32]) -> list[Sequence[str]]:
    return [items for items, _ in localiser.nearest(vectors, HIT_AT + 60)]


def _derangement(count: int, chooser: np.random.Generator) -> NDArray[np.int64]:
    """Give every case another case's intent: a permutation turned by one, so that none keeps its own."""
    order = chooser.permutation(count)
    result = np.empty(count, np.int64)
    result[order] = np.roll(order, 1)
    return result


def _rate(cases: Sequence[Case], lists: Sequence[Sequence[str]], seed: int) -> dict[str, Any]:
    hits = np.zeros(len(cases))
    for place, (case, found) in enumerate(zip(cases, lists, strict=True)):
        seen = set(case.items) - {case.target}
        fresh = [item for item in found if item not in seen][:HIT_AT]
        hits[place] = case.target in fresh
    low, high = interval(hits, seed)
    return {f"hit@{HIT_AT}": float(hits.mean()), "low": low, "high": high, "cases": len(cases)}


def interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean."""
    drawn = np.random.default_rng(seed).integers(0, len(values), (BOOTSTRAP_SAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(1), [2.5, 97.5])
    return float(low), float(high)


def by_budget(
    cases: Sequence[Case], localiser: Localiser, *, half_life: float, steps: int = 4
) -> list[dict[str, Any]]:
    """Return coverage and marginal value of the budget.

    Parameters
    ----------
    cases : sequence of Case
        LLM intents, the session most worth a call first.
    localiser : Localiser
        The space of the intents.
    half_life : float
        Of the recency-weighted mean of titles.
    steps : int
        Slices of the budget.

    Returns
    -------
    list of dict
        A slice each: ``calls`` up to its end, ``hit@20`` of the slice's short intents, and of the mean of
        titles for the same sessions.
    """
    rows: list[dict[str, Any]] = []
    encoder = EncoderSource(localiser, half_life)
    edges = np.linspace(0, len(cases), steps + 1).astype(int)
    for start, end in pairwise(edges.tolist()):
        part = cases[start:end]
        if not part:
            continue
        mean = encoder.vectors([case.items for case in part])[1]
        intents = _rate(part, _near(localiser, np.stack([case.short for case in part])), 0)
        plain = _rate(part, _near(localiser, mean), 0)
        rows.append(
            {
                "calls": int(end),
                "intents": intents[f"hit@{HIT_AT}"],
                "mean_of_titles": plain[f"hit@{HIT_AT}"],
                "low": intents["low"],
                "high": intents["high"],
            }
        )
    return rows
