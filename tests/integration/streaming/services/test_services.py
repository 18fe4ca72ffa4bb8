"""The embedded services and the command line, as real processes in a home of their own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from feature_repo.contract.settings import Settings
from streaming.clients import client_options
from streaming.services import kafka as embedded_kafka
from streaming.services import processes
from streaming.services import services as broker
from streaming.topics import ensure as topics

ROOT = Path(__file__).parents[4]


def _run(settings: Settings, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "INTENTSTORE_HOME": str(settings.home),
        "INTENTSTORE_ASSETS": str(settings.assets_dir),
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-m", "streaming", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=120,
        check=False,
    )


@pytest.fixture
def home(settings: Settings) -> Any:
    yield settings
    broker.down(settings)


def test_up_is_idempotent_survives_kills_and_down_leaves_nothing(home: Settings) -> None:
    first = json.loads(_run(home, "up", "--json").stdout)
    assert set(first) == {"bootstrap_servers", "online_store_url", "pids"}
    assert json.loads(_run(home, "up", "--json").stdout) == first
    os.kill(first["pids"]["valkey"], signal.SIGKILL)
    os.kill(first["pids"]["broker"], signal.SIGKILL)
    second = broker.up(home)
    assert (second.bootstrap_servers, second.online_store_url) == (
        first["bootstrap_servers"],
        first["online_store_url"],
    )
    # as if `up` itself had been killed before it took a note
    (home.home / "services" / "kafka" / "process.json").unlink()
    assert sorted(broker.down(home)) == ["kafka", "valkey"]
    assert all(processes.start_time(pid) is None for pid in second.pids.values() if pid is not None)
    assert broker.running(home) is None
    assert _run(home, "down").stdout == "nothing was running\n"


def test_broker_starts_with_a_cluster_id_that_begins_with_a_dash(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_kafka, "_cluster_id", lambda: "-DASHED-ids-are-one-in-w")
    broker.up(home)
    with contextlib.closing(KafkaAdminClient(**client_options(home))) as admin:
        assert admin.describe_cluster()["cluster_id"] == "-DASHED-ids-are-one-in-w"


def test_broker_asks_for_the_password_and_nobody_prints_it(home: Settings) -> None:
    secret = "s3cret-word"
    kafka = {
        **home.kafka.model_dump(),
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_username": "shop",
        "sasl_password": secret,
    }
    merged = Settings.model_validate({**home.model_dump(), "kafka": kafka})
    services = broker.up(merged)
    assert topics.ensure(merged)["clicks"] == merged.kafka.partitions
    wrong = {**client_options(merged), "sasl_plain_password": "guess"}
    with pytest.raises(KafkaError):
        KafkaAdminClient(**wrong, bootstrap_timeout_ms=3000).list_topics()
    variables = {
        "INTENTSTORE_KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "INTENTSTORE_KAFKA__SASL_USERNAME": "shop",
        "INTENTSTORE_KAFKA__SASL_PASSWORD": secret,
        "INTENTSTORE_KAFKA__BOOTSTRAP_SERVERS": services.bootstrap_servers,
    }
    done = _run(merged, "--verbose", "consume", "--until-idle", "0.5", **variables)
    assert (done.returncode, json.loads(done.stdout)["answered"]) == (0, 0), done.stderr
    assert secret not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "words, says",
    [
        (("lag", "--bootstrap-servers", "127.0.0.1:1"), "is the broker running"),
        (("dlq", "list"), "python -m streaming up"),
        (("consume", "--until-idle", "-1"), "no positive number"),
        (("consume", "--config", "nothing.toml"), "does not exist"),
    ],
)
def test_bad_input_is_one_clear_line_and_a_failure(
    settings: Settings, words: tuple[str, ...], says: str
) -> None:
    done = _run(settings, *words)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
