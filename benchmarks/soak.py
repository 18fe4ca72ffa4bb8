"""Faults against the live half: clicks at a rate while consumers, broker and valkey are killed; then the
oracle looks at every effect.

``python benchmarks/soak.py --clicks 20000 --rate 300 --kills 30 --seed 7`` or ``--minutes N``. Exit code 1
when anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# the package `streaming` before the benchmark of that name
sys.path[:] = [str(ROOT), *(path for path in sys.path if path != str(ROOT))]

import soak_oracle  # noqa: E402

from feature_repo.contract.settings import Settings, load_settings  # noqa: E402
from feature_repo.stores.packed.live import LiveFeatureReader  # noqa: E402
from streaming.clients import client_options  # noqa: E402
from streaming.services import services as broker  # noqa: E402
from streaming.topics import ensure as topics  # noqa: E402
from streaming.topics.lag import measure  # noqa: E402

log = logging.getLogger("intentstore.soak")
DRAIN_SECONDS = 120.0
POISON = (
    b"not json",
    b"[1,2]",
    b"{}",
    b'{"event_id":"x","session_id":"","item_id":"i","event_time":1700000000000}',
    b"\xff\xfe\x00",
    None,
    b"\x1f\x8b" + b"0" * 50,
    b'{"event_id":"x","session_id":"poison","item_id":"i","event_time":"yesterday"}',
    b'{"event_id":"x","session_id":"poison","item_id":"i","event_time":-5}',
    b'{"event_id":"x","session_id":"poison","item_id":"i","event_time":4102444800000}',
    b'{"event_id":1,"session_id":"poison","item_id":"i","event_time":1}',
    b'{"event_id":"x","session_id":"poison","item_id":"i","event_time":1700000000000,"schema_version":9}',
    b'{"event_id":"x","session_id":"other","item_id":"i","event_time":1700000000000}',
)
LARGE_POISON = (
    b'{"event_id":"' + b"x" * 1_000_000 + b'","session_id":"poison","item_id":"i","event_time":1700000000000}'
)


@dataclass
class Scenario:
    """What is done to the system; counts are spread evenly at random over the clicks. ``joins``: a second
    consumer comes and goes so often.
    """

    clicks: int = 20_000
    rate: float = 300.0
    sessions: int = 800
    kills: int = 30
    broker_restarts: int = 2
    valkey_restarts: int = 2
    joins: int = 5
    seed: int = 7
    model: Path | None = None


@dataclass
class Fleet:
    """Consumer processes by name; each is started again when it was killed."""

    settings: Settings
    model: Path | None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    crashed: int = 0  # ended without being asked to

    def start(self, name: str) -> None:
        """Start a consumer with this static id."""
        command = [
            sys.executable,
            "-m",
            "streaming",
            "consume",
            "--instance-id",
            name,
            *(["--model", str(self.model)] if self.model else []),
        ]
        environment = {
            **os.environ,
            "INTENTSTORE_HOME": str(self.settings.home),
            "INTENTSTORE_ASSETS": str(self.settings.assets_dir),
        }
        with (self.settings.home / f"consumer-{name}.log").open("ab") as out:
            self.running[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kill -9 and start again."""
        process = self.running[name]
        self.crashed += process.poll() is not None
        process.kill()
        process.wait()
        self.start(name)

    def stop(self, name: str) -> int:
        """Ask a consumer to end; gives its exit code."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


class Sender:
    """Makes clicks: mostly good, some poison, duplicate or late."""

    def __init__(self, settings: Settings, scenario: Scenario) -> None:
        from kafka import KafkaProducer

        self._random, self._sessions = random.Random(scenario.seed), scenario.sessions
        self._producer = KafkaProducer(**client_options(settings), linger_ms=2, max_request_size=4 << 20)
        self._topic, self._sent = settings.kafka.clicks_topic, [(b"none", b"none")]
        self._run = f"{scenario.seed}-{time.time_ns()}"
        self._items = items_of(scenario.model)

    def send(self, number: int) -> None:
        """Send the click of this number."""
        dice = self._random.random()
        if dice < 0.02:
            value = LARGE_POISON if number % 97 == 0 else self._random.choice(POISON)
            self._producer.send(self._topic, value, b"poison")
            return
        if dice < 0.05 and len(self._sent) > 1:
            key, value = self._random.choice(self._sent[-300:])
        else:
            late = self._random.randrange(900_000) if dice < 0.08 else 0
            session = f"s{min(int(self._random.expovariate(1) * self._sessions / 3), self._sessions)}"
            click = {
                "event_id": f"{self._run}-{number}",
                "session_id": session,
                "item_id": self._random.choice(self._items),
                "event_time": int(time.time() * 1000) - late,
                "schema_version": 1,
            }
            key, value = session.encode(), json.dumps(click).encode()
            self._sent.append((key, value))
            del self._sent[:-1000]
        if key != b"none":
            self._producer.send(self._topic, value, key)

    def close(self) -> None:
        """Wait until all are taken."""
        self._producer.flush(timeout=120)
        self._producer.close()


def items_of(model: Path | None) -> list[str]:
    """Items to click on: the model's, or 500 made-up ones."""
    if model is None:
        return [f"i{number}" for number in range(500)]
    found: list[str] = json.loads((model / "items.json").read_text(encoding="utf-8"))["item_ids"]
    return found


def read_topic(settings: Settings, topic: str) -> list[Any]:
    """Read a topic from its beginning to its present end."""
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(
        **client_options(settings), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    names = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
    reader.assign(names)
    ends, found = reader.end_offsets(names), []
    reader.seek_to_beginning(*names)
    while any(reader.position(name) < ends[name] for name in names):
        for batch in reader.poll(timeout_ms=500, max_records=2000).values():
            found += batch
    reader.close()
    return found


def play(settings: Settings, scenario: Scenario) -> dict[str, int]:
    """Run the scenario and check it; services must be up. Gives counts; see ``faults_of``."""
    dice = random.Random(scenario.seed + 1)
    moments = sorted(
        (dice.randrange(scenario.clicks), what)
        for what, times in (
            ("kill", scenario.kills),
            ("broker", scenario.broker_restarts),
            ("valkey", scenario.valkey_restarts),
            ("join", 2 * scenario.joins),
        )
        for _ in range(times)
    )
    topics.ensure(settings)
    fleet, sender = Fleet(settings, scenario.model), Sender(settings, scenario)
    fleet.start("a")
    began = time.monotonic()
    try:
        for number in range(scenario.clicks):
            while moments and moments[0][0] <= number:
                _strike(settings, fleet, moments.pop(0)[1], dice)
            wait = began + number / scenario.rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sender.send(number)
        sender.close()
        drained = _drain(settings)
        codes = [fleet.stop(name) for name in list(fleet.running)]
    finally:
        for process in fleet.running.values():
            process.kill()
    result = check(settings)
    return {
        **result,
        "not_drained": int(not drained),
        "bad_exit_codes": sum(code != 0 for code in codes),
        "crashed": fleet.crashed,
        "seconds": round(time.monotonic() - began),
    }


def _strike(settings: Settings, fleet: Fleet, what: str, dice: random.Random) -> None:
    log.info("strike: %s", what)
    if what == "kill":
        fleet.kill(dice.choice(sorted(fleet.running)))
    elif what == "join":
        if "b" in fleet.running:
            fleet.stop("b")
        else:
            fleet.start("b")
    else:
        pids = json.loads((settings.home / "services" / "endpoints.json").read_text())["pids"]
        os.kill(pids["broker" if what == "broker" else "valkey"], signal.SIGKILL)
        broker.up(settings)


def _drain(settings: Settings) -> bool:
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        if measure(settings).total == 0:
            return True
        time.sleep(0.5)
    return False


def check(settings: Settings) -> dict[str, int]:
    """Let the oracle look at everything that came out."""
    from streaming.consumer.audit import stored_features

    expected = soak_oracle.truth(read_topic(settings, settings.kafka.clicks_topic))
    names = sorted(expected.sessions)
    services = broker.running(settings)
    assert services is not None, "the services are gone"
    online = dict(zip(names, LiveFeatureReader(services.online_store_url).read(names), strict=True))
    return {
        "sessions": len(names),
        "duplicates": expected.duplicates,
        **soak_oracle.check_answers(expected, read_topic(settings, settings.kafka.recommendations_topic)),
        **soak_oracle.check_letters(expected, read_topic(settings, settings.kafka.dead_letter_topic)),
        **soak_oracle.check_features(expected, online, "online"),
        **soak_oracle.check_features(expected, stored_features(settings), "state"),
        **soak_oracle.check_score_log(expected, settings.home / "score_log"),
    }


def faults_of(result: dict[str, int]) -> dict[str, int]:
    """Give the counts that must be 0 and are not."""
    words = (
        "missing",
        "extra",
        "contradicting",
        "wrong",
        "other_bytes",
        "doubled",
        "not_drained",
        "bad_exit",
        "crashed",
    )
    return {name: number for name, number in result.items() if number and any(word in name for word in words)}


def run(scenario: Scenario) -> dict[str, int]:
    """Play a scenario with services of its own; the folder is kept when anything is wrong."""
    home = Path(tempfile.mkdtemp(prefix="soak-"))
    settings = load_settings(
        None,
        os.environ,
        {
            "home": str(home),
            "assets": os.environ.get("INTENTSTORE_ASSETS") or str(ROOT / ".intentstore" / "assets"),
        },
    )
    broker.up(settings)
    try:
        result = play(settings, scenario)
    finally:
        broker.down(settings)
    wrong = faults_of(result)
    for name, number in result.items():
        print(f"{name:32} {number}{'   <-- WRONG' if name in wrong else ''}", flush=True)
    if wrong:
        print(f"logs and state are kept in {home}")
    else:
        shutil.rmtree(home, ignore_errors=True)
    return result


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (
        ("clicks", int),
        ("rate", float),
        ("sessions", int),
        ("kills", int),
        ("joins", int),
        ("seed", int),
    ):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Scenario, name))
    parser.add_argument("--broker-restarts", type=int, default=Scenario.broker_restarts)
    parser.add_argument("--valkey-restarts", type=int, default=Scenario.valkey_restarts)
    parser.add_argument("--minutes", type=float, help="run so long instead of --clicks")
    parser.add_argument("--model", type=Path, help="model folder to score with")
    parser.add_argument("--runs", type=int, default=1, help="with the seeds that follow")
    parser.add_argument("--name", default="soak", help="of the result file")
    options = vars(parser.parse_args())
    minutes, runs, file = options.pop("minutes"), options.pop("runs"), options.pop("name")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    rows, wrong = [], False
    for number in range(runs):
        scenario = Scenario(**{**options, "seed": options["seed"] + number})
        if minutes:
            scenario.clicks = round(minutes * 60 * scenario.rate)
        result = run(scenario)
        wrong |= bool(faults_of(result))
        rows.append({**vars(scenario), "model": scenario.model.name if scenario.model else "none", **result})
    from _report import write_result

    write_result(file, rows)
    return int(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
