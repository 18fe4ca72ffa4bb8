"""Score-log rows of partitions that go to another consumer, with state folders of their own: each is in a
file once, although nobody opens the store again that holds it.
"""

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract.settings import Settings
from streaming.consumer import housekeeping
from streaming.consumer.app import assemble
from streaming.consumer.consumer import Consumer
from streaming.consumer.score_log import ScoreLog
from streaming.consumer.sinks import KafkaSink
from streaming.consumer.state import PartitionStore
from streaming.consumer.stranded import Stranded
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models
from streaming.topics.lag import measure

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
sys.path.append(str(Path(__file__).parent))
import soak
from live_consumer import apart, consume, judge, mixed, send


@pytest.fixture(autouse=True)
def no_rolls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are written when somebody ends or goes, not now and then."""
    monkeypatch.setattr(housekeeping, "ROLL_SECONDS", 3600.0)


class Killed(BaseException):
    """Like kill -9: nothing handles it."""


def unwritten(folder: Path) -> list[int]:
    store = PartitionStore(folder)
    try:
        return [offset for offset, _ in store.rows()]
    finally:
        store.close()


def started(settings: Settings) -> tuple[Consumer, threading.Thread]:
    consumer = assemble(settings, Models(lambda: None), ConsumerMetrics())
    thread = threading.Thread(target=consumer.run)
    thread.start()
    return consumer, thread


def test_rows_of_a_partition_that_another_consumer_gets_are_written(live: Settings, wait: Any) -> None:
    send(live, mixed(live.streaming.group))
    running = [started(apart(live, "a", instance_id="a"))]
    try:
        wait(lambda: measure(live).total == 0, "the answers")
        running.append(started(apart(live, "b", instance_id="b")))
        wait(lambda: len(running[0][0]._partitions.stores) == 1, "a partition of the other")
    finally:
        for consumer, thread in running:
            consumer.stopping = True
            thread.join()
    folders = sorted(apart(live, "a").state_dir.glob("*/*"))
    assert [unwritten(folder) for folder in folders] == [[], []]
    wrong = soak.faults_of(judge(live, [apart(live, "a").state_dir]))
    assert not {name for name in wrong if name.startswith("log_")}


@pytest.mark.parametrize("sent", [True, False], ids=["after sending", "before sending"])
def test_rows_that_a_killed_process_left_are_written_once_it_is_back(
    live: Settings, monkeypatch: pytest.MonkeyPatch, sent: bool
) -> None:
    send(live, mixed(live.streaming.group))
    a, b, left, send_batch = apart(live, "a", max_records=100), apart(live, "b"), [4], KafkaSink.send

    def counted(sink: KafkaSink, *arguments: Any, **named: Any) -> int:
        left[0] -= 1
        if left[0] < 0 and not sent:
            raise Killed
        number = send_batch(sink, *arguments, **named)
        if left[0] < 0:
            sink.flush()
            raise Killed
        return number

    with monkeypatch.context() as patched:
        patched.setattr(KafkaSink, "send", counted)
        patched.setattr(ScoreLog, "hand_over", lambda *_: 0)  # who is killed writes nothing
        with pytest.raises(Killed):
            consume(a)
    assert consume(b)["answered"] > 0
    before = soak.faults_of(judge(live, [b.state_dir]))
    assert before["log_missing"] > 0
    stranded = Stranded(a, ScoreLog(a.home / "score_log", a.kafka.clicks_topic))
    assert sum(stranded.turn(set()) for _ in range(3)) == before["log_missing"]
    assert soak.faults_of(judge(live, [b.state_dir])) == {}
