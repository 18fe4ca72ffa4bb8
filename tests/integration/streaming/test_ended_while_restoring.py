"""Real consumer processes that are ended while they restore lost state: nothing is answered twice or never,
and the group's commit never goes back.
"""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract.settings import Settings
from streaming.topics.lag import measure

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
sys.path.append(str(Path(__file__).parent))
import soak
from live_consumer import apart, click, consume, judge, send
from soak_fleet import SLOWLY, Fleet

CLICKS = 6_000


@pytest.fixture
def fleet(live: Settings) -> Iterator[Fleet]:
    """Consumers with state folders of their own, on this test's topics."""
    kafka = {
        name: getattr(live.kafka, name)
        for name in ("bootstrap_servers", "clicks_topic", "recommendations_topic", "dead_letter_topic")
    }
    assert live.online.url is not None
    texts = {f"INTENTSTORE_KAFKA__{name.upper()}": str(value) for name, value in kafka.items()}
    texts["INTENTSTORE_ONLINE__URL"] = live.online.url.get_secret_value()
    texts["INTENTSTORE_STREAMING__GROUP"] = live.streaming.group
    fleet = Fleet(live, None, own_state=True, environment=texts)
    yield fleet
    for process in fleet.running.values():
        process.kill()
        process.wait()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_process_ended_while_it_restores_answers_nothing_twice(
    live: Settings, fleet: Fleet, wait: Any, number: signal.Signals
) -> None:
    run = live.streaming.group
    send(live, [click(at, f"{run}-{at % 97}") for at in range(CLICKS)] + [(b"k", b"junk")])
    consume(apart(live, "a"))
    before = [one.committed for one in measure(live).partitions]
    for _ in range(2):
        fleet.start("b", environment=SLOWLY)
        wait(lambda: "comes: Plan(position=" in fleet.said("b"), "its partitions")
        if number == signal.SIGTERM:
            assert fleet.stop("b") == 0
        else:
            fleet.running["b"].kill()
            fleet.running.pop("b").wait()
            fleet.count_restore("b")
        assert [one.committed for one in measure(live).partitions] == before
    assert fleet.killed_restoring == 2
    send(live, [click(CLICKS, f"{run}-3", "after")])
    fleet.start("b")
    wait(lambda: measure(live).total == 0 and not fleet.restoring("b"), "the last answer")
    assert fleet.stop("b") == 0
    result = judge(live, [fleet.folder("b")])
    assert soak.faults_of(result) == {}
    assert (result["answers_repeated_identically"], result["letters_repeated"]) == (0, 0)
