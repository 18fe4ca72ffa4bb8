import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from feature_repo.contract.settings import Settings
from streaming.consumer.commits import Commits
from streaming.errors import StuckError
from streaming.metrics import ConsumerMetrics
from streaming.topics.layout import Layout


class Client:
    """Answers each commit at once, with what it is told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.at, self.commits = 1, list[dict[int, int]]()

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("clicks", 0)}

    def position(self, name: TopicPartition, timeout_ms: int) -> int:
        return self.at

    def commit_async(self, offsets: dict[Any, Any], callback: Any) -> None:
        self.commits.append({name.partition: one.offset for name, one in offsets.items()})
        callback(offsets, self.error)


@pytest.fixture
def commits() -> Commits:
    held: Any = SimpleNamespace(
        lock=threading.Lock(),
        stores={0: None},
        layout=lambda partition: Layout("0a", 1),
        committable=lambda partition, offset: offset != 99,
    )
    return Commits(Settings(), held, ConsumerMetrics())


def test_only_what_has_changed_is_committed_and_what_failed_again(commits: Commits) -> None:
    client = Client()
    commits.commit(client)
    commits.commit(client)
    client.at, client.error = 2, RuntimeError("no")
    commits.commit(client)
    client.error = None
    commits.commit(client)
    commits.commit(client)
    assert client.commits == [{0: 1}, {0: 2}, {0: 2}]


def test_commits_that_fail_for_long_ask_for_new_clients_and_a_restore_in_between_is_no_failure(
    commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, now = Client(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    client.error = RuntimeError("no")
    commits.commit(client)
    client.at, now = 99, now + 50  # what is being restored is not committed
    commits.commit(client)
    client.at, now = 3, now + 50
    commits.commit(client)
    now += 50
    client.at = 4
    commits.commit(client)
    now, client.at = now + 50, 5
    with pytest.raises(StuckError, match="commits have failed for 60 s"):
        commits.commit(client)
