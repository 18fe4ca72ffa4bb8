"""The HTTP half of `online.py`: our server and stock `feast serve`, one worker each, over the same rows;
calls take turns on kept connections.

`python benchmarks/_online_http.py REPO PORT ACCESS` is our server over a repository of the benchmark, as
`python -m feature_repo serve` is over a home.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from feature_repo.contract.settings import load_settings

START_SECONDS = 120.0


def http_rows(
    folder: Path, configs: dict[str, dict[str, Any]], entities: int, rounds: int
) -> list[dict[str, Any]]:
    """Time reads of 1 and of 100 entities over HTTP.

    Parameters
    ----------
    folder : Path
        For the repositories and the access file.
    configs : dict
        ``stock`` and ``packed``: contents of their feature_store.yaml, registry applied.
    entities : int
        Keys u0 and on are there.
    rounds : int
        Calls a way and size.
    """
    from feature_repo.serving.access import add_token

    access = folder / "access.toml"
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {add_token(access, 'bench', ['*'])}",
    }
    with ExitStack() as running:
        connections = {}
        for kind, config in configs.items():
            repo = folder / f"repo_{kind}"
            repo.mkdir()
            (repo / "feature_store.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
            port = _free_port()
            command = [sys.executable, str(Path(__file__).resolve()), str(repo), str(port), str(access)]
            if kind == "stock":
                command = [
                    str(Path(sys.executable).with_name("feast")),
                    "-c",
                    str(repo),
                    "serve",
                    "-p",
                    str(port),
                    "--no-access-log",
                ]
            running.enter_context(_server(command, port))
            connections[kind] = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        return _timed(connections, headers, entities, rounds)


def _timed(
    connections: dict[str, http.client.HTTPConnection], headers: dict[str, str], entities: int, rounds: int
) -> list[dict[str, Any]]:
    dice, rows = random.Random(2), []
    for count in (1, 100):
        seconds: dict[str, list[float]] = {kind: [] for kind in connections}
        for turn in range(rounds + 20):
            users = [f"u{dice.randrange(entities)}" for _ in range(count)]
            body = json.dumps({"feature_service": "all_v1", "entities": {"user_id": users}})
            answers = {}
            for kind, connection in connections.items():
                start = time.perf_counter()
                connection.request("POST", "/get-online-features", body, headers)
                answer = connection.getresponse()
                raw = answer.read()
                taken = time.perf_counter() - start
                if answer.status != 200:
                    raise RuntimeError(f"{kind} answered {answer.status}: {raw[:300]!r}")
                answers[kind] = raw
                if turn >= 20:  # the first calls load what is loaded lazily
                    seconds[kind].append(taken)
            if turn == 0:
                _check_equal(answers)
        for kind, taken_all in seconds.items():
            name = "stock feast serve" if kind == "stock" else "python -m feature_repo serve"
            rows.append(
                {
                    "what": f"HTTP, {name}, 1 worker",
                    "entities": count,
                    "p50_ms": float(np.percentile(taken_all, 50)) * 1000,
                    "p99_ms": float(np.percentile(taken_all, 99)) * 1000,
                }
            )
    return rows


def _check_equal(answers: dict[str, bytes]) -> None:
    found = []
    for raw in answers.values():
        answer = json.loads(raw)
        found.append(
            {
                name: column["values"]
                for name, column in zip(answer["metadata"]["feature_names"], answer["results"], strict=True)
            }
        )
    if any(other != found[0] for other in found[1:]):
        raise RuntimeError("the two servers answered different values")


@contextmanager
def _server(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                probe = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                probe.request("GET", "/health")
                if probe.getresponse().status == 200:
                    break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{command} did not answer on port {port} (exit {process.poll()})"
                    ) from None
                time.sleep(0.2)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(repo: str, port: str, access: str) -> None:
    """Serve a repository of the benchmark as a home is served."""
    from feast import FeatureStore

    from feature_repo.serving.app import ServeOptions, serve

    settings = load_settings(Path(os.devnull), {}, {"home": repo})
    serve(settings, ServeOptions("127.0.0.1", int(port), 1, Path(access)), FeatureStore(repo_path=repo))


if __name__ == "__main__":
    main(*sys.argv[1:4])
