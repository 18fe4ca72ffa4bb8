"""A running HTTP side and consumer on the shared broker and valkey, with a small trained model. Browser tests
only where Chromium is.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from feature_repo.contract.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from own_topics import on_own_topics, own_topics

ROOT = Path(__file__).parents[3]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
collect_ignore = [] if CHROMIUM else ["http/test_page.py"]

HOSTILE = "<img src=x onerror=\"document.title='forged'\"><script>document.title='forged'</script>"
KINDS = {
    "shoes": ("Trail running shoes", "Road running shoes", "Leather walking boots", "Canvas sneakers"),
    "lamps": ("Desk lamp", "Floor lamp", "Lantern", "Torch"),
}
PATIENCE_SECONDS = 180.0  # a bound against hanging for ever, not a measure


def until(check: Callable[[], Any], what: str) -> Any:
    """Wait for something to become true; what it gives."""
    end, pause = time.monotonic() + PATIENCE_SECONDS, threading.Event()
    while time.monotonic() < end:
        if result := check():
            return result
        pause.wait(0.05)
    raise AssertionError(f"{what} did not happen within {PATIENCE_SECONDS:.0f} s")


def items() -> list[tuple[str, str, str]]:
    """Give 33 items (id, title, category) in two kinds; one has a hostile title."""
    made = [(f"{kind}-{n}", f"{KINDS[kind][n % 4]} no. {n}", kind) for kind in KINDS for n in range(16)]
    return [*made, ("hostile", HOSTILE, "shoes")]


def write_dataset(folder: Path) -> Path:
    """Write a dataset folder: 80 sessions that stay within one kind."""
    draw, lines = random.Random(5), ["session_id,item_id,event_time"]
    for session in range(80):
        kind = list(KINDS)[session % 2]
        for click in range(6):
            item = "hostile" if draw.random() < 0.1 and kind == "shoes" else f"{kind}-{draw.randrange(16)}"
            lines.append(f"s{session},{item},{1_700_000_000 + session * 10_000 + click * 20}")
    folder.mkdir(parents=True)
    (folder / "clicks.csv").write_text("\n".join(lines) + "\n")
    rows = [f'{item_id},"{title.replace(chr(34), chr(34) * 2)}",{kind}' for item_id, title, kind in items()]
    (folder / "items.csv").write_text("\n".join(["item_id,title,category", *rows]) + "\n")
    return folder


def train_versions(settings: Settings, dataset: Path, count: int) -> list[Path]:
    """Train small models that differ by their seed and save each as a version, not promoted."""
    from model.config import ModelConfig
    from model.intent.ground.localiser import Localiser
    from model.recommender import artifact
    from model.recommender.train import train
    from model.study.benchmark import prepare

    configs = [ModelConfig(dim=16, epochs=1, seed=seed) for seed in range(1, count + 1)]
    data, encoder = prepare(settings, dataset, "next-item", configs[0], "none")
    catalogue = data.catalogue
    assert catalogue.vectors is not None
    localiser = Localiser(catalogue.item_ids, catalogue.titles, catalogue.vectors)
    return [
        artifact.save_version(
            train(data, config), settings.models_dir, encoder=encoder, intent=localiser.save
        )
        for config in configs
    ]


class Side:
    """The HTTP side and the consumer as processes, and a client; ``python`` may be that of another
    environment with the project in it.
    """

    def __init__(self, settings: Settings, versions: list[Path], python: Path = Path(sys.executable)) -> None:
        self.settings, self.versions, self._python = settings, versions, python
        self.server, first = self._start("serve", "--port", "0")
        self.url = first.rpartition(" ")[2].strip()
        self.client = httpx.Client(base_url=self.url, timeout=30)
        self._consumer: subprocess.Popen[str] | None = None

    def _start(self, *words: str) -> tuple[subprocess.Popen[str], str]:
        assert self.settings.online.url is not None
        names = (
            "bootstrap_servers",
            "clicks_topic",
            "recommendations_topic",
            "dead_letter_topic",
            "items_topic",
        )
        kafka = [f"{key} = {json.dumps(getattr(self.settings.kafka, key))}" for key in names]
        online = ["[online]", f"url = {json.dumps(self.settings.online.url.get_secret_value())}"]
        config = self.settings.home / "intentstore.toml"
        config.write_text(
            "\n".join(
                [
                    f"home = {json.dumps(str(self.settings.home))}",
                    "[kafka]",
                    "partitions = 2",
                    *kafka,
                    *online,
                ]
            )
        )
        environ = {name: value for name, value in os.environ.items() if not name.startswith("INTENTSTORE_")}
        environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        if self._python == Path(sys.executable):
            environ["PYTHONPATH"] = str(ROOT)
        log = (self.settings.home / f"{words[0]}.log").open("w")
        command = [str(self._python), "-m", "streaming", words[0], "--config", str(config), *words[1:]]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environ,
            cwd=self.settings.home,
            start_new_session=True,
        )
        assert process.stdout is not None
        return process, process.stdout.readline() if words[0] == "serve" else ""

    def promote(self, at: int) -> str:
        """Promote a version and wait until it answers."""
        from model.recommender import artifact

        version = self.versions[at].name
        artifact.promote(self.settings.models_dir, version)
        until(lambda: self.version() == version, f"model {version} in use")
        return version

    def version(self) -> str | None:
        """Give the model version that answers, if any."""
        response = self.client.post("/v1/recommend", json={"items": []})
        return str(response.json()["model_version"]) if response.status_code == 200 else None

    def consume(self) -> None:
        """Start the consumer, once."""
        if self._consumer is None:
            self._consumer, _ = self._start("consume")

    def click(self, session: str, item: str) -> str:
        """Send one click of now by HTTP and give its event id."""
        event = uuid.uuid4().hex
        body = {
            "event_id": event,
            "session_id": session,
            "item_id": item,
            "event_time": time.time_ns() // 1_000_000,
            "schema_version": 1,
        }
        response = self.client.post("/v1/clicks", json=body)
        assert response.status_code == 202, response.text
        return event

    def answer(self, session: str, event: str) -> dict[str, Any]:
        """Wait for the answer to a click."""
        path = f"/v1/sessions/{session}/recommendations"
        check = lambda: (
            (response := self.client.get(path)).status_code == 200
            and (body := response.json())["event_id"] == event
            and body
        )
        return dict(until(check, f"answer to {event}"))

    def close(self) -> None:
        """Stop both processes by their own ids; told to end, they end with 0."""
        self.client.close()
        for process in (self.server, self._consumer):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        codes = {process.wait(60) for process in (self.server, self._consumer) if process is not None}
        assert codes == {0}


@pytest.fixture
def side_without_a_model(base_settings: Settings, services: Any, tmp_path: Path) -> Iterator[Side]:
    """A server of its own that no model was ever promoted for."""
    side = Side(on_own_topics(base_settings, services, home=tmp_path), [])
    yield side
    side.close()


@pytest.fixture(scope="session")
def side(base_settings: Settings, services: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """A server without a promoted model, and two versions to promote; the consumer is started by whoever
    needs it.
    """
    home = tmp_path_factory.mktemp("http")
    settings = on_own_topics(base_settings, services, home=home)
    side = Side(settings, train_versions(settings, write_dataset(home / "dataset"), 2))
    yield side
    side.close()


@pytest.fixture
def light_side(
    base_settings: Settings, services: Any, live_environment: Path, tmp_path: Path
) -> Iterator[Side]:
    """A server of the environment without torch, and a version to promote."""
    settings = on_own_topics(base_settings, services, home=tmp_path)
    versions = train_versions(settings, write_dataset(tmp_path / "dataset"), 1)
    side = Side(settings, versions, live_environment / "bin" / "python")
    yield side
    side.close()


@pytest.fixture(scope="session")
def wait() -> Callable[[Callable[[], Any], str], Any]:
    """Wait for something to become true, with a bound against hanging."""
    return until


@pytest.fixture
def live(settings: Settings, services: Any) -> Settings:
    """Settings with topics and a group of this test's own on the shared services."""
    return own_topics(settings, services)
