"""The near-line worker with the real encoder, topic and valkey; the LLM's words are given, but for one
session that the real one answers.
"""

import json
import signal
import uuid
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from feature_repo.contract.settings import Settings
from feature_repo.stores.packed.client import PackedClient
from feature_repo.stores.packed.keys import entity_key, storage_key
from model.intent.ask.answers import Answer, Failure
from model.intent.ask.asker import recipe_of
from model.intent.ask.spool import spooled
from model.intent.ground.live import LIVE_FILE, TITLES_FILE, LiveIntents, live_folder
from model.intent.ground.localiser import Localiser
from model.text.encoder import TextEncoder
from streaming.clients import client_options
from streaming.errors import StreamingError
from streaming.intents import worker as near_line
from streaming.intents.requests import IntentRequest, KnownAnswers
from streaming.intents.worker import NearLine, intents_schema
from streaming.topics import ensure as topics

TITLES = {
    "1": "Alien",
    "2": "Star Wars",
    "3": "Pride and Prejudice",
    "4": "Sense and Sensibility",
    "5": "Toy Story",
    "6": "Jaws",
}


@pytest.fixture
def near(settings: Settings, services: Any, request: pytest.FixtureRequest) -> Settings:
    """Settings of an endpoint that nobody asks (or of the source that the test names), and what the `intents`
    job leaves for live use.
    """
    merged, name = settings.model_dump(), uuid.uuid4().hex[:8]
    merged["online"] = {"url": services.online_store_url}
    merged["kafka"] = {
        "bootstrap_servers": services.bootstrap_servers,
        "intent_requests_topic": f"requests-{name}",
    }
    merged["streaming"] = {"group": f"group-{name}"}
    merged["intents"], merged["endpoint"] = (
        {"source": getattr(request, "param", "endpoint")},
        {"url": "http://127.0.0.1:9"},
    )
    merged["llm"]["max_new_tokens"] = 12  # enough for a title; each costs time
    result = Settings.model_validate(merged)
    recipe = recipe_of(result)
    assert recipe is not None
    vectors = TextEncoder.load(result.encoder).encode(list(TITLES.values()))
    folder = live_folder(result)
    folder.mkdir(parents=True)
    Localiser(list(TITLES), list(TITLES.values()), np.asarray(vectors, np.float32)).save(folder)
    (folder / LIVE_FILE).write_text(json.dumps({"recipe": recipe.to_dict(), "half_life": 3.0}))
    (folder / TITLES_FILE).write_text(json.dumps(TITLES))
    return result


def test_answer_reaches_cache_online_store_and_the_running_consumer(near: Settings, services: Any) -> None:
    asked: list[list[str]] = []

    class Answering:
        """An asker that always says the same."""

        def ask(self, prefixes: Any, keep: Any) -> list[Failure]:
            asked.extend(prefixes)
            for place, _ in enumerate(prefixes):
                keep(place, Answer("films about space", "the next space film", 10, 5, 0.1))
            return []

    consumer_side = LiveIntents.load(near)
    before = consumer_side.infer([["1", "2"]])[0].source
    session = f"s-{uuid.uuid4().hex}"
    worker = NearLine(near, Answering(), max_calls=1)
    requests = [
        IntentRequest(session, ["1", "2"], 1_700_000_000_000_000),
        IntentRequest(session + "x", ["3"], 1_700_000_000_000_000),
    ]
    assert worker.handle(requests) == 1, "the second is beyond the budget"
    assert worker.handle(requests[:1]) == 0, "the first is cached now"
    assert (asked, worker.left, worker.cached) == ([["Alien", "Star Wars"]], 0, 1)
    rows, _ = spooled(near.home / "intents" / "spool")
    assert [(row["items"], row["long_text"]) for row in rows] == [(["1", "2"], "films about space")]
    value = PackedClient(services.online_store_url, False).read(
        [storage_key("intentstore", "session_intents", entity_key({"session_id": session}))]
    )[0]
    assert value is not None
    assert intents_schema().decode(value)["long_text"] == "films about space"

    class Model:
        """As much of a loaded model as is asked."""

        intents = consumer_side

    assert KnownAnswers(near).refresh(Model()) == 1  # type: ignore[arg-type]
    after = consumer_side.infer([["1", "2"]])[0]
    assert (before, after.source, after.long.text) == ("encoder", "endpoint", "films about space")
    worker.close()


def test_worker_without_an_llm_or_a_catalogue_says_what_to_do(near: Settings, tmp_path: Path) -> None:
    with pytest.raises(StreamingError, match="set it to llm or endpoint"):
        NearLine(near.model_copy(update={"intents": near.intents.model_copy(update={"source": "encoder"})}))
    with pytest.raises(StreamingError, match="spark_jobs intents"):
        NearLine(near.model_copy(update={"home": tmp_path / "empty"}))


@pytest.mark.parametrize("near", ["llm"], indirect=True)
def test_real_llm_answers_a_request_from_the_topic_once_within_the_budget(
    near: Settings, services: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from kafka import KafkaProducer

    topics.ensure(near)
    session = f"s-{uuid.uuid4().hex}"
    asked = msgspec.json.encode(IntentRequest(session, ["1", "2", "6"], 1_700_000_000_000_000))
    with KafkaProducer(**client_options(near)) as producer:
        for value in (b"junk", asked, asked):
            producer.send(near.kafka.intent_requests_topic, value, b"k")
        producer.flush()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert near_line.main(near, until_idle_seconds=3.0, max_calls=2) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["called"], told["left"]) == (1, 1), "the same session is asked once"
    intent = LiveIntents.load(near).infer([["1", "2", "6"]])[0]
    assert (intent.source, bool(intent.long.text), bool(intent.short.text)) == ("llm", True, True)
    assert set(intent.long.items) <= set(TITLES)
    value = PackedClient(services.online_store_url, False).read(
        [storage_key("intentstore", "session_intents", entity_key({"session_id": session}))]
    )[0]
    assert value is not None
    assert intents_schema().decode(value)["long_text"] == intent.long.text
