"""The quick ways of scoring give what the plain formulas give: sums of table rows, products without scipy,
attention of the last click, intents.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
import torch
from scipy import sparse

from model.config import make_config
from model.data.catalogue import Catalogue
from model.data.sequences import Cases, Sequences, without_targets
from model.intent.ground.encoder import EncoderSource
from model.intent.ground.localiser import Localiser
from model.mix import KINDS
from model.mix.hybrid import NETWORK, Hybrid
from model.network.backbones import Clicks, make_backbone
from model.rankers import tables
from model.rankers.plan import decayed_rows
from model.rankers.title_knn import SHARPNESS
from model.recommender.recommender import Scorer, ScoreRequest
from model.recommender.train import train

random = np.random.default_rng(3)
# repeated items too
SESSIONS = [random.integers(0, synthetic.ITEMS, length).tolist() for length in (1, 2, 5, 5, 9, 30)]


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    data = synthetic.dataset(without=20)
    trained = train(
        data, make_config({"dim": 16, "epochs": 2, "batch_size": 16, "max_length": 6, "hybrid": False})
    )
    parts = {
        name: KINDS[name].fit(data)
        for name in ("transitions", "items", "titles", "words", "intents", "neighbours")
    }
    weights = dict(zip([NETWORK, *parts], (0.3, 0.2, 0.15, 0.1, 0.1, 0.1, 0.05), strict=True))
    return Scorer.of(replace(trained, hybrid=Hybrid(weights, parts)))


def shares(scores: np.ndarray) -> np.ndarray:
    return scores / scores.sum() if scores.sum() > 0 else np.zeros_like(scores)


def by_cosine(query: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    if not query.any():
        return np.zeros(len(vectors))
    named = np.abs(vectors).sum(axis=1) > 0
    return (
        shares(np.exp(SHARPNESS * (vectors @ query / np.linalg.norm(query) - 1.0)))
        if named.all()
        else shares(np.exp(SHARPNESS * (vectors @ query / np.linalg.norm(query) - 1.0)) * named)
    )


def plain_score(scorer: Scorer, items: list[int], long: np.ndarray, short: np.ndarray) -> np.ndarray:
    """One session's scores by the formulas, click by click, in double precision."""
    assert scorer.hybrid is not None
    parts, weights = scorer.hybrid.parts, scorer.hybrid.weights
    cases = without_targets(Sequences.of([items]), long[None], short[None])

    def decayed(table: np.ndarray, decay: float) -> np.ndarray:
        return sum(
            decay ** (len(items) - 1 - place) * table[item].astype(np.float64)
            for place, item in enumerate(items)
        )

    transitions, ease, titles, words = (
        parts[name].ranker for name in ("transitions", "items", "titles", "words")
    )
    found = weights[NETWORK] * scorer.network.probabilities(cases)[0].astype(np.float64)
    found = found + weights["transitions"] * shares(
        decayed(transitions.transitions.toarray(), transitions.query_decay)
    )
    found = found + weights["items"] * shares(np.maximum(decayed(ease.weights, ease.query_decay), 0.0))
    found = found + weights["titles"] * by_cosine(decayed(titles.vectors, titles.decay), titles.vectors)
    bags = words.vectors.toarray()
    query = decayed(bags, words.decay)
    found = found + weights["words"] * (
        shares(np.exp(SHARPNESS * (bags @ query / np.linalg.norm(query)))) if query.any() else 0.0
    )
    found = found + weights["intents"] * by_cosine(
        0.5 * long / np.linalg.norm(long) + 0.5 * short / np.linalg.norm(short), parts["intents"].vectors
    )
    return found + weights["neighbours"] * shares(
        parts["neighbours"].ranker.scores(cases)[0].astype(np.float64)
    )


@pytest.mark.parametrize("small", [True, False])
def test_answers_equal_the_plain_formulas(
    scorer: Scorer, small: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:  # the way of catalogues whose item x item tables would not fit into memory
        monkeypatch.setattr(tables, "SMALL_CATALOGUE", 0)
        assert scorer.hybrid is not None
        settings, arrays = scorer.hybrid.state()
        scorer = replace(scorer, hybrid=Hybrid.restore(settings, arrays, scorer.catalogue))
    intents = random.normal(size=(len(SESSIONS), 2, synthetic.TEXT_DIM)).astype(np.float32)
    requests = [
        ScoreRequest([f"i{item}" for item in items], *views)
        for items, views in zip(SESSIONS, intents, strict=True)
    ]
    together, alone = scorer.score(requests, 20), [scorer.score([request], 20)[0] for request in requests]
    for items, views, *answers in zip(SESSIONS, intents, together, alone, strict=True):
        plain = plain_score(scorer, items, *views)
        plain[items] = -np.inf
        best = np.sort(plain[np.isfinite(plain)])[::-1][:20]
        for answer in answers:
            np.testing.assert_allclose(answer.scores, best, rtol=2e-5)
            # the same items, ties aside
            np.testing.assert_allclose([plain[int(item[1:])] for item in answer.items], best, rtol=2e-5)


def test_a_part_without_weight_is_never_asked(scorer: Scorer) -> None:
    assert scorer.hybrid is not None
    weights = {**dict.fromkeys(scorer.hybrid.weights, 0.0), "words": 1.0}
    assert replace(scorer, hybrid=Hybrid(weights, scorer.hybrid.parts)).mixer.names == ("words",)


def test_sums_of_rows_equal_scipy() -> None:
    table = random.normal(size=(synthetic.ITEMS, 17)).astype(np.float32)
    prefixes = Sequences.of(SESSIONS)
    wanted = (
        sparse.csr_matrix(
            (0.7**prefixes.steps_back, prefixes.items, prefixes.offsets),
            shape=(len(prefixes), synthetic.ITEMS),
        )
        @ table
    )
    np.testing.assert_allclose(decayed_rows(prefixes, 0.7, table), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("heads", "layers"), [(1, 1), (2, 1), (4, 2)])
def test_attention_of_the_last_click_equals_attention_of_all(heads: int, layers: int) -> None:
    torch.manual_seed(0)
    backbone = make_backbone(
        make_config({"backbone": "sasrec", "dim": 16, "heads": heads, "layers": layers, "max_length": 9}),
        None,
    ).eval()
    lengths = torch.tensor([1, 4, 9])
    clicks = Clicks(torch.zeros(3, 9, dtype=torch.int64), lengths)
    vectors = torch.randn(3, 9, 16) * clicks.mask[:, :, None]
    everywhere, _ = backbone.encode(clicks, vectors)
    at_the_end, local = backbone.encode(clicks, vectors, last_only=True)
    torch.testing.assert_close(at_the_end, everywhere[torch.arange(3), lengths - 1], rtol=1e-4, atol=1e-5)
    assert torch.equal(local, vectors[torch.arange(3), lengths - 1])


def _mean_click_by_click(localiser: Localiser, prefix: list[str], half_life: float) -> np.ndarray:
    total = np.zeros(localiser.dim)
    for age, item in enumerate(reversed(prefix)):
        if item in localiser.rows:
            total += 0.5 ** (age / half_life) * localiser.vectors[localiser.rows[item]]
    return total / max(float(np.linalg.norm(total)), 1e-12)


def test_encoder_intents_equal_the_mean_click_by_click() -> None:
    catalogue: Catalogue = synthetic.catalogue()
    localiser = Localiser(catalogue.item_ids, catalogue.titles, synthetic.vectors())
    prefixes = [[f"i{item}" for item in items] for items in SESSIONS] + [
        ["news", "i3", "?", "i4", "news"],
        ["news"],
        [],
    ]
    source = EncoderSource(localiser, half_life=3.0)
    for found, half_life in zip(source.vectors(prefixes), (24.0, 3.0), strict=True):
        for vector, prefix in zip(found, prefixes, strict=True):
            expected = _mean_click_by_click(localiser, prefix, half_life)
            np.testing.assert_allclose(vector, expected, rtol=1e-4, atol=1e-6)
    intents = source.infer(prefixes)
    assert [intent.source for intent in intents] == ["encoder"] * 7 + ["none"] * 2
    for intent in intents[:7]:
        near = np.argsort(-(localiser.vectors @ intent.short.vector), kind="stable")[:5]
        assert intent.short.items == tuple(localiser.item_ids[row] for row in near)
        assert intent.short.text == localiser.titles[near[0]]


def test_selected_sessions_start_at_zero() -> None:
    """The sums of rows rely on it."""
    some = Cases(
        Sequences.of(SESSIONS), np.zeros(len(SESSIONS), np.int32), np.zeros(len(SESSIONS), np.int64)
    ).select(np.array([4, 1]))
    assert some.prefixes.offsets.tolist() == [0, 9, 11]
