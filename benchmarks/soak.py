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
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# the package `streaming` before the benchmark of that name
sys.path[:] = [str(ROOT), *(path for path in sys.path if path != str(ROOT)), str(ROOT / "tests")]

import soak_oracle  # noqa: E402
from soak_fleet import DRAIN_SECONDS, Fleet  # noqa: E402
from soak_topics import (  # noqa: E402
    Past,
    add_partitions,
    librdkafka_partitioner,
    noted_widths,
    read_topic,
    remake,
)

from feature_repo.contract.settings import Settings, load_settings  # noqa: E402
from feature_repo.stores.packed.live import LiveFeatureReader  # noqa: E402
from streaming.clients import client_options  # noqa: E402
from streaming.services import services as broker  # noqa: E402
from streaming.topics import ensure as topics  # noqa: E402
from streaming.topics.lag import measure  # noqa: E402

log = logging.getLogger("intentstore.soak")
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
    """What is done to the system; counts are spread evenly at random over the clicks.

    ``joins``: a second consumer comes and goes so often. ``restores``: a consumer loses its state folder and
    is ended while it folds the topic again. ``grows``: two partitions are added to all topics. ``own_state``:
    each consumer has a state folder of its own, as on several machines. ``others``: so large a share of the
    clicks, of the same sessions, comes from a second producer with librdkafka's CRC32 partitioner.
    ``remake``: at the end the clicks topic is deleted and made anew while nobody runs, and a fifth more
    clicks are sent.
    """

    clicks: int = 20_000
    rate: float = 300.0
    sessions: int = 800
    kills: int = 30
    broker_restarts: int = 2
    valkey_restarts: int = 2
    joins: int = 5
    restores: int = 0
    grows: int = 0
    own_state: bool = False
    others: float = 0.0
    remake: bool = False
    seed: int = 7
    model: Path | None = None


class Sender:
    """Makes clicks: mostly good, some poison, duplicate or late."""

    def __init__(self, settings: Settings, scenario: Scenario) -> None:
        self._random, self._sessions, self._settings = (
            random.Random(scenario.seed),
            scenario.sessions,
            settings,
        )
        self._others = scenario.others
        self.open()
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
            other = self._random.random() < self._others
            session = f"s{min(int(self._random.expovariate(1) * self._sessions / 3), self._sessions)}"
            click = {
                "event_id": f"{soak_oracle.OTHER if other else ''}{self._run}-{number}",
                "session_id": session,
                "item_id": self._random.choice(self._items),
                "event_time": int(time.time() * 1000) - late,
                "schema_version": 1,
            }
            key, value = session.encode(), json.dumps(click).encode()
            self._sent.append((key, value))
            del self._sent[:-1000]
            if other:
                self._other.send(self._topic, value, key)
                return
        if key != b"none":
            self._producer.send(self._topic, value, key)

    def open(self) -> None:
        """Know the topic's partitions anew, after ``close``."""
        from kafka import KafkaProducer

        options = {**client_options(self._settings), "linger_ms": 2, "max_request_size": 4 << 20}
        self._producer = KafkaProducer(**options)
        self._other = KafkaProducer(**options, **librdkafka_partitioner())

    def close(self) -> None:
        """Wait until all are taken."""
        for producer in (self._producer, self._other):
            producer.flush(timeout=120)
            producer.close()


def items_of(model: Path | None) -> list[str]:
    """Items to click on: the model's, or 500 made-up ones."""
    if model is None:
        return [f"i{number}" for number in range(500)]
    found: list[str] = json.loads((model / "items.json").read_text(encoding="utf-8"))["item_ids"]
    return found


def play(settings: Settings, scenario: Scenario) -> dict[str, int]:
    """Run the scenario and check it; services must be up. Gives counts; see ``faults_of``."""
    dice = random.Random(scenario.seed + 1)
    moments = _moments(scenario, dice)
    topics.ensure(settings)
    fleet, sender = Fleet(settings, scenario.model, scenario.own_state), Sender(settings, scenario)
    fleet.start("a")
    began = time.monotonic()
    try:
        for number in range(scenario.clicks):
            while moments and moments[0][0] <= number:
                _strike(settings, fleet, sender, moments.pop(0)[1], dice)
            wait = began + number / scenario.rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            sender.send(number)
        sender.close()
        drained = _drain(settings, fleet)
        codes = [fleet.stop(name) for name in sorted(fleet.running)]
        past, more = _made_anew(settings, scenario, fleet, sender) if scenario.remake else (None, [])
        codes += more
    finally:
        for process in fleet.running.values():
            process.kill()
    result = check(settings, [fleet.folder("a")] if past else fleet.folders(), past)
    return {
        **result,
        "restores_ended": fleet.killed_restoring,
        "not_drained": int(not drained),
        "bad_exit_codes": sum(code != 0 for code in codes),
        "crashed": fleet.crashed,
        "seconds": round(time.monotonic() - began),
    }


def _moments(scenario: Scenario, dice: random.Random) -> list[tuple[int, str]]:
    """Give what happens after how many clicks. Disks are lost before the topic grows and a while after it, so
    that there is something to restore.
    """
    windows = {"restore": ((0.35, 0.45), (0.88, 0.98)), "grow": ((0.5, 0.6), (0.7, 0.8))}
    times = {
        "kill": scenario.kills,
        "broker": scenario.broker_restarts,
        "valkey": scenario.valkey_restarts,
        "join": 2 * scenario.joins,
        "restore": scenario.restores,
        "grow": scenario.grows,
    }
    moments = []
    for what, number in times.items():
        places = windows.get(what, ((0.0, 1.0),))
        for turn in range(number):
            begin, end = places[turn % len(places)]
            moments.append((int(dice.uniform(begin, end) * scenario.clicks), what))
    return sorted(moments)


def _made_anew(
    settings: Settings, scenario: Scenario, fleet: Fleet, sender: Sender
) -> tuple[Past, list[int]]:
    """Make the clicks topic anew and send a fifth more clicks; gives the old topic and exit codes."""
    past, refused = remake(settings, fleet)
    sender.open()
    for number in range(scenario.clicks, scenario.clicks + scenario.clicks // 5):
        sender.send(number)
    sender.close()
    drained = _drain(settings, fleet)
    return past, [int(not refused), int(not drained), *(fleet.stop(name) for name in sorted(fleet.running))]


def _strike(settings: Settings, fleet: Fleet, sender: Sender, what: str, dice: random.Random) -> None:
    log.info("strike: %s", what)
    if what == "kill":
        fleet.kill(dice.choice(sorted(fleet.running)))
    elif what == "restore":
        fleet.lose(dice.choice(sorted(fleet.running)), dice)
    elif what == "grow":
        _grow(settings, fleet, sender)
    elif what == "join":
        if "b" in fleet.running:
            fleet.stop("b")
        else:
            fleet.start("b")
    else:
        pids = json.loads((settings.home / "services" / "endpoints.json").read_text())["pids"]
        os.kill(pids["broker" if what == "broker" else "valkey"], signal.SIGKILL)
        broker.up(settings)


def _grow(settings: Settings, fleet: Fleet, sender: Sender) -> None:
    """Add two partitions to all topics, with whatever clicks wait; the consumers move the states when they
    are back.
    """
    names = sorted(fleet.running)
    for name in names:
        fleet.stop(name)
    add_partitions(settings, topics.layout(settings).partitions + 2)
    sender.close()
    sender.open()
    for name in names:
        fleet.start(name)


def _drain(settings: Settings, fleet: Fleet) -> bool:
    """Wait until nothing is left to read or to restore, as long as commits move: a slow machine is no fault,
    standing still is one, and then the log says how things stand.
    """
    stood, moved = "", time.monotonic()
    while (lag := measure(settings)).total or any(fleet.restoring(name) for name in fleet.running):
        if lag.to_table() != stood:
            stood, moved = lag.to_table(), time.monotonic()
        if time.monotonic() - moved > DRAIN_SECONDS:
            log.error("no commit has moved for %.0f s\n%s", DRAIN_SECONDS, stood)
            return False
        time.sleep(0.5)
    return True


def check(settings: Settings, folders: Sequence[Path] = (), past: Past | None = None) -> dict[str, int]:
    """Let the oracle look at everything that came out.

    ``folders`` of the consumers' states, instead of the configured one; ``past`` of the clicks topic, where
    it was made anew.
    """
    from oracles.consumer_state import stored_features

    kafka, clicks = settings.kafka, read_topic(settings, settings.kafka.clicks_topic)
    expected = _expected(settings, clicks, past)
    names = sorted(expected.sessions)
    services = broker.running(settings)
    assert services is not None, "the services are gone"
    online = dict(zip(names, LiveFeatureReader(services.online_store_url).read(names), strict=True))
    anew, anew_us = (topics.layout(settings).topic_id.encode(), past.ended_us) if past else (None, None)
    return {
        "sessions": len(names),
        "duplicates": expected.duplicates,
        "refused_elsewhere": expected.elsewhere,
        "refused_wrongly": expected.refused_wrongly,
        **soak_oracle.check_answers(expected, read_topic(settings, kafka.recommendations_topic), anew),
        **soak_oracle.check_letters(expected, read_topic(settings, kafka.dead_letter_topic), anew),
        **soak_oracle.check_features(expected, online, "online"),
        **soak_oracle.check_features(expected, stored_features(settings, folders), "state"),
        **soak_oracle.check_score_log(expected, settings.home / "score_log", anew_us),
    }


def _expected(settings: Settings, clicks: list[Any], past: Past | None) -> soak_oracle.Truth:
    grown = soak_oracle.grown_of(noted_widths(settings))
    if past is None:
        return soak_oracle.truth(clicks, grown)
    before, last = soak_oracle.grown_of(past.widths), grown[-1]
    anew = soak_oracle.Grown(last.count, dict.fromkeys(range(last.count), sys.maxsize))
    return soak_oracle.truth([*past.clicks, *soak_oracle.moved_on(clicks)], [*before, anew])


def faults_of(result: dict[str, int]) -> dict[str, int]:
    """Give the counts that must be 0 and are not."""
    words = (
        "missing",
        "extra",
        "contradicting",
        "wrong",
        "other_bytes",
        "doubled",
        "repeated",
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
        ("restores", int),
        ("grows", int),
        ("seed", int),
    ):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Scenario, name))
    parser.add_argument(
        "--others", type=float, default=Scenario.others, help="share of a second producer's clicks"
    )
    parser.add_argument("--broker-restarts", type=int, default=Scenario.broker_restarts)
    parser.add_argument("--valkey-restarts", type=int, default=Scenario.valkey_restarts)
    parser.add_argument(
        "--own-state", action="store_true", help="each consumer has a state folder of its own"
    )
    parser.add_argument(
        "--remake", action="store_true", help="delete the clicks topic at the end and make it anew"
    )
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
