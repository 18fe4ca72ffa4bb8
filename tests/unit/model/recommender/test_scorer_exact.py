"""Answers of random mixes equal the formulas in double precision; a batch equals its sessions one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from model.config import make_config
from model.data.catalogue import Catalogue
from model.data.sequences import Sequences, without_targets
from model.mix import KINDS
from model.mix.counts import Neighbours, Transitions
from model.mix.hybrid import NETWORK, Hybrid
from model.mix.pairs import Cosines, Items
from model.mix.part import Part
from model.mix.popular import Popular
from model.mix.repeats import Repeats
from model.rankers import tables
from model.rankers.ease import Ease
from model.rankers.markov import DecayedMarkov
from model.rankers.popularity import Popularity
from model.rankers.session_knn import STAN, SessionKnn
from model.rankers.title_knn import SHARPNESS
from model.recommender.recommender import POPULAR, Scorer, ScoreRequest
from model.recommender.train import train

ITEMS = synthetic.ITEMS


@pytest.fixture(scope="module")
def base() -> Scorer:
    config = make_config({"dim": 8, "epochs": 1, "hybrid": False, "max_length": 6})
    return Scorer.of(train(synthetic.dataset(), config))


def parts_of(random: np.random.Generator, catalogue: Catalogue) -> dict[str, Part]:
    """Every kind of source with random numbers."""

    def matrix(density: float) -> sparse.csr_matrix:
        return sparse.random(ITEMS, ITEMS, density, "csr", np.float32, random)

    train_sessions = Sequences.of(
        [random.integers(0, ITEMS, random.integers(1, 7)).tolist() for _ in range(30)]
    )
    knn = SessionKnn.index(
        train_sessions, ITEMS, replace(STAN, neighbours=int(random.integers(1, 40))), "kNN"
    )
    cold = np.flatnonzero(random.random(ITEMS) < 0.2)
    weights = random.normal(size=(ITEMS, ITEMS)).astype(np.float32)
    found: dict[str, Part] = {
        "transitions": Transitions(DecayedMarkov(matrix(0.1), 0.6), cold=cold),
        "neighbours": Neighbours(knn),
        "cosines": Cosines(DecayedMarkov(matrix(0.3), 0.9), {}),
        "items": Items(Ease(weights, 0.8)),
        "repeats": Repeats(
            ITEMS, random.random((50, 3)).astype(np.float32), random.random((5, 4)).astype(np.float32)
        ),
        "popular": Popular(Popularity(random.integers(0, 9, ITEMS).astype(np.float32)), 1.0),
    }
    for name in ("titles", "words", "intents"):
        arrays = {"decay": np.array([0.8]), "short_share": np.array([0.3])}
        found[name] = KINDS[name].of(arrays, catalogue)
    return found


def mix_of(base: Scorer, seed: int) -> Scorer:
    random = np.random.default_rng(seed)
    vectors = synthetic.vectors() + random.normal(size=(ITEMS, synthetic.TEXT_DIM)).astype(np.float32)
    vectors[random.random(ITEMS) < 0.2] = 0.0  # without a title
    titles = [f"thing {item % 7} {item % 3}" if vectors[item].any() else "" for item in range(ITEMS)]
    catalogue = Catalogue(base.item_ids, titles, [""] * ITEMS, vectors.astype(np.float32))
    parts = parts_of(random, catalogue)
    chosen = [name for name in parts if random.random() < 0.6] or ["words"]
    weights = {NETWORK: 0.3, **{name: float(random.random()) + 0.01 for name in chosen}}
    counts = random.integers(0, 6, ITEMS)
    trust = ((0.0, 0.0), (2.0, -1.0))[int(random.integers(2))]
    hybrid = Hybrid(weights, {name: parts[name] for name in chosen}, counts, trust)
    return replace(base, catalogue=catalogue, hybrid=hybrid, without_seen=bool(random.integers(2)))


def shares(row: np.ndarray) -> np.ndarray:
    return row / row.sum() if row.sum() > 0 else np.zeros_like(row)


def sharpened(cosines: np.ndarray, named: np.ndarray) -> np.ndarray:
    return shares(np.exp(SHARPNESS * cosines) * named)


def plain(scorer: Scorer, items: list[int], long: np.ndarray, short: np.ndarray) -> np.ndarray:
    """Scores of one session by the formulas, in double precision."""
    hybrid = scorer.hybrid
    assert hybrid is not None
    items = items[-50:]
    now = replace(Sequences.of([items]), times=np.zeros(len(items), dtype=np.int64))
    cases = without_targets(now, long[None], short[None])
    total = {False: np.zeros(ITEMS), True: np.zeros(ITEMS)}

    def decayed(table: np.ndarray, decay: float) -> np.ndarray:
        return sum(decay**age * table[item].astype(float) for age, item in enumerate(reversed(items)))

    for name, weight in hybrid.weights.items():
        part = hybrid.parts.get(name)
        if name == NETWORK:
            row = scorer.network.probabilities(cases)[0].astype(float)
        elif name in ("transitions", "cosines"):
            row = shares(decayed(part.ranker.transitions.toarray(), part.ranker.query_decay))
        elif name == "items":
            row = shares(np.maximum(decayed(part.ranker.weights, 0.8), 0.0))
        elif name == "popular":
            row = part.ranker.counts / part.ranker.counts.sum()
        elif name == "repeats":
            row = np.zeros(ITEMS)
            for item in set(items):
                lag = min(items[::-1].index(item), 49)
                row[item] = part.rates[lag, min(items.count(item), 3) - 1]
            share = (len(items) - len(set(items))) / max(len(items) - 1, 1)
            mood = part.moods[
                np.searchsorted([1, 3, 6, 12], len(items)), np.searchsorted([0.0, 0.2, 0.5], share)
            ]
            row = shares(row) * mood
        elif name == "neighbours":
            row = shares(part.ranker.scores(cases)[0].astype(float))
        elif name == "intents":
            views = [view / max(np.linalg.norm(view), 1e-12) for view in (long, short)]
            query = 0.7 * views[0] + 0.3 * views[1]
            named = part.vectors.any(axis=1)
            length = np.linalg.norm(query)
            row = sharpened(part.vectors @ query / length, named) if length > 0 else np.zeros(ITEMS)
        else:
            vectors = part.ranker.vectors
            vectors = vectors if isinstance(vectors, np.ndarray) else vectors.toarray()
            query = decayed(vectors, part.ranker.decay)
            named = vectors.any(axis=1) if name == "titles" else np.ones(ITEMS)
            length = np.linalg.norm(query)
            row = sharpened(vectors @ query / length, named) if length > 1e-9 else np.zeros(ITEMS)
        total[name in ("titles", "words", "categories", "intents")] += weight * row
    if hybrid.cold_mix is None:
        return total[True] + total[False]
    doubt = np.where(hybrid.counts < 5, 0.5**hybrid.counts, 0.0)
    return total[True] * np.exp(hybrid.trust[0] * doubt) + total[False] * np.exp(hybrid.trust[1] * doubt)


sessions_of = st.lists(st.lists(st.integers(0, ITEMS + 3), max_size=60), min_size=1, max_size=5)


@pytest.mark.parametrize("small", [True, False])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), sessions=sessions_of, k=st.integers(1, 2 * ITEMS))
def test_answers_equal_the_formulas_and_a_batch_its_sessions(
    base: Scorer, small: bool, monkeypatch: pytest.MonkeyPatch, seed: int, sessions: list[list[int]], k: int
) -> None:
    monkeypatch.setattr(tables, "SMALL_CATALOGUE", 4_000 if small else 0)
    scorer = mix_of(base, seed)
    random = np.random.default_rng(seed)
    requests = [
        ScoreRequest(
            [f"i{item}" for item in items],
            *random.normal(size=(2, synthetic.TEXT_DIM)).astype(np.float32) * (random.random((2, 1)) < 0.8),
        )
        for items in sessions
    ]
    answers = scorer.score(requests, k)
    assert answers == [scorer.score([request], k)[0] for request in requests]
    assert answers == list(reversed(scorer.score(requests[::-1], k)))
    for items, request, answer in zip(sessions, requests, answers, strict=True):
        known = [item for item in items if item < ITEMS]
        if not known:
            assert set(answer.reasons) == {POPULAR}
            continue
        wanted = plain(scorer, known, request.long, request.short)
        if scorer.without_seen:
            wanted[known[-50:]] = -np.inf
        best = np.sort(wanted[np.isfinite(wanted)])[::-1][:k]
        np.testing.assert_allclose(answer.scores, best, atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(
            [wanted[int(item[1:])] for item in answer.items], best, atol=1e-5, rtol=1e-4
        )


def test_equal_scores_go_by_the_place_in_the_catalogue(base: Scorer) -> None:
    parts = {"popular": Popular(Popularity(np.array([1.0, 2.0] * (ITEMS // 2), dtype=np.float32)), 1.0)}
    scorer = replace(base, hybrid=Hybrid({"popular": 1.0}, parts), without_seen=False)
    items = scorer.score([ScoreRequest(["i3"])], ITEMS)[0].items
    assert items == tuple([f"i{item}" for item in (*range(1, ITEMS, 2), *range(0, ITEMS, 2))])


@pytest.mark.parametrize("length", [1, 50, 51, 10_000])
def test_prefixes_of_any_length_are_answered_by_their_newest_clicks(base: Scorer, length: int) -> None:
    items = [f"i{place * 7 % ITEMS}" for place in range(length)]
    long, cut = base.score([ScoreRequest(items), ScoreRequest(items[-50:])], 20)
    assert long == cut


@pytest.mark.parametrize("k", [0, -1])
def test_nothing_wanted_is_refused(base: Scorer, k: int) -> None:
    with pytest.raises(ValueError, match="ask for at least one item"):
        base.score([ScoreRequest(["i1"])], k)


def test_more_than_there_is_gives_all(base: Scorer) -> None:
    scorer = replace(base, without_seen=False)
    for answer in scorer.score([ScoreRequest(["i1"]), ScoreRequest([])], 10**9):
        assert len(answer.items) == ITEMS


@pytest.mark.parametrize("view", ["long", "short"])
def test_intents_that_are_not_finite_or_do_not_fit_are_refused(base: Scorer, view: str) -> None:
    broken = np.full(synthetic.TEXT_DIM, np.nan, np.float32)
    with pytest.raises(ValueError, match="NaN or infinity"):
        base.score([ScoreRequest(["i1"], **{view: broken})], 5)
    with pytest.raises(ValueError, match="use its encoder"):
        base.score([ScoreRequest(["i1"], **{view: np.ones(3, np.float32)})], 5)
