"""What sensors tell."""

from __future__ import annotations

import json

import pytest

from dagster_project.live import replay as live_run
from dagster_project.run import observe
from streaming.topics import watch as kafka_watch
from streaming.topics.watch import GroupState


def state(*, at=100.0, end=50, committed=50, dead=0, answers=50):
    return observe.LiveState(at, GroupState({"0": end}, {"0": committed}, dead, answers), "m1")


def test_rates_are_differences_by_time():
    before = state(at=100.0, end=50, answers=40).cursor()
    assert observe.rates(state(at=110.0, end=150, answers=90), before) == {
        "clicks_per_second": 10.0,
        "answers_per_second": 5.0,
        "dead_letters_per_second": 0.0,
    }


def test_first_look_has_no_rate():
    assert observe.rates(state(), None) == {}


def test_topic_that_was_made_anew_gives_no_negative_rate():
    assert (
        observe.rates(state(at=200.0, end=0, answers=0), state(at=100.0).cursor())["clicks_per_second"] == 0.0
    )


def test_lag_and_dead_letters_are_told_with_a_remedy():
    texts = observe.troubles(state(end=observe.MAX_LAG + 100, committed=0, dead=20_000))
    assert len(texts) == 2 and "consume" in texts[0] and "dlq list" in texts[1]


def test_quiet_when_all_is_well():
    assert observe.troubles(state()) == []


def test_partition_without_commit_counts_as_lag():
    assert GroupState({"0": 5, "1": 3}, {"0": 5}, 0, 0).lag == 3


@pytest.mark.parametrize(("values", "expected"), [([0.5, 0.4], True), ([0.5, 0.49], False), ([0.5], False)])
def test_drop_of_quality_is_told_once_it_is_clear(settings, values, expected):
    rows = []
    for number, value in enumerate(values):
        folder = settings.models_dir / f"m{number}"
        folder.mkdir(parents=True)
        metrics = {
            "rows": [
                {
                    "role": "with_intents",
                    "metrics": {"metrics": {"N@10": {"mean": value, "low": value, "high": value}}},
                }
            ]
        }
        (folder / "manifest.json").write_text(json.dumps({"metrics": metrics}), encoding="utf-8")
        rows.append(json.dumps({"version": f"m{number}", "at": 0.0, "why": ""}))
    (settings.models_dir / "promotions.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert (observe.quality_dropped(settings) is not None) is expected


def test_changed_folder_changes_the_cursor(settings, tmp_path):
    own = settings.model_copy(update={"dataset": settings.dataset.model_copy(update={"path": tmp_path})})
    (tmp_path / "clicks.csv").write_text("a", encoding="utf-8")
    before = observe.files_cursor(own)
    (tmp_path / "clicks.csv").write_text("ab", encoding="utf-8")
    assert observe.files_cursor(own) != before
    assert observe.files_cursor(settings) == ""


def test_quantiles_are_values_that_occurred():
    assert [live_run.quantile([5.0, 1.0, 9.0], share) for share in (0.0, 0.5, 0.99)] == [1.0, 5.0, 9.0]


def test_broker_that_is_set_but_down_is_found_out_by_one_question(settings, monkeypatch):
    asked = []
    real = kafka_watch.topic_ends
    monkeypatch.setattr(kafka_watch, "TIMEOUT_MS", 200)
    monkeypatch.setattr(kafka_watch, "topic_ends", lambda *given: asked.append(given) or real(*given))
    down = settings.model_copy(
        update={"kafka": settings.kafka.model_copy(update={"bootstrap_servers": "127.0.0.1:9"})}
    )
    assert observe.live_state(down) is None and len(asked) == 1
