"""A minute of the soak: consumers, broker and valkey are killed under load, disks are lost, partitions are
added twice, a second producer has another partitioner; every effect is there exactly once.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract.settings import Settings
from streaming.services import services as broker

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import soak


@pytest.fixture
def own_services(settings: Settings) -> Any:
    broker.up(settings)
    yield settings
    broker.down(settings)


@pytest.mark.timeout(900)
def test_no_effect_is_lost_or_doubled_whatever_dies(own_services: Settings) -> None:
    scenario = soak.Scenario(
        clicks=4_000,
        rate=200,
        sessions=200,
        kills=3,
        broker_restarts=1,
        valkey_restarts=1,
        joins=1,
        restores=2,
        grows=2,
        others=0.05,
        own_state=True,
        seed=11,
    )
    result = soak.play(own_services, scenario)
    assert soak.faults_of(result) == {}
    assert result["restores_ended"] > 0
    assert result["refused_elsewhere"] > 40
    assert result["answers_wanted"] > 3_500
    assert result["letters_wanted"] > 40
    assert result["duplicates"] > 40
