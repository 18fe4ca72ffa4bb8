"""Mixing weights: what the pool keeps, what a mix is worth, and which weights are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from model.data.sequences import Cases, Sequences
from model.mix.pool import Pool, pool
from model.mix.weights import DEAR_GAIN, PROVEN_ONLY, proven, search

ITEMS = 200


def made(targets: np.ndarray) -> Cases:
    count = len(targets)
    return Cases(Sequences.of([[0]] * count), targets.astype(np.int32), np.ones(count, np.int64))


def noisy(targets: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Probabilities that put the target first in a share of the cases, at random in the others."""
    random = np.random.default_rng(seed)
    found = random.random((len(targets), ITEMS)).astype(np.float32)
    right = random.random(len(targets)) < share
    found[right, targets[right]] = 1.5
    return found / found.sum(1, keepdims=True)


def asked(targets: np.ndarray, **matrices: np.ndarray) -> Pool:
    cases = made(targets)
    numbered = Cases(cases.prefixes, cases.targets, np.arange(len(targets)))
    return pool(
        {name: (lambda part, matrix=matrix: matrix[part.positions]) for name, matrix in matrices.items()},
        numbered,
        "removed",
    )


def test_the_pool_is_worth_what_full_ranking_is_worth() -> None:
    targets = np.random.default_rng(0).integers(1, ITEMS, 300)
    network, words = noisy(targets, 0.3, 1), noisy(targets, 0.3, 2)
    found = asked(targets, network=network, words=words)
    mixed = 0.7 * network + 0.3 * words
    mixed[:, 0] = -1.0  # seen
    ranks = (mixed >= mixed[np.arange(300), targets][:, None]).sum(1)
    wanted = sum((1 / np.log2(ranks + 1) + 0.5)[ranks <= k].sum() for k in (10, 20)) / 300
    assert found.cases == 300
    assert found.worth(np.array([0.7, 0.3])) == pytest.approx(wanted, rel=1e-4)


def test_cases_that_no_source_finds_are_counted_as_misses() -> None:
    targets = np.full(40, 5)
    wrong = np.tile(np.linspace(1.0, 0.0, ITEMS, dtype=np.float32), (40, 1))
    wrong[:, 5] = 0.0
    found = asked(targets, network=wrong)
    assert (found.values.shape[1], found.cases, found.worth(np.ones(1))) == (0, 40, 0.0)
    assert search(found).weights == {"network": 1.0}


def test_a_target_among_the_seen_items_is_a_miss() -> None:
    targets = np.zeros(10, np.int64)
    assert asked(targets, network=noisy(targets, 1.0, 1)).worth(np.ones(1)) == 0.0


def test_two_halves_of_the_truth_are_mixed_and_noise_is_left_out() -> None:
    targets = np.random.default_rng(0).integers(1, ITEMS, 600)
    found = search(
        asked(
            targets,
            network=noisy(targets, 0.4, 1),
            words=noisy(targets, 0.4, 2),
            titles=noisy(targets, 0.0, 3),
        )
    ).weights
    assert found["network"] > 0.2
    assert found["words"] > 0.2
    assert found["titles"] < 0.1
    assert sum(found.values()) == pytest.approx(1.0, abs=1e-3)


def test_a_dear_part_must_gain_more() -> None:
    targets = np.random.default_rng(0).integers(1, ITEMS, 2000)
    network, other = noisy(targets, 0.5, 1), noisy(targets, 0.0, 2)
    # worth .003: less than a dear part's time, more than a cheap one's
    rescued = np.flatnonzero(network.argmax(1) != targets)[:3]
    other[rescued] = np.eye(ITEMS, dtype=np.float32)[targets[rescued]]
    assert search(asked(targets, network=network, words=other)).weights["words"] > 0
    assert DEAR_GAIN["neighbours"] > 0.002
    few = asked(
        targets,
        network=network,
        neighbours=np.where(np.isin(np.arange(2000), rescued[:1])[:, None], other, np.float32(1 / ITEMS)),
    )
    assert search(few).weights["neighbours"] == 0.0


def test_a_mix_with_sources_of_chance_is_hardly_worse_on_new_cases_than_the_good_source_alone() -> None:
    def drawn(count: int, seed: int) -> Pool:
        targets = np.random.default_rng(seed).integers(1, ITEMS, count)
        chance = {f"chance{number}": noisy(targets, 0.0, 100 * seed + number) for number in range(6)}
        return asked(targets, network=noisy(targets, 0.5, 99 + seed), **chance)

    found, new = search(drawn(60, 0)), drawn(1500, 1)
    weights = np.array([found.weights[name] for name in new.names])
    assert new.worth(weights) > 0.97 * new.worth(np.eye(len(new.names))[0])


def test_a_gain_is_proven_by_sessions_not_by_cases() -> None:
    gains = np.concatenate([np.full(50, 1.0), np.full(3, -1.0)])
    assert proven(gains, np.arange(53))
    assert not proven(gains, np.concatenate([np.zeros(50, np.int64), [1, 2, 3]]))


def test_a_network_whose_epoch_was_chosen_on_the_cases_must_gain_more_than_intents_must() -> None:
    gains = np.concatenate([np.ones(8), -np.ones(2)])  # 1.9 standard errors
    assert proven(gains, np.arange(10), PROVEN_ONLY["intents"])
    assert not proven(gains, np.arange(10), PROVEN_ONLY["network"])


def test_intents_take_part_only_where_they_are_proven_out_of_fold() -> None:
    targets = np.random.default_rng(0).integers(1, ITEMS, 600)
    network = noisy(targets, 0.4, 1)
    useful = search(asked(targets, network=network, intents=noisy(targets, 0.4, 2)))
    assert useful.weights["intents"] > 0.2
    # rescues two cases of different sessions: a gain on the whole, but chance may well have brought it
    few = noisy(targets, 0.0, 3)
    rescued = np.flatnonzero(network.argmax(1) != targets)[:2]
    few[rescued] = np.eye(ITEMS, dtype=np.float32)[targets[rescued]]
    lucky = asked(targets, network=network, intents=few)
    assert search(replace(lucky, names=("network", "words"))).weights["words"] > 0
    found = search(lucky)
    assert found.weights == {"network": 1.0, "intents": 0.0}


def test_every_source_that_was_tried_has_a_weight_though_two_are_not_proven() -> None:
    targets = np.random.default_rng(0).integers(1, ITEMS, 600)
    words = noisy(targets, 0.4, 1)
    missed = np.flatnonzero(words.argmax(1) != targets)
    sources = {}
    for place, name in enumerate(("network", "intents")):  # each rescues two cases of its own
        sources[name] = np.full_like(words, 1 / ITEMS)
        rescued = missed[2 * place : 2 * place + 2]
        sources[name][rescued] = np.eye(ITEMS, dtype=np.float32)[targets[rescued]]
    assert search(asked(targets, words=words, **sources)).weights == {
        "words": 1.0,
        "network": 0.0,
        "intents": 0.0,
    }


def test_without_intents_the_pool_keeps_cases_and_candidates() -> None:
    targets = np.random.default_rng(0).integers(1, ITEMS, 50)
    whole = asked(targets, network=noisy(targets, 0.4, 1), intents=noisy(targets, 0.4, 2))
    rest = whole.without("intents")
    assert (rest.names, rest.cases, rest.values.shape[1:]) == (
        ("network",),
        whole.cases,
        whole.values.shape[1:],
    )
    assert np.array_equal(rest.values[0], whole.values[0])
    assert np.array_equal(rest.text, [False])
