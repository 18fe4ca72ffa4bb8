import os
from pathlib import Path
from typing import Any

import pytest

from feature_repo.contract.settings import Settings, load_settings
from streaming.clients import no_broker
from streaming.consumer import consumer as module
from streaming.consumer.app import assemble
from streaming.errors import BrokerAwayError, StreamingError
from streaming.metrics import ConsumerMetrics
from streaming.serving.models import Models


@pytest.fixture
def away(tmp_path: Path) -> Settings:
    """Settings of a broker that is not there."""
    return load_settings(
        Path(os.devnull),
        {},
        {
            "home": str(tmp_path),
            "kafka.bootstrap_servers": "127.0.0.1:1",
            "online.url": "redis://127.0.0.1:1",
        },
    )


def test_error_that_may_pass_is_told_from_one_that_does_not(away: Settings) -> None:
    from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

    assert isinstance(no_broker("producer", away, KafkaTimeoutError("no answer")), BrokerAwayError)
    assert not isinstance(no_broker("producer", away, TopicAuthorizationFailedError()), BrokerAwayError)


def test_broker_that_is_away_is_waited_for_by_every_client_and_then_named(
    away: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.0)
    monkeypatch.setattr("streaming.consumer.sinks.BOOTSTRAP_TIMEOUT_MS", 20)
    make = module.KafkaSink._make

    def counted(sink: Any, **options: Any) -> Any:
        tries.append("producer")
        if len(tries) == 3:
            monkeypatch.setattr(module, "BROKER_WAIT_SECONDS", 0.0)
        return make(sink, **options)

    monkeypatch.setattr(module.KafkaSink, "_make", counted)
    with pytest.raises(StreamingError, match=r"no producer for broker 127.0.0.1:1 .*is it running"):
        assemble(away, Models(lambda: None), ConsumerMetrics()).run()
    assert len(tries) == 3
