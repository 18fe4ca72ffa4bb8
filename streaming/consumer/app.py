"""Puts the consumer process together: topics, metrics, models, pipeline, signals."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from model.recommender.limits import Limits, LimitsError, limits_of
from model.recommender.stock import Stocks, file_of
from streaming.consumer.consumer import Consumer
from streaming.consumer.moves.repartition import Drain, Moved
from streaming.consumer.moves.turns import follow
from streaming.consumer.pipeline import Breaker, Pipeline
from streaming.consumer.sinks import SendError
from streaming.errors import StateMovedError, StreamingError
from streaming.metrics import ConsumerMetrics
from streaming.serving.answers import Answerer, Popularity
from streaming.serving.models import Models, open_models
from streaming.topics import ensure as topics
from streaming.topics.fence import Fence
from streaming.topics.item_letters import ItemLetters
from streaming.topics.layout import Layout

log = logging.getLogger("intentstore.consumer")
DRAINED_SECONDS = 2.0  # without a click; whether everything was read is looked at besides


def _stop_on_signals(consumer: Consumer, grace_seconds: float) -> None:
    """First signal: finish the batch and end. Second: end at once, which the outbox makes harmless."""

    def handle(number: int, frame: FrameType | None) -> None:
        if consumer.stopping:
            os._exit(128 + number)
        consumer.stopping = True
        signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
        signal.alarm(max(1, round(grace_seconds)))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


def main(
    settings: Settings,
    *,
    model_dir: Path | None = None,
    shadow_dir: Path | None = None,
    until_idle_seconds: float | None = None,
    accept_loss: bool = False,
) -> int:
    """Run the consumer in this process until SIGTERM, or idle; prints one JSON line with what it did.

    Parameters
    ----------
    settings : Settings
        All of it.
    model_dir : Path, optional
        One model folder; none = the promoted one, exchanged when another is promoted.
    shadow_dir : Path, optional
        Scored beside, never answered from.
    until_idle_seconds : float, optional
        End when nothing came for so long.
    accept_loss : bool
        Go on with what is left of a trimmed topic, or with a topic made anew.

    Returns
    -------
    int
        Exit code.

    Raises
    ------
    StreamingError
        What only a person can mend.
    """
    topics.ensure_patiently(settings)
    metrics = ConsumerMetrics()
    if settings.streaming.metrics_port is not None:
        log.info("metrics on http://127.0.0.1:%d/metrics", metrics.serve(settings.streaming.metrics_port))
    models = open_models(settings, model_dir, shadow_dir, metrics)
    letters = ItemLetters(settings, lambda reason: metrics.items_refused.labels(reason).inc())
    letters.start()
    try:
        consumer = assemble(
            settings, models, metrics, accept_loss=accept_loss, until_idle_seconds=until_idle_seconds
        )
        _stop_on_signals(consumer, settings.streaming.grace_seconds)
        gc.collect()
        gc.freeze()  # what was loaded so far lives as long as the process: the collector need not walk it
        consumer.run()
    finally:
        letters.close()
        models.close()
    print(json.dumps(consumer.totals), flush=True)
    return 0


def move(settings: Settings, *, model_dir: Path | None = None) -> Moved:
    """Move states after partitions were added, see ``streaming.consumer.moves.repartition``; clicks that wait
    are answered on the way.

    Parameters
    ----------
    settings : Settings
        All of it.
    model_dir : Path, optional
        One model folder; none = the promoted one.

    Raises
    ------
    StreamingError
        What only a person can mend.
    """
    from kafka.errors import KafkaError

    topics.ensure_patiently(settings)
    metrics = ConsumerMetrics()
    models = open_models(settings, model_dir, None, metrics)

    try:
        return follow(settings, _drain(settings, models, metrics))
    except (SendError, KafkaError) as error:
        raise StreamingError(f"moving states was broken off ({error}); run it again") from error
    finally:
        models.close()


def _drain(settings: Settings, models: Models, metrics: ConsumerMetrics) -> Drain:
    """Give what reads a topic to the end of an old layout."""

    def drain(layout: Layout, fence: Fence) -> Mapping[str, int]:
        consumer = assemble(
            settings, models, metrics, until_idle_seconds=DRAINED_SECONDS, drain=(layout, fence)
        )
        try:
            consumer.run()
        except StateMovedError:
            if not fence.outdated:  # else whoever moves sees it, and begins anew
                raise
        return consumer.totals

    return drain


def assemble(
    settings: Settings,
    models: Models,
    metrics: ConsumerMetrics,
    *,
    accept_loss: bool = False,
    until_idle_seconds: float | None = None,
    drain: tuple[Layout, Fence] | None = None,
) -> Consumer:
    """Put a consumer together; the topics must be there.

    Parameters
    ----------
    settings : Settings
        All of it.
    models : Models
        What answers.
    metrics : ConsumerMetrics
        What is counted.
    accept_loss, until_idle_seconds
        See ``main``.
    drain : tuple of (Layout, Fence), optional
        See ``Consumer``.
    """
    streaming, stocks = settings.streaming, models.stocks or Stocks(file_of(settings))
    answerer = Answerer(
        models.current,
        Popularity(),
        streaming.top_k,
        models.shadow,
        limits=_limits(settings),
        withdrawn=lambda: stocks.now().withdrawn,
        on_failure=metrics.model_failures.inc,
        on_shadow=metrics.shadow.observe,
    )
    breaker = Breaker(streaming.dlq_breaker_share, streaming.dlq_breaker_window)
    config = FoldConfig.from_settings(settings.session)
    pipeline = Pipeline(settings.kafka.clicks_topic, config, answerer, breaker, _now_us, metrics.done)
    return Consumer(
        settings,
        pipeline,
        metrics,
        accept_loss=accept_loss,
        until_idle_seconds=until_idle_seconds,
        drain=drain,
        follow=None
        if drain
        else lambda stopping: follow(settings, _drain(settings, models, metrics), stopping),
    )


def _limits(settings: Settings) -> Limits:
    try:
        return limits_of(settings.streaming.limits)
    except LimitsError as error:
        raise StreamingError(f"streaming.limits: {error}") from None


_now_us: Callable[[], int] = lambda: time.time_ns() // 1000
