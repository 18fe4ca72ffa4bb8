"""Intent vectors for the studies: what an intent source may give, and the controls that show whether its
content matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from model.data.recency import SHORT_HALF_LIFE, Clicked, HalfLives, recency_mean
from model.data.sequences import Cases
from model.data.splits import Dataset
from model.rankers.title_knn import reduced, unit

LARGEST_R = 5  # items an intent is grounded on; the paper shows 0 to 5
STORED = "stored (of the dataset)"
ORACLE_NOISE = 1.0  # norm of the noise beside the target's unit vector: a cosine of about .7 with the truth
Views = tuple[np.ndarray | None, np.ndarray | None]
Variant = Callable[[Cases], Views]


def recent(titles: np.ndarray, half_life: float) -> Callable[[Cases], np.ndarray]:
    """Return a function that gives the recency-weighted mean title of each prefix, unit rows."""
    table = torch.from_numpy(titles)
    return lambda cases: recency_mean(Clicked.of(cases.prefixes), half_life, table)


def grounded(queries: np.ndarray, titles: np.ndarray, top_r: int) -> np.ndarray:
    """Replace each query by its nearest titles, weighted by their cosines (LLM4SBR, eq. 3 to 5).

    Parameters
    ----------
    queries : ndarray, shape (cases, dim)
        Unit rows.
    titles : ndarray, shape (items, dim)
        Unit rows.
    top_r : int
        0 = the query itself.

    Returns
    -------
    ndarray float32, shape (cases, dim)
        Unit rows.
    """
    if top_r == 0:
        return queries
    found = np.zeros_like(queries)
    for start in range(0, len(queries), 512):
        cosines = queries[start : start + 512] @ titles.T
        best = np.argpartition(-cosines, min(top_r, cosines.shape[1]) - 1, axis=1)[:, :top_r]
        values = np.take_along_axis(cosines, best, axis=1)
        found[start : start + 512] = np.einsum("cr,crd->cd", values, titles[best])
    return unit(found)


def sources(
    dataset: Dataset, seed: int = 0, stored: str = STORED, half_life: float = SHORT_HALF_LIFE
) -> dict[str, Variant]:
    """Name the intent sources and controls of the study.

    Parameters
    ----------
    dataset : Dataset
        With text vectors; intents of an LLM, say, come in where validation and test cases carry them, with a
        control of their own.
    seed : int
        Of the random controls.
    stored : str
        Name of the intents that the cases carry; empty = they are the encoder's, which are here anyway.
    half_life : float
        ``intents.recency_half_life``.

    Returns
    -------
    dict
        Name to a function of cases that gives the long and the short vectors.
    """
    titles, half_lives = _titles(dataset), HalfLives.of(half_life)
    long, short = recent(titles, half_lives.long), recent(titles, half_lives.short)
    mean = recent(titles, np.inf)

    def shuffled(cases: Cases) -> Views:
        order = np.random.default_rng(seed).permutation(len(cases))
        return long(cases)[order], short(cases)[order]

    def noise(cases: Cases) -> Views:
        rng = np.random.default_rng(seed)
        return _random(rng, cases, titles), _random(rng, cases, titles)

    def oracle(cases: Cases) -> Views:
        found = unit(
            titles[cases.targets] + ORACLE_NOISE * _random(np.random.default_rng(seed), cases, titles)
        )
        return found, found

    found: dict[str, Variant] = {
        "encoder (recency-weighted titles)": lambda cases: (long(cases), short(cases)),
        "mean of titles, no order": lambda cases: (mean(cases), mean(cases)),
        "none": lambda cases: (None, None),
        "control: intents of other sessions": shuffled,
        "control: random vectors": noise,
        "oracle: the target's title with noise": oracle,
    }
    if (
        stored
        and dataset.valid.long is not None
        and dataset.valid.long.any()
        and dataset.test.long is not None
    ):
        found[stored] = lambda cases: (cases.long, cases.short)
        found[f"control: {stored}, of other sessions"] = lambda cases: _reordered(cases, seed)
    return found


def views(dataset: Dataset, half_life: float = SHORT_HALF_LIFE) -> dict[str, Variant]:
    """Name the views of the encoder: one, both, and a neutral one. Nothing is asked here;
    ``model.study.answers`` has the LLM's, with its neutral prompt.
    """
    titles, half_lives = _titles(dataset), HalfLives.of(half_life)
    long, short, neutral = (
        recent(titles, half_lives.long),
        recent(titles, half_lives.short),
        recent(titles, np.inf),
    )
    return {
        "both views": lambda cases: (long(cases), short(cases)),
        "long view alone": lambda cases: (long(cases), None),
        "short view alone": lambda cases: (None, short(cases)),
        "neutral: mean of titles (no prompt; source is the encoder)": lambda cases: (neutral(cases), None),
    }


def groundings(
    dataset: Dataset, largest: int = LARGEST_R, half_life: float = SHORT_HALF_LIFE
) -> dict[str, Variant]:
    """Name the number of items that the encoder's intent is grounded on, r = 0 to ``largest``."""
    titles, half_lives = _titles(dataset), HalfLives.of(half_life)
    long, short = recent(titles, half_lives.long), recent(titles, half_lives.short)

    def of(top_r: int) -> Variant:
        return lambda cases: (grounded(long(cases), titles, top_r), grounded(short(cases), titles, top_r))

    return {f"r = {top_r}": of(top_r) for top_r in range(largest + 1)}


def attached(dataset: Dataset, variant: Variant) -> Dataset:
    """Return the dataset with a variant's intents on its validation and test cases."""
    return replace(
        dataset,
        valid=dataset.valid.with_intents(*variant(dataset.valid)),
        test=dataset.test.with_intents(*variant(dataset.test)),
    )


def _titles(dataset: Dataset) -> np.ndarray:
    if dataset.catalogue.vectors is None:
        raise ValueError(
            f"dataset '{dataset.name}' has no titles, so there are no intents to study; give items.* with "
            "titles"
        )
    return reduced(dataset.catalogue.vectors)


def _reordered(cases: Cases, seed: int) -> Views:
    order = np.random.default_rng(seed).permutation(len(cases))
    return None if cases.long is None else cases.long[order], None if cases.short is None else cases.short[
        order
    ]


def _random(rng: np.random.Generator, cases: Cases, titles: np.ndarray) -> np.ndarray:
    return unit(rng.normal(size=(len(cases), titles.shape[1])).astype(np.float32))
