"""What sources are worth for items that nobody clicked, learned by hiding clicked ones. Changes no part and
no network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from model.data.sequences import Cases, Sequences
from model.data.splits import Dataset
from model.evaluate.choose import sample
from model.evaluate.judge import Seen
from model.mix import Part
from model.mix.pool import Pool, doubts, pool
from model.mix.weights import TEXT, TRUSTS, Trust

HIDDEN = 5  # one item in five is hidden
CASES = 3_000  # validation cases read, evenly spread
FEWEST = 30  # cases with a hidden target; fewer tell nothing
WARM_LOSS = 0.01  # of the worth of cases with other targets, against the mix that knows all items
Source = Callable[[Cases], np.ndarray]


def hidden_trust(
    dataset: Dataset,
    sources: Mapping[str, Source],
    parts: Mapping[str, Part],
    weights: Mapping[str, float],
    rule: Seen,
    network: Callable[[np.ndarray], Source] | None,
) -> Trust:
    """Choose how far sources are trusted on items without a click where validation itself has too few such
    targets.

    A fifth of the clicked items loses its clicks; parts are fitted anew without them. Chosen is what ranks
    these items best as targets, among what costs the other targets at most ``WARM_LOSS``.

    Parameters
    ----------
    dataset : Dataset
    sources : mapping
        Name to probabilities of cases, of all sources with weight, as they serve.
    parts : mapping
        The parts among them.
    weights : mapping
    rule : str
        ``removed`` or ``kept``.
    network : callable, optional
        Clicks of every item to the network as it would be without the clicks of items that have 0.

    Returns
    -------
    tuple of float
        (0, 0) where text has no weight or too few cases can be read.
    """
    names = [name for name in sources if weights[name] > 0]
    if not any(name in TEXT for name in names):
        return 0.0, 0.0
    counts = dataset.item_counts
    hidden = np.zeros(len(counts), dtype=bool)
    hidden[np.random.default_rng(0).permutation(len(counts))[: len(counts) // HIDDEN]] = True
    cases = sample(dataset.valid, CASES)
    aimed = hidden[cases.targets]
    if aimed.sum() < FEWEST or aimed.all() or not (without(dataset.train, hidden).lengths >= 2).any():
        return 0.0, 0.0
    small = replace(dataset, train=without(dataset.train, hidden))
    blind: dict[str, Source] = {name: part.refit(small).probabilities for name, part in parts.items()}
    if network is not None and "network" in names:
        blind["network"] = network(small.item_counts)
    doubt, share = doubts(small.item_counts), np.array([weights[name] for name in names])
    unseeing = {name: blind[name] for name in names}
    cold = pool(unseeing, cases.select(aimed), rule, doubt, TEXT)
    warm = pool(unseeing, cases.select(~aimed), rule, doubt, TEXT)
    whole = pool({name: sources[name] for name in names}, cases.select(~aimed), rule)
    return _chosen(cold, warm, share, (1.0 - WARM_LOSS) * float(whole.gains(share).sum()))


def _chosen(cold: Pool, warm: Pool, weights: np.ndarray, least: float) -> Trust:
    best, highest = (0.0, 0.0), -1.0
    for text in TRUSTS:
        for other in TRUSTS:
            if warm.gains(weights, (text, other)).sum() >= least:
                worth = float(cold.gains(weights, (text, other)).sum())
                if worth > highest:
                    best, highest = (text, other), worth
    return best


def without(sessions: Sequences, hidden: np.ndarray) -> Sequences:
    """Return the sessions without the clicks on some items; those that lose all are left out.

    Examples
    --------
    >>> [part.tolist() for part in without(Sequences.of([[0, 1], [1]]), np.array([False, True]))]
    [[0]]
    """
    keep = ~hidden[sessions.items]
    lengths = np.bincount(sessions.rows[keep], minlength=len(sessions))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    left = Sequences(
        sessions.session_ids, sessions.items[keep], offsets, sessions.times[keep], sessions.first_position
    )
    return left.select(left.lengths > 0)
