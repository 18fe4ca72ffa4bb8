"""Items with few clicks have factors of their own, by clicks, and reasons that are true."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.sequences import Sequences, without_targets
from model.mix.cold_mix import ColdMix
from model.mix.mixer import Mixer, Source
from model.rankers.plan import Asked
from model.rankers.tables import GivenTable

COUNTS = np.array([9, 0, 1])
CASE = without_targets(Sequences.of([[0]]))


def mixer(mix: ColdMix, **sources: list[float]) -> Mixer:
    return Mixer(
        [
            Source(name, weight, GivenTable(np.array([values], dtype=np.float32)))
            for name, (weight, *values) in sources.items()
        ],
        3,
        mix,
    )


def test_sources_count_by_their_trust_the_less_the_more_clicks_there_are() -> None:
    mix = ColdMix.of((2.0, -1.0), COUNTS)
    assert mix is not None
    found = mixer(mix, network=[0.5, 1, 2, 3], words=[0.1, 4, 5, 6]).scores(CASE)[0].tolist()
    wanted = [0.5 + 0.4, np.exp(-1) * 1.0 + np.exp(2) * 0.5, np.exp(-0.5) * 1.5 + np.exp(1) * 0.6]
    assert found == pytest.approx(wanted)


def test_a_mix_of_one_kind_of_source_is_mixed_too() -> None:
    mix = ColdMix.of((2.0, -1.0), COUNTS)
    assert mix is not None
    found = mixer(mix, words=[0.1, 4, 5, 6]).scores(CASE)[0].tolist()
    assert found == pytest.approx([0.4, np.exp(2) * 0.5, np.exp(1) * 0.6])


def test_nothing_cold_or_the_same_trust_needs_no_mix() -> None:
    assert ColdMix.of((1.0, 0.0), np.array([7, 9])) is None
    assert ColdMix.of((0.0, 0.0), COUNTS) is None


def test_lent_transitions_are_no_reason() -> None:
    mix = ColdMix.of((2.0, 1.0), COUNTS)
    assert mix is not None
    made = mixer(mix, transitions=[0.5, 1, 1, 1], words=[0.5, 0.1, 0.01, 0.01])
    best = made.plan.best(Asked.of(CASE), 3, without_seen=False)
    said = {item: made.names[source] for item, source in zip(best.items[0], best.strongest[0], strict=True)}
    assert said == {0: "transitions", 1: "words", 2: "transitions"}
