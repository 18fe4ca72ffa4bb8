"""Compiled networks give what the trained ones give: every backbone, text or none, fusion, new items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import torch

import model.network.backbones
import model.network.kernels
from model.config import make_config
from model.data.sequences import Cases, Sequences, without_targets
from model.network.batches import make_graph
from model.network.compiled import CompiledNetwork, NetworkError
from model.network.network import Network
from model.network.scorer import NetworkScorer
from model.network.text_space import TextSpace

random = np.random.default_rng(4)
LENGTHS = (1, 2, 5, 9, 30)  # more than max_length too
PREFIXES = [random.integers(0, synthetic.ITEMS, length).tolist() for length in LENGTHS] + [
    [3, 3, 3],
    [1, 2, 1, 2],
]
BACKBONES = sorted(
    file.stem
    for file in Path(model.network.backbones.__path__[0]).glob("*.py")
    if file.stem not in {"__init__", "base"}
)


def pair(settings: dict[str, Any]) -> tuple[NetworkScorer, CompiledNetwork]:
    """A network with random weights, as training scores it and as answers are scored."""
    config = make_config({"dim": 12, "max_length": 8, **settings})
    torch.manual_seed(7)
    vectors = synthetic.vectors()
    space = TextSpace.fit(vectors, config.dim)
    made = Network(
        config,
        synthetic.ITEMS,
        torch.from_numpy(space.apply(vectors)) if config.text else None,
        torch.from_numpy(space.centred(vectors)) if config.fusion == "paper" else None,
        make_graph(synthetic.dataset().train, synthetic.ITEMS),
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made.eval().requires_grad_(False)
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    return NetworkScorer(made, config), CompiledNetwork.of(config, weights, space, vectors)


def cases(intents: bool = False) -> Cases:
    views = [random.normal(size=(len(PREFIXES), synthetic.TEXT_DIM)).astype(np.float32) for _ in range(2)]
    views[0][[0, 4]] = views[1][3] = 0.0  # nothing known: the network's own, of one click and of many
    return without_targets(Sequences.of(PREFIXES), *(views if intents else (None, None)))


def test_every_backbone_has_a_compiled_form() -> None:
    compiled = {file.stem for file in Path(model.network.kernels.__path__[0]).glob("*.py")}
    assert set(BACKBONES) <= compiled


@pytest.mark.parametrize(
    "settings",
    [
        *({"backbone": name} for name in BACKBONES),
        {"backbone": "sasrec", "layers": 2, "heads": 3},
        {"backbone": "gru4rec", "layers": 2, "score": "cosine"},
        {"backbone": "srgnn", "layers": 2, "fusion": "paper"},
        {"backbone": "gcegnn", "score": "cosine", "text": False},
        {"backbone": "s2dhcn", "score": "cosine", "layers": 2},
        {"backbone": "sasrec", "fusion": "paper", "views": "short", "score": "cosine"},
        {"backbone": "stamp", "fusion": "paper", "recency_half_life": 0.5},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_probabilities_equal_those_of_training(settings: dict[str, Any]) -> None:
    trained, compiled = pair(settings)
    asked = cases(intents=True)
    wanted = trained.of_cases(asked)
    found = compiled.probabilities(asked)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-6)
    for place in range(len(asked)):
        assert np.array_equal(compiled.probabilities(asked.select(np.array([place])))[0], found[place])


def test_items_of_which_nothing_is_known_get_nothing() -> None:
    _, compiled = pair({"text": False, "backbone": "gru4rec"})
    raw = compiled.raw.copy()
    raw[5] = 0.0
    found = replace(compiled, raw=raw).probabilities(cases())
    assert not found[:, 5].any()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


def test_a_backbone_without_a_compiled_form_says_so() -> None:
    _, compiled = pair({"backbone": "gru4rec"})
    config = compiled.config.model_copy(update={"backbone": "unheard_of"})
    with pytest.raises(NetworkError, match=r"unheard_of.*model/network/kernels"):
        replace(compiled, config=config).probabilities(cases())
    with pytest.raises(NetworkError, match="lacks the weights"):
        replace(compiled, weights={}).probabilities(cases())
