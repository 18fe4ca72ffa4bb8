"""The items topic into Delta: every record once, whatever is run again, with what was available when."""

from __future__ import annotations

import datetime
import json

import pytest

from feature_repo.contract.tables import ITEM_UPDATES, ITEMS, QUARANTINE
from model.recommender.stock import Stocks, file_of
from spark_jobs.ingest import items_topic
from spark_jobs.ingest import job as ingest
from spark_jobs.ingest.stock import unavailable_at
from spark_jobs.job import JobError
from spark_jobs.lake.lake import Lake
from streaming.clients import client_options
from streaming.topics import ensure as topics

CLICKS = "session_id,item_id,event_time\n" + "".join(f"s,i{n},{1_700_000_000 + n}\n" for n in range(4))
ITEMS_FILE = (
    "item_id,title,available,attributes\n"
    'i0,Red shoe,,"{""price"": 5}"\n'
    "i1,Blue shoe,false,\n"
    'i2,Hat,true,"[1]"\n'
    "i3,Cap,,\n"
)


@pytest.fixture
def shop(settings, services, tmp_path):
    """A shop with a catalogue file and an items topic of its own."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "clicks.csv").write_text(CLICKS)
    (folder / "items.csv").write_text(ITEMS_FILE)
    kafka = {"bootstrap_servers": services.bootstrap_servers, "items_topic": f"items-{tmp_path.name}"}
    made = settings.model_copy(
        update={
            "dataset": settings.dataset.model_copy(update={"path": folder, "live_share": 0.0}),
            "kafka": settings.kafka.model_copy(update=kafka),
        }
    )
    topics.ensure(made)
    return made


def put(settings, *records):
    """Send records and give the broker's time of the last one."""
    from kafka import KafkaProducer

    with KafkaProducer(**client_options(settings)) as producer:
        sent = [
            producer.send(
                settings.kafka.items_topic,
                body if body is None or isinstance(body, bytes) else json.dumps(body).encode(),
                key.encode(),
            )
            for key, body in records
        ]
        return datetime.datetime.fromtimestamp(sent[-1].get(30).timestamp / 1000, datetime.UTC)


def rows(lake, table):
    return {row["item_id"]: row for row in lake.read(table).collect()}


def test_every_record_is_there_once_and_what_was_available_when_can_be_asked(spark, shop):
    lake = Lake(spark, shop)
    result = ingest.run(lake)
    assert result.refused == 1  # attributes that are a list
    assert Stocks(file_of(shop)).now().withdrawn == {"i1"}
    assert Stocks(file_of(shop)).now().attributes == {"i0": {"price": 5}}
    first = put(
        shop,
        ("i0", {"item_id": "i0", "title": "Red boot", "attributes": {"price": 9.5}, "maker": "x"}),
        ("i1", {"item_id": "i1", "available": True}),
        ("i3", None),
        ("i3", {"item_id": "i3", "available": "no"}),
        ("new", {"item_id": "new", "title": "Scarf", "category": "wool"}),
    )
    one = ingest.run(lake, items=True, max_offsets=3)
    two = ingest.run(lake, items=True)
    assert (one.details["records"], two.details["records"]) == (3, 2)
    assert (one.details["updates"] + two.details["updates"], two.refused) == (4, 1)
    versions = {name: lake.version(name) for name in (ITEMS, ITEM_UPDATES, QUARANTINE)}
    third = ingest.run(lake, items=True)
    assert (third.details["records"], third.inserted, third.updated) == (0, 0, 0)
    assert {name: lake.version(name) for name in versions} == versions
    items = rows(lake, ITEMS)
    assert (items["i0"]["title"], json.loads(items["i0"]["attributes"])) == ("Red boot", {"price": 9.5})
    assert json.loads(items["i0"]["extra"]) == {"maker": "x"}
    assert (items["i1"]["title"], items["i1"]["available"]) == ("Blue shoe", True)
    assert (items["i3"]["title"], items["i3"]["available"]) == ("Cap", False)
    assert (items["new"]["title"], items["new"]["category"]) == ("Scarf", "wool")
    assert Stocks(file_of(shop)).now().withdrawn == {"i3"}
    assert "bad_available" in lake.read(QUARANTINE).where("source like 'kafka%'").first()["reason"]

    second = put(shop, ("i3", {"item_id": "i3"}), ("i0", None))
    ingest.run(lake, items=True)
    before = first - datetime.timedelta(days=1)
    assert [unavailable_at(shop, moment) for moment in (before, first, second)] == [set(), {"i3"}, {"i0"}]
    # a file that is read again does not take the topic's word away
    (shop.dataset.path / "items.csv").write_text(ITEMS_FILE + "i9,Glove,false,\n")
    ingest.run(lake)
    items = rows(lake, ITEMS)
    assert (items["i0"]["title"], items["i0"]["available"]) == ("Red boot", False)
    assert Stocks(file_of(shop)).now().withdrawn == {"i0", "i9"}


def test_a_run_that_died_between_history_and_items_is_made_whole(spark, shop, monkeypatch):
    lake = Lake(spark, shop)
    put(shop, ("a", {"item_id": "a", "title": "Scarf"}))

    def dies(settings):
        raise JobError("killed here")

    monkeypatch.setattr(items_topic, "_current", lambda lake, topic: dies(lake))
    with pytest.raises(JobError):
        ingest.run(lake, items=True)
    assert lake.read(ITEM_UPDATES).count() == 1 and lake.read(ITEMS).count() == 0
    monkeypatch.undo()
    assert ingest.run(lake, items=True).details["records"] == 0
    assert rows(lake, ITEMS)["a"]["title"] == "Scarf"


def test_no_such_topic_is_one_line_with_the_setting(spark, shop):
    nowhere = shop.model_copy(update={"kafka": shop.kafka.model_copy(update={"items_topic": "nowhere"})})
    with pytest.raises(JobError, match=r"topic 'nowhere' does not exist.*kafka\.items_topic"):
        ingest.run(Lake(spark, nowhere), items=True)
