"""`live_quality` against an oracle that counts from the raw topics: late clicks, repeats, a consumer that did
its work twice, impressions, purchases, two models.
"""

from __future__ import annotations

import itertools
import json
import random
from datetime import UTC

import numpy as np
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from feature_repo.contract.messages import RecommendedItem
from feature_repo.contract.session import FoldConfig
from oracles import live_quality as oracle
from spark_jobs.ingest import job as ingest
from spark_jobs.lake.lake import Lake
from spark_jobs.live import quality
from streaming.consumer.pipeline import Breaker, Pipeline, RawRecord
from streaming.consumer.score_log import ScoreLog, pack
from streaming.consumer.state import PartitionStore
from streaming.serving.answers import NO_INTENTS, Answer, Popularity

TOPICS = (f"quality-{number}" for number in itertools.count())
HOUR_US = 3_600_000_000
START_MS = 1_760_000_000_000


class TwoModels:
    """Answers with neighbouring items, scores that tie now and then, and one model after the other."""

    def __init__(self):
        self.popularity, self.version = Popularity(), "one"

    def __call__(self, prefixes, ended=None):
        return [self._answer(prefix) for prefix in prefixes]

    def _answer(self, prefix):
        last = int(prefix[-1][1:])
        items = [f"i{(last + step) % 40}" for step in range(1, 25)]
        scores = [1.0 / (1 + step // 3) for step in range(len(items))]
        rows = [RecommendedItem(*row) for row in zip(items, scores, strict=True)]
        return Answer(rows, NO_INTENTS, self.version, ("neighbours", "popular") * 12)


def log(count, first=0, seed=5):
    """Records of a shop: walks with late clicks, repeats, purchases, impressions, pauses, and nonsense."""
    draw, clock, at = random.Random(seed + first), {}, {}
    for number in range(first, first + count):
        session = f"s{draw.randrange(12)}"
        clock[session] = clock.get(session, START_MS + first * 1000) + draw.choice((0, 1000, 5000, 700_000))
        at[session] = (at.get(session, draw.randrange(40)) + draw.choice((1, 1, 2, 9))) % 40
        late = draw.choice((0, 0, 0, 0, 3000, 900_000))
        kind = draw.choice((None, "view", "click", "purchase", "impression" if session < "s5" else "view"))
        body = {
            "event_id": f"e{number}",
            "session_id": session,
            "item_id": f"i{(at[session] + (1 if kind == 'impression' else 0)) % 40}",
            "event_time": clock[session] - late,
            "schema_version": 1,
        } | ({"event_type": kind} if kind else {})
        value = b"nonsense" if draw.random() < 0.03 else json.dumps(body).encode()
        yield from [(session.encode(), value)] * (2 if draw.random() < 0.1 else 1)


class Shop:
    """A topic, a consumer's pipeline over it, and the records that both wrote."""

    def __init__(self, settings, services, folder):
        self.topic, self.servers, self.folder = next(TOPICS), services.bootstrap_servers, folder
        kafka = settings.kafka.model_copy(
            update={"bootstrap_servers": self.servers, "clicks_topic": self.topic}
        )
        session = settings.session.model_copy(update={"gap_minutes": 10.0})
        self.settings = settings.model_copy(update={"kafka": kafka, "session": session})
        admin = KafkaAdminClient(bootstrap_servers=self.servers)
        admin.create_topics([NewTopic(self.topic, num_partitions=2, replication_factor=1)])
        admin.close()
        self.answers, self.refused, self.read = [], set(), [0, 0]
        self.answerer, self.now = TwoModels(), (START_MS * 1000 // HOUR_US) * HOUR_US
        self.stores = [PartitionStore(folder / f"p{number}") for number in range(2)]

    def send(self, records):
        with KafkaProducer(bootstrap_servers=self.servers) as producer:
            for key, value in records:
                producer.send(self.topic, key=key, value=value)
            producer.flush()

    def records(self):
        consumer = KafkaConsumer(bootstrap_servers=self.servers, enable_auto_commit=False)
        places = [TopicPartition(self.topic, number) for number in range(2)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        ends, found = consumer.end_offsets(places), []
        while any(consumer.position(place) < end for place, end in ends.items()):
            for batch in consumer.poll(timeout_ms=500).values():
                found += batch
        consumer.close()
        return sorted(found, key=lambda record: (record.partition, record.offset))

    def serve(self):
        """Answer what is new in batches; every third batch is worked through a second time, as after a crash
        before it was stored, and its answers are sent twice."""
        pipeline = Pipeline(
            self.topic,
            FoldConfig.from_settings(self.settings.session),
            self.answerer,
            Breaker(1.0, 10),
            lambda: self.now,
        )
        files = ScoreLog(self.settings.home / "score_log", self.topic)
        everything = self.records()
        for partition, store in enumerate(self.stores):
            files.adopt(partition, store)
            fresh = [
                RawRecord(partition, one.offset, one.timestamp * 1000, one.key, one.value)
                for one in everything
                if one.partition == partition and one.offset >= self.read[partition]
            ]
            for number, start in enumerate(range(0, len(fresh), 17)):
                batch = fresh[start : start + 17]
                self.now += HOUR_US // 7
                self.answerer.version = "one" if number % 2 else "two"
                outcome = pipeline.process({partition: batch}, {partition: store}).partitions[partition]
                if number % 3 == 0:
                    pipeline.process({partition: batch}, {partition: store})
                    self.answers += [value for _, _, value in outcome.outbox.answers]
                self.answers += [value for _, _, value in outcome.outbox.answers]
                self.refused |= {(partition, letter.offset) for letter in outcome.outbox.letters}
                rows = [(offset, pack(row)) for offset, row in outcome.rows]
                store.write(outcome.next_offset, outcome.states, outcome.outbox, rows)
                files.add(partition, outcome.rows)
                self.read[partition] = outcome.next_offset
            files.roll(partition, store)

    def counted(self):
        clicks = [(one.partition, one.offset, one.value) for one in self.records()]
        return oracle.count(clicks, self.answers, self.refused, 600_000_000)


@pytest.fixture
def shop(settings, services, tmp_path):
    made = Shop(settings, services, tmp_path / "stores")
    yield made
    for store in made.stores:
        store.close()


def compare(lake, expected):
    rows = lake.read("live_quality").where("period = 'hour' AND slice = 'all'").toArrow().to_pylist()
    found = {
        (row["start"].astimezone(UTC).strftime("%Y-%m-%dT%H"), row["model_version"]): row for row in rows
    }
    assert set(found) == set(expected)
    for key, cell in expected.items():
        row, ranks = found[key], np.array(cell["ranks"])
        assert (row["answers"], row["cases"]) == (cell["answers"], cell["cases"]), key
        for k in (5, 10, 20) if cell["cases"] else ():
            hit = (ranks > 0) & (ranks <= k)
            assert row[f"hit_{k}"] == pytest.approx(hit.mean(), abs=1e-9), key
            assert row[f"mrr_{k}"] == pytest.approx(
                np.where(hit, 1 / np.maximum(ranks, 1), 0).mean(), abs=1e-9
            )
            assert row[f"hit_{k}_low"] <= row[f"hit_{k}"] <= row[f"hit_{k}_high"]


def table(lake):
    return sorted(map(tuple, lake.read("live_quality").collect()), key=str)


def test_every_hour_and_version_equals_the_oracle_and_each_answer_counts_once(spark, shop):
    lake = Lake(spark, shop.settings)
    for first in (0, 300):
        shop.send(log(300, first))
        shop.serve()
        ingest.run(lake, kafka=True)
        ingest.run(lake, score_log=True)
        quality.run(lake)
        compare(lake, shop.counted())
    # clicks that come days later judge answers of before; the answers to them are not ingested yet
    before = table(lake)
    late = [
        (f"s{number}".encode(), json.dumps(body).encode())
        for number in range(12)
        for body in [
            {
                "event_id": f"late-{number}",
                "session_id": f"s{number}",
                "item_id": "i7",
                "event_time": START_MS + 1_500_000,
                "schema_version": 1,
            }
        ]
    ]
    shop.send(late)
    ingest.run(lake, kafka=True)
    quality.run(lake)
    compare(lake, shop.counted())
    assert table(lake) != before
    version, rows = lake.version("live_quality"), table(lake)
    again = quality.run(lake)
    assert (again.inserted, again.updated, lake.version("live_quality"), table(lake)) == (0, 0, version, rows)
    _slices_add_up(lake)
    # made anew from nothing it is the same
    lake.spark.sql(f"DELETE FROM delta.`{lake.path('live_quality')}`")
    quality.run(lake)
    assert table(lake) == rows


def _slices_add_up(lake):
    days = lake.read("live_quality").where("period = 'day'").toArrow().to_pylist()
    total = {}
    for row in days:
        key = (row["day"], row["model_version"], row["slice"])
        total[key] = total.get(key, 0) + row["cases"]
    for (day, version, name), cases in total.items():
        if name in {"basis", "intents", "session", "target"}:
            assert cases == total[day, version, "all"], name
    kinds = {(row["slice"], row["value"]) for row in days}
    assert {("basis", "assumed"), ("basis", "impressions"), ("target", "unknown"), ("position", "1")} <= kinds
    assert {("reason", "neighbours"), ("reason", "popular"), ("session", "later")} <= kinds
    hits = {}
    for row in days:
        if row["slice"] in {"all", "reason", "position"} and row["cases"]:
            key = (row["day"], row["model_version"], row["slice"])
            hits[key] = hits.get(key, 0) + row["hit_20"] * row["cases"]
    for (day, version, name), number in hits.items():
        assert number == pytest.approx(hits[day, version, "all"], abs=1e-6), name
