"""The running figure: the next click judges the answer of before, in bounded memory."""

from __future__ import annotations

import random

import pytest

from feature_repo.contract.messages import RecommendedItem
from streaming.consumer import counting
from streaming.consumer.pipeline import Outcome
from streaming.consumer.quality import NextClicks
from streaming.metrics import ConsumerMetrics
from streaming.running import KEPT_VERSIONS, Judged, RunningFigure
from streaming.serving.answers import NO_INTENTS, Answer


def answer(*items, version="m"):
    rows = [RecommendedItem(item, 1.0 / (place + 1)) for place, item in enumerate(items)]
    return Answer(rows, NO_INTENTS, version)


def test_the_next_click_judges_once_and_an_older_one_not_at_all():
    clicks = NextClicks(gap_us=100)
    assert clicks.click("s", "a", 0) is None
    clicks.answer("s", 10, answer("b", "c"))
    assert clicks.click("other", "c", 20) is None
    assert clicks.click("s", "x", 9) is None  # late, and older than what the answer knew
    assert clicks.click("s", "c", 20) == Judged("m", 2)
    assert clicks.click("s", "b", 30) is None
    clicks.answer("s", 20, answer("b"))
    assert clicks.click("s", "b", 121) is None  # another session
    clicks.answer("s", 200, answer("b"))
    assert clicks.click("s", "q", 210) == Judged("m", 0)


def test_memory_is_bounded_by_sessions_and_versions():
    clicks = NextClicks(None, kept=3)
    for number in range(10):
        clicks.answer(f"s{number}", 0, answer("a"))
    assert len(clicks) == 3 and clicks.click("s9", "a", 1) and clicks.click("s0", "a", 1) is None
    running = RunningFigure()
    gone = [running.add(Judged(f"v{number}", 1)) for number in range(KEPT_VERSIONS + 2)]
    assert gone == [None] * KEPT_VERSIONS + ["v0", "v1"] and len(running.versions()) == KEPT_VERSIONS


def test_the_figure_is_of_the_latest_answers_alone_and_does_not_drift():
    draw, running, ranks = random.Random(1), RunningFigure(50), []
    for _ in range(500):
        rank = draw.choice((0, 1, 3, 7, 13, 20))
        ranks.append(rank)
        running.add(Judged("m", rank))
        kept = ranks[-50:]
        figures = running.figures("m")
        for k in (5, 10, 20):
            hits = [one for one in kept if 0 < one <= k]
            assert figures["hit", str(k)] == len(hits) / len(kept)
            assert figures["mrr", str(k)] == pytest.approx(
                sum(1 / one for one in hits) / len(kept), abs=1e-12
            )


def test_metrics_tell_judged_hits_and_the_figure_and_forget_old_versions():
    metrics = ConsumerMetrics()
    counting.count(
        metrics, {}, Outcome(judged=[Judged("a", 1), Judged("a", 7), Judged("a", 0), Judged("b", 0)])
    )
    read = metrics.registry.get_sample_value
    assert read("intentstore_answers_judged_total", {"model": "a"}) == 3
    assert read("intentstore_answers_hit_total", {"model": "a", "k": "5"}) == 1
    assert read("intentstore_answers_hit_total", {"model": "a", "k": "10"}) == 2
    assert read("intentstore_live_quality", {"model": "a", "metric": "hit", "k": "20"}) == pytest.approx(
        2 / 3
    )
    assert read("intentstore_live_quality", {"model": "b", "metric": "mrr", "k": "20"}) == 0
    later = [Judged(f"v{number}", 1) for number in range(KEPT_VERSIONS)]
    counting.count(metrics, {}, Outcome(judged=later))
    assert read("intentstore_live_quality", {"model": "a", "metric": "hit", "k": "20"}) is None
