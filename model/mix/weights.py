"""Choosing mixing weights on validation, out of fold: candidates are pooled once, then weights are searched
on the pool.

Stacking with weights on held-out predictions (Wolpert, 1992; Breiman, 1996), shrunk towards the best single
source: how much is chosen by cross-fitting, sessions as units. A mix that is not better out of fold than its
best source is not used: that source serves alone. Network and intents take part only where the mix with them
is proven better out of fold than the mix without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.mix.pool import Pool

FOLDS = 4
FIRST_STEP, LAST_STEP = 1.0, 0.2  # weights are multiplied by e^step or e^-step
SMALLEST = 0.01  # a weight at 0 is tried from here
# of the worth, whose parts add up to about 0.3 on hard data: below it a part costs time and proves nothing
LEAST_GAIN = 1e-3
# Neighbours vote session by session, a large share of a request's time where they take part: they must pay
# for it.
DEAR_GAIN = {"neighbours": 3e-3}
# shares of the weight that may go to the best single source; 1 is that source alone
SHRINK = (0.0, 0.2, 0.4, 0.6, 0.8)
FEWEST_COLD = 30  # targets without a click; fewer tell nothing of such items
ONLY_PROVEN = 1.64  # standard errors: 95 % of one side
# Taken into the mix only where it is proven out of fold that the mix without them is worse: what is trained
# or inferred is worth its time, and its place in an explanation, where it adds to what was counted. Beyond
# how many standard errors: the network's epoch was chosen on the very same cases, and the best of ten epochs
# gains by chance alone; 95 % of one side for all ten together (Bonferroni).
PROVEN_ONLY = {"network": 2.58, "intents": ONLY_PROVEN}
TEXT = ("titles", "words", "categories", "intents")  # they know an item by its title, clicked or not
# logarithms of what a source counts times its weight for an item without a click
TRUSTS = (-4.0, -2.0, -1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
Trust = tuple[float, float]  # of the text sources, and of the others


@dataclass(frozen=True)
class Mix:
    """What was chosen.

    Attributes
    ----------
    weights : dict
        Source to weight; they sum to 1.
    trust : tuple of float
        Logarithms of the factors of text sources and of other sources for items without a click; (0, 0) =
        none.
    shrunk : float
        Share that the best single source got on top; 1 = it serves alone.
    gained : float
        Worth out of fold, minus that of the best single source out of fold.
    """

    weights: dict[str, float]
    trust: Trust = (0.0, 0.0)
    shrunk: float = 0.0
    gained: float = 0.0


def search(pool: Pool) -> Mix:
    """Choose weights and trust; see the module.

    Parameters
    ----------
    pool : Pool

    Returns
    -------
    Mix
        `unguided` where no validation case was answered by any source.
    """
    if not pool.values.shape[1]:
        return unguided(pool.names)
    found, none = _crossed(pool), dict.fromkeys(pool.names, 0.0)
    for name, errors in PROVEN_ONLY.items():
        if found.mix.weights.get(name, 0.0) > 0 and len(pool.names) > 1:
            fewer = pool.without(name)
            rest = _crossed(fewer)
            if proven(found.held - rest.held, pool.sessions, errors):
                continue
            pool = fewer
            found = rest
    return replace(found.mix, weights=none | found.mix.weights)


def unguided(names: Sequence[str]) -> Mix:
    """Return what is used where no validation case says anything: all sources alike, so that whichever knows
    something answers, and those that must be proven not at all.

    Examples
    --------
    >>> unguided(["network", "popular", "words", "intents"]).weights
    {'network': 0.0, 'popular': 0.5, 'words': 0.5, 'intents': 0.0}
    """
    taking_part = [name for name in names if name not in PROVEN_ONLY] or list(names)
    return Mix({name: round(1.0 / len(taking_part), 4) if name in taking_part else 0.0 for name in names})


@dataclass(frozen=True)
class Crossed:
    """A mix, and what it adds to the worth of each found case out of fold, shape (found cases,)."""

    mix: Mix
    held: np.ndarray


def _crossed(pool: Pool) -> Crossed:
    """Choose weights on all cases, and by cross-fitting how much of them goes to the best single source."""
    whole = _fit(pool)
    if len(pool.names) == 1:
        return Crossed(Mix(_named(pool, whole.weights), whole.trust), pool.gains(whole.weights))
    single = np.zeros(pool.values.shape[1])
    mixes = {share: single.copy() for share in SHRINK}
    for rest, held, places in pool.folds(FOLDS):
        one = _fit(rest)
        single[places] = held.gains(one.single)
        for share, found in mixes.items():
            found[places] = held.gains(one.shrunk(share), one.trust)
    best = max(SHRINK, key=lambda share: mixes[share].sum())
    gained = float(mixes[best].sum() - single.sum()) / max(pool.cases, 1)
    if gained <= 0:
        return Crossed(Mix(_named(pool, whole.single), (0.0, 0.0), 1.0, 0.0), single)
    return Crossed(Mix(_named(pool, whole.shrunk(best)), whole.trust, best, gained), mixes[best])


@dataclass(frozen=True)
class Fitted:
    """Weights found on some cases, and the best single source there."""

    weights: np.ndarray
    single: np.ndarray
    trust: Trust

    def shrunk(self, share: float) -> np.ndarray:
        """Return the weights with a share of all given to the best single source."""
        return np.asarray((1.0 - share) * self.weights + share * self.single)


def _fit(pool: Pool) -> Fitted:
    count = len(pool.names)
    alone = np.array([pool.gains(row).sum() for row in np.eye(count)]) / max(pool.cases, 1)
    single = np.eye(count)[int(alone.argmax())]
    if count == 1:
        return Fitted(single, single, (0.0, 0.0))
    starts = [np.full(count, 1.0 / count), 0.5 * single + 0.5 / count]
    weights = max((climbed(pool, start) for start in starts), key=pool.worth)
    trust = trusted(pool, weights)
    if trust != (0.0, 0.0):
        pool = pool.with_trust(trust)
        weights = climbed(pool, weights)
    while (fewer := _without_least(pool, weights)) is not None:
        weights = climbed(pool, fewer)
    return Fitted(weights, single, trust)


def climbed(pool: Pool, weights: np.ndarray) -> np.ndarray:
    """Multiply one weight after the other while the worth rises, in ever smaller steps; weights of 0 stay 0.
    They sum to 1.
    """
    weights = weights.astype(np.float64)
    mixed = pool.mixed(weights)
    best, step = pool.worth_of(mixed), FIRST_STEP
    while step > LAST_STEP:
        moved = False
        for place in np.flatnonzero(weights):
            for factor in (np.exp(step), np.exp(-step)):
                value = max(weights[place], SMALLEST * weights.sum()) * factor
                # ranks do not care what the weights sum to
                trial = mixed + np.float32(value - weights[place]) * pool.values[place]
                worth = pool.worth_of(trial)
                if worth > best:
                    best, mixed, moved = worth, trial, True
                    weights[place] = value
        weights, mixed = weights / weights.sum(), mixed / np.float32(weights.sum())
        step = step if moved else step / 2
    return np.asarray(weights)


def trusted(pool: Pool, weights: np.ndarray) -> Trust:
    """Find the factors for items with few or no clicks with the highest worth; none unless the gain is
    proven.
    """
    if not pool.text.any() or int((pool.doubt[:, 0] == 1).sum()) < FEWEST_COLD:
        return 0.0, 0.0
    best: Trust = (0.0, 0.0)
    plain = highest = pool.gains(weights)
    for _ in range(2):
        for side in (0, 1):
            for value in TRUSTS:
                tried = (value, best[1]) if side == 0 else (best[0], value)
                found = pool.gains(weights, tried)
                if found.sum() > highest.sum():
                    best, highest = tried, found
    return best if proven(highest - plain, pool.sessions) else (0.0, 0.0)


def natural(clicks: np.ndarray) -> bool:
    """Whether validation targets with such numbers of training clicks tell by themselves what items without a
    click are worth.
    """
    return int((clicks == 0).sum()) >= FEWEST_COLD


def proven(gains: np.ndarray, sessions: np.ndarray, errors: float = ONLY_PROVEN) -> bool:
    """Whether differences of cases are above 0 beyond so many standard errors, with sessions as units."""
    if not len(gains):
        return False
    sums = np.bincount(np.unique(sessions, return_inverse=True)[1], gains)
    spread = float(np.sqrt((sums**2).sum()))
    return bool(sums.sum() > errors * spread)


def _without_least(pool: Pool, weights: np.ndarray) -> np.ndarray | None:
    """Drop the part that is worth its time least, if it is not worth it; None where all are."""
    best, least = pool.worth(weights), 0.0
    found = None
    for place in np.flatnonzero(weights):
        rest = weights.copy()
        rest[place] = 0.0
        if rest.sum() > 0:
            rest /= rest.sum()
            surplus = pool.worth(rest) - best + DEAR_GAIN.get(pool.names[place], LEAST_GAIN)
            if surplus > least:
                least, found = surplus, rest
    return found


def _named(pool: Pool, weights: np.ndarray) -> dict[str, float]:
    return {name: round(float(weight), 4) for name, weight in zip(pool.names, weights, strict=True)}


def named(weights: Mapping[str, float]) -> str:
    """Return weights in words, largest first, those of 0 left out."""
    return ", ".join(
        f"{name} {weight:.2f}"
        for name, weight in sorted(weights.items(), key=lambda pair: -pair[1])
        if weight
    )
