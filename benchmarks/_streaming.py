"""Shared by the streaming benchmarks: settings with topics of their own, worker processes, model folders of
any size, medians.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from feature_repo.contract.settings import Settings, load_settings
from streaming.clients import client_options

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120.0


def settings_of(home: Path, bootstrap: str | None = None, url: str | None = None, **more: Any) -> Settings:
    """Settings with topics and a group of their own, so that no run meets another; ``more`` with ``__``
    between section and key.
    """
    name = uuid.uuid4().hex[:6]
    overrides: dict[str, Any] = {
        "home": str(home),
        "assets": os.environ.get("INTENTSTORE_ASSETS") or str(ROOT / ".intentstore" / "assets"),
        "kafka.clicks_topic": f"clicks-{name}",
        "kafka.recommendations_topic": f"answers-{name}",
        "kafka.dead_letter_topic": f"dead-{name}",
        "streaming.group": f"bench-{name}",
        "kafka.bootstrap_servers": bootstrap,
        "online.url": url,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    return load_settings(Path(os.devnull), {}, overrides)


def environment(settings: Settings) -> dict[str, str]:
    """The settings as variables of a child process."""
    kafka, streaming = settings.kafka, settings.streaming
    values = {
        "HOME": settings.home,
        "ASSETS": settings.assets_dir,
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "KAFKA__CLICKS_TOPIC": kafka.clicks_topic,
        "KAFKA__RECOMMENDATIONS_TOPIC": kafka.recommendations_topic,
        "KAFKA__DEAD_LETTER_TOPIC": kafka.dead_letter_topic,
        "STREAMING__GROUP": streaming.group,
        "STREAMING__TRANSACTIONAL": streaming.transactional,
        "STREAMING__LINGER_MS": streaming.linger_ms,
        "STREAMING__MAX_RECORDS": streaming.max_records,
        "ONLINE__URL": settings.online.url.get_secret_value() if settings.online.url else "",
        "INTENTS__SOURCE": "encoder",
    }
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        **{f"INTENTSTORE_{name}": str(value) for name, value in values.items()},
    }


@contextlib.contextmanager
def process(command: list[str], settings: Settings, name: str) -> Iterator[psutil.Process]:
    """A child process, ended by SIGTERM; its output goes to ``home/<name>.log``."""
    with (settings.home / f"{name}.log").open("ab") as out:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment(settings), stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield psutil.Process(child.pid)
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def consumer(
    settings: Settings, model: Path | None, number: int = 0, prefix: Sequence[str] = ()
) -> contextlib.AbstractContextManager[psutil.Process]:
    """A consumer process."""
    command = [
        *prefix,
        sys.executable,
        "-m",
        "streaming",
        "consume",
        "--instance-id",
        f"w{number}",
        *(["--model", str(model)] if model else []),
    ]
    return process(command, settings, f"consumer-{number}")


def at_realtime(on: bool, services: Any = None) -> list[str]:
    """The prefix of a command at real-time priority, for machines that others use too (root); moves running
    services there as well.
    """
    if not on:
        return []
    for pid in services.pids.values() if services is not None else ():
        if pid:
            subprocess.run(["chrt", "--all-tasks", "--rr", "--pid", "1", str(pid)], check=True)
    return ["chrt", "--rr", "1"]


def cpu_seconds(of: psutil.Process) -> float:
    """Processor time so far, all threads."""
    times = of.cpu_times()
    return float(times.user + times.system)


def write_items(folder: Path, model: Path | None) -> Path:
    """Item ids to click on, as a JSON file."""
    items = [f"i{number}" for number in range(2_000)]
    if model:
        items = json.loads((model / "items.json").read_text(encoding="utf-8"))["item_ids"]
    file = folder / f"items-{model.name if model else 'none'}.json"
    file.write_text(json.dumps(items))
    return file


def synthetic_model(folder: Path, items: int) -> Path:
    """Write a model folder with random weights for a large catalogue: time does not depend on what they
    are.
    """
    import numpy as np
    from scoring import make_network, make_scorer, with_parts

    from model.recommender import artifact
    from model.recommender.train import Trained

    random = np.random.default_rng(1)
    scorer = with_parts(make_scorer(items, 128 if items <= 100_000 else 64, random), random)
    trained = Trained(
        scorer.config,
        scorer.catalogue,
        make_network(items, scorer.config.dim),
        None,
        None,
        scorer.counts,
        hybrid=scorer.hybrid,
    )
    return artifact.save(trained, folder / f"synthetic-{items}")


def commit_of(settings: Settings) -> int:
    """Records that the group has committed, all partitions together."""
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(
        **client_options(settings), group_id=settings.streaming.group, enable_auto_commit=False
    )
    try:
        names = [
            TopicPartition(settings.kafka.clicks_topic, number)
            for number in sorted(reader.partitions_for_topic(settings.kafka.clicks_topic) or ())
        ]
        return sum(reader.committed(name) or 0 for name in names)
    finally:
        reader.close(autocommit=False)


def medians(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """One row for the repeats of each case: the median of every number, and lowest and highest where they
    differ.
    """
    cases: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        cases.setdefault(tuple(row.get(key) for key in keys), []).append(row)
    result = []
    for case, same in cases.items():
        merged: dict[str, Any] = {**dict(zip(keys, case, strict=True)), "repeats": len(same)}
        for name in same[0]:
            values = [row[name] for row in same]
            if name in keys:
                continue
            if isinstance(values[0], bool) or not isinstance(values[0], int | float):
                merged[name] = values[0]
                continue
            merged[name] = round(statistics.median(values), 3)
            if len(values) > 1 and min(values) != max(values):
                merged[f"{name}_spread"] = [round(min(values), 3), round(max(values), 3)]
        result.append(merged)
    return result


def wait_for(check: Any, what: str, seconds: float = START_SECONDS, every: float = 0.1) -> None:
    """Ask now and then until it is true."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not happen within {seconds:.0f} s")
        time.sleep(every)
