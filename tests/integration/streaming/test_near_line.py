"""The near-line worker with the real encoder, topic and valkey; only the LLM's words are given."""

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feature_repo.contract.settings import Settings
from feature_repo.stores.client import PackedClient
from feature_repo.stores.keys import entity_key, storage_key
from model.encoder import TextEncoder
from model.intent.live import LIVE_FILE, TITLES_FILE, LiveIntents, live_folder
from model.intent.llm import Answer, recipe_of
from model.intent.locate import Localiser
from model.intent.spool import spooled
from streaming.errors import StreamingError
from streaming.intent_requests import IntentRequest, KnownAnswers
from streaming.near_line import NearLine, intents_schema

TITLES = {"1": "Alien", "2": "Star Wars", "3": "Pride and Prejudice", "4": "Sense and Sensibility", "5": "Toy Story", "6": "Jaws"}


@pytest.fixture
def near(settings: Settings, services: Any) -> Settings:
    """Settings of an endpoint that nobody asks, and what the `intents` job leaves for live use."""
    merged = settings.model_dump()
    merged["online"], merged["kafka"] = {"url": services.online_store_url}, {"bootstrap_servers": services.bootstrap_servers}
    merged["intents"], merged["endpoint"] = {"source": "endpoint"}, {"url": "http://127.0.0.1:9"}
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

    def ask(prefixes: list[list[str]], done: Any) -> None:
        asked.extend(prefixes)
        for place, _ in enumerate(prefixes):
            done(place, Answer("films about space", "the next space film", 10, 5, 0.1))

    consumer_side = LiveIntents.load(near)
    before = consumer_side.infer([["1", "2"]])[0].source
    session = f"s-{uuid.uuid4().hex}"
    worker = NearLine(near, ask, max_calls=1)
    requests = [IntentRequest(session, ["1", "2"], 1_700_000_000_000_000), IntentRequest(session + "x", ["3"], 1_700_000_000_000_000)]
    assert worker.handle(requests) == 1, "the second is beyond the budget"
    assert worker.handle(requests[:1]) == 0, "the first is cached now"
    assert (asked, worker.left, worker.cached) == ([["Alien", "Star Wars"]], 0, 1)
    rows, _ = spooled(near.home / "intents" / "spool")
    assert [(row["items"], row["long_text"]) for row in rows] == [(["1", "2"], "films about space")]
    value = PackedClient(services.online_store_url, False).read([storage_key("intentstore", "session_intents", entity_key({"session_id": session}))])[0]
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
