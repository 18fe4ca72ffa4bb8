"""Replay to the real broker, ingest from it exactly once, and parity of what a consumer served with the
batch.
"""

import dataclasses
import itertools

import pyarrow as pa
import pyarrow.ipc
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from pydantic import SecretStr
from retailrocket import write_log

from feature_repo.contract import session as fold
from feature_repo.contract.events.rules import event_type_of
from feature_repo.contract.messages import decode_click
from feature_repo.contract.session import FoldClick, FoldConfig, apply, empty, event_features
from feature_repo.contract.settings import EventSettings
from feature_repo.contract.tables import SCORE_LOG_SCHEMA
from feature_repo.stores.packed.live import LiveFeatureWriter, LiveRow
from spark_jobs.ingest import job as ingest
from spark_jobs.items import popularity
from spark_jobs.job import JobError
from spark_jobs.lake.lake import Lake
from spark_jobs.live import parity, replay
from spark_jobs.sessions import cut, features

TOPICS = (f"replay-{n}" for n in itertools.count())


@dataclasses.dataclass
class Shop:
    settings: object
    topic: str
    servers: str
    url: str


@pytest.fixture
def shop(settings, services, tmp_path):
    topic = next(TOPICS)
    admin = KafkaAdminClient(bootstrap_servers=services.bootstrap_servers)
    admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
    admin.close()
    folder = tmp_path / "data"
    folder.mkdir()
    rows = (f"s{n % 5},i{n % 7},{1_704_067_200 + n * 30}\n" for n in range(60))
    (folder / "clicks.csv").write_text(
        "session_id,item_id,event_time\n"
        + "".join(rows)
        + "".join(f"l{n % 3},i{n},{1_704_100_000 + n}\n" for n in range(30))
    )
    changes = {
        "dataset": settings.dataset.model_copy(update={"path": folder, "live_share": 0.4}),
        "kafka": settings.kafka.model_copy(
            update={"bootstrap_servers": services.bootstrap_servers, "clicks_topic": topic}
        ),
        "online": settings.online.model_copy(update={"url": SecretStr(services.online_store_url)}),
    }
    return Shop(
        settings.model_copy(update=changes), topic, services.bootstrap_servers, services.online_store_url
    )


def _records(shop):
    consumer = KafkaConsumer(bootstrap_servers=shop.servers, enable_auto_commit=False)
    places = [TopicPartition(shop.topic, n) for n in range(2)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    found = []
    while any(consumer.position(place) < end for place, end in ends.items()):
        for batch in consumer.poll(timeout_ms=500).values():
            found += batch
    consumer.close()
    return found


def _serve(shop, change=lambda n, row: row):
    """Answer the topic as the consumer would: one fold, one row a click, the online store after each."""
    config = FoldConfig.from_settings(shop.settings.session)
    states, rows, live = {}, [], []
    for n, record in enumerate(sorted(_records(shop), key=lambda record: (record.partition, record.offset))):
        try:
            click = decode_click(record.value, record.key, record.timestamp * 1000)
        except ValueError:
            continue
        before = states.get(click.session_id, empty())
        state = apply(
            before,
            FoldClick(
                click.event_id,
                click.item_id,
                click.event_time,
                record.timestamp * 1000,
                event_type_of(click.extra),
            ),
            config,
        )
        states[click.session_id] = state
        if not state.moved_since(before):
            continue
        place = {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "event_id": click.event_id,
        }
        instants = {
            "event_timestamp": state.event_timestamp_us,
            "created": state.created_us,
            "click_time": click.event_time,
            "scored_at": state.created_us,
        }
        row = change(
            n,
            {
                **place,
                "session_id": click.session_id,
                "item_id": click.item_id,
                **instants,
                **fold.features(state),
                **event_features(state),
                **ANSWER,
            },
        )
        if row:
            rows.append(row)
        live.append(
            LiveRow(
                click.session_id,
                state.event_timestamp_us,
                state.created_us,
                fold.features(state),
                event_features(state),
            )
        )
    folder = shop.settings.home / "score_log"
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=SCORE_LOG_SCHEMA)
    with pyarrow.ipc.new_file(folder / "000.arrow", SCORE_LOG_SCHEMA) as writer:
        writer.write_table(table)
    return live


ANSWER = {"recommended": ["i1"], "scores": [1.0], "intent_source": "encoder", "model_version": "1"}


def test_held_out_clicks_travel_to_the_topic_and_back_exactly_once(spark, shop):
    held = ingest.run(Lake(spark, shop.settings)).details["held_out"]
    assert held == 30
    assert replay.run(Lake(spark, shop.settings), held_out=True, rate=2000.0).rows == 30
    sent = [decode_click(record.value, record.key, record.timestamp * 1000) for record in _records(shop)]
    times = [click.event_time for click in sent if click.session_id == "l0"]
    assert times == sorted(times) and len(times) == 10
    producer = KafkaProducer(bootstrap_servers=shop.servers)
    producer.send(shop.topic, key=b"l0", value=b"not json")
    producer.flush()
    producer.close()
    # five repeats: known event ids, so not a second time in the table
    replay.run(Lake(spark, shop.settings), held_out=True, limit=5)
    first = ingest.run(Lake(spark, shop.settings), kafka=True, max_offsets=8)
    second = ingest.run(Lake(spark, shop.settings), kafka=True)
    assert first.inserted + second.inserted == 30 and first.details["records"] <= 16
    version = Lake(spark, shop.settings).version("clicks")
    third = ingest.run(Lake(spark, shop.settings), kafka=True)
    assert third.inserted == 0 and Lake(spark, shop.settings).version("clicks") == version
    refused = Lake(spark, shop.settings).read("quarantine").collect()
    assert [row["raw"] for row in refused] == ["not json"] and "not_json" in refused[0]["reason"]
    _what_was_served_equals_the_batch(spark, shop)


def _what_was_served_equals_the_batch(spark, shop):
    live = _serve(shop)
    writer = LiveFeatureWriter(shop.url)
    writer.write(live)
    assert ingest.run(Lake(spark, shop.settings), score_log=True).inserted == 30
    assert ingest.run(Lake(spark, shop.settings), score_log=True).inserted == 0
    good = parity.run(Lake(spark, shop.settings))
    assert good.refused == 0 and good.details["compared"] == 30 + 3
    ahead = live[-1]
    writer.write([LiveRow(ahead.session_id, ahead.event_timestamp_us, ahead.created_us + 1, ahead.features)])
    writer.close()
    assert parity.run(Lake(spark, shop.settings)).details["extra"] == 1


def test_each_kind_of_difference_is_found_and_named(spark, shop):
    ingest.run(Lake(spark, shop.settings))
    replay.run(Lake(spark, shop.settings), held_out=True)
    ingest.run(Lake(spark, shop.settings), kafka=True)

    def spoil(n, row):
        if n == 5:
            return None
        return {**row, "event_id": "unheard-of"} if n == 7 else {**row, "late_clicks": 9} if n == 9 else row

    _serve(shop, spoil)
    ingest.run(Lake(spark, shop.settings), score_log=True)
    found = parity.run(Lake(spark, shop.settings), no_online=True).details
    # the click of the renamed answer has none either
    assert (found["mismatch"], found["extra"], found["missing"]) == (1, 1, 2)
    assert found["by_feature"] == {"late_clicks": 1}
    assert {example["kind"] for example in found["examples"]} == {"mismatch", "extra", "missing"}


def test_a_cut_off_score_log_is_left_and_named(spark, settings):
    folder = settings.home / "score_log"
    folder.mkdir(parents=True)
    (folder / "broken.arrow").write_bytes(b"ARROW1\0\0half")
    result = ingest.run(Lake(spark, settings), score_log=True)
    assert result.details["unreadable"] == ["broken.arrow"] and (folder / "broken.arrow").exists()


def test_no_topic_and_no_broker_are_one_line(spark, shop):
    nowhere = shop.settings.model_copy(
        update={"kafka": shop.settings.kafka.model_copy(update={"clicks_topic": "no-such-topic"})}
    )
    with pytest.raises(JobError, match="topic 'no-such-topic' does not exist"):
        ingest.run(Lake(spark, nowhere), kafka=True)


def test_a_log_with_types_of_events_goes_through_by_settings_alone_and_parity_is_none(spark, shop, tmp_path):
    folder = write_log(tmp_path / "retailrocket")
    dataset = shop.settings.dataset.model_copy(update={"path": folder, "live_share": 0.2})
    types = EventSettings(weights={"addtocart": 2.0, "transaction": 3.0})
    session = shop.settings.session.model_copy(update={"gap_minutes": 30.0, "event_types": types})
    settings = shop.settings.model_copy(update={"dataset": dataset, "session": session})
    shop = dataclasses.replace(shop, settings=settings)
    lake = Lake(spark, settings)
    first = ingest.run(lake)
    assert any(
        "addtocart (cart), transaction (purchase, ends interest)" in note for note in first.details["notes"]
    )
    held = replay.run(lake, held_out=True, rate=5000.0).rows
    ingest.run(lake, kafka=True)
    clicks = lake.read("clicks")
    kinds = {row["event_type"]: row["count"] for row in clicks.groupBy("event_type").count().collect()}
    assert sum(kinds.values()) == 2_000 and set(kinds) == {"view", "addtocart", "transaction"}
    live = _serve(shop)
    writer = LiveFeatureWriter(shop.url)
    writer.write(live)
    writer.close()
    served = ingest.run(lake, score_log=True).inserted
    assert held > served > 0, "carts, and purchases outside a session, have no answer"
    found = parity.run(lake).details
    assert {kind: found[kind] for kind in parity.KINDS} == dict.fromkeys(parity.KINDS, 0), found["examples"]
    features.run(lake)
    moved = lake.read("session_features").join(clicks.select("event_id", "event_type"), "event_id")
    by_type = {row["event_type"]: row["count"] for row in moved.groupBy("event_type").count().collect()}
    assert by_type["view"] == kinds["view"] and "addtocart" not in by_type
    assert 0 < by_type["transaction"] <= kinds["transaction"]
    assert moved.where("array_contains(event_types, 'cart')").count() > 0
    assert moved.where("event_type = 'transaction' AND size(ended_items) = 0").count() == 0
    cut.run(lake)
    rows = lake.read("sessions").select("items", "weights").collect()
    assert sum(len(row["items"]) for row in rows) == kinds["view"]
    assert {weight for row in rows for weight in row["weights"]} == {1.0, 2.0, 3.0}
    popularity.run(lake)
    counted = lake.read("item_popularity").groupBy("item_id").agg({"clicks_total": "max"}).collect()
    assert sum(row[1] for row in counted) == kinds["view"]
