"""The endpoint source against a real LLM server that dies in the middle and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import pytest

from feature_repo.contract.settings import LlmSettings, Settings
from model.intent.ask.endpoint import EndpointLlm
from model.intent.llm.weights import prepare
from streaming.services.processes import free_port

PREFIXES = [
    ["Alien (1979)", "Aliens (1986)"],
    ["Casablanca (1942)"],
    ["Heat (1995)", "Fargo (1996)", "Jaws (1975)"],
    ["Dune (1984)"],
    ["Brazil (1985)", "Heat (1995)"],
]


class Server:
    """`transformers serve` with SmolLM2 on a fixed free port."""

    def __init__(self, model):
        self.port = free_port()
        self.model = str(model)
        self.process = None

    def start(self):
        command = [
            sys.executable,
            "-m",
            "transformers.cli.transformers",
            "serve",
            self.model,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*command, "--device", "cpu"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        pause = threading.Event()
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "transformers serve ended by itself"
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                pause.wait(0.3)
        raise AssertionError("transformers serve did not answer")

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(assets_dir):
    running = Server(prepare(LlmSettings(), assets_dir))
    running.start()
    yield running
    running.kill()


def test_a_server_killed_in_the_middle_loses_no_finished_answer_and_the_rest_is_asked_again(server):
    endpoint = {
        "url": f"http://127.0.0.1:{server.port}/v1",
        "model": server.model,
        "concurrency": 1,
        "attempts": 2,
        "timeout_seconds": 120.0,
    }
    source = EndpointLlm(
        Settings(endpoint=endpoint, llm={"max_new_tokens": 8}, intents={"source": "endpoint"}),
        wait_scale=0.01,
    )
    answers = {}

    def keep(place, answer):
        answers[place] = answer
        server.kill()

    failures = source.answer(PREFIXES, keep)
    assert len(answers) >= 1 and sorted([*answers, *(place for place, _ in failures)]) == list(
        range(len(PREFIXES))
    )
    assert all(reason for _, reason in failures)

    server.start()
    places = [place for place, _ in failures]
    second = {}
    assert source.answer([PREFIXES[place] for place in places], second.__setitem__) == []
    found = {**answers, **{places[number]: answer for number, answer in second.items()}}
    assert sorted(found) == list(range(len(PREFIXES)))
    for answer in found.values():
        assert (
            answer.long_text and answer.short_text and answer.input_tokens > 20 and answer.output_tokens > 0
        )
