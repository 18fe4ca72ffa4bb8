"""Puts the consumer process together: topics, metrics, models, pipeline, signals."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from feature_repo.contract.session import FoldConfig
from feature_repo.contract.settings import Settings
from streaming.consumer.consumer import Consumer
from streaming.consumer.pipeline import Breaker, Pipeline
from streaming.metrics import ConsumerMetrics
from streaming.serving.answers import Answerer, Popularity
from streaming.serving.models import Models, open_models
from streaming.topics import ensure as topics

log = logging.getLogger("intentstore.consumer")


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
        Rebuild lost state from what is left of a trimmed topic.

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
    try:
        consumer = assemble(
            settings, models, metrics, accept_loss=accept_loss, until_idle_seconds=until_idle_seconds
        )
        _stop_on_signals(consumer, settings.streaming.grace_seconds)
        gc.collect()
        gc.freeze()  # what was loaded so far lives as long as the process: the collector need not walk it
        consumer.run()
    finally:
        models.close()
    print(json.dumps(consumer.totals), flush=True)
    return 0


def assemble(
    settings: Settings,
    models: Models,
    metrics: ConsumerMetrics,
    *,
    accept_loss: bool = False,
    until_idle_seconds: float | None = None,
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
    """
    streaming = settings.streaming
    answerer = Answerer(
        models.current,
        Popularity(),
        streaming.top_k,
        models.shadow,
        on_failure=metrics.model_failures.inc,
        on_shadow=metrics.shadow.observe,
    )
    breaker = Breaker(streaming.dlq_breaker_share, streaming.dlq_breaker_window)
    config = FoldConfig.from_settings(settings.session)
    pipeline = Pipeline(settings.kafka.clicks_topic, config, answerer, breaker, _now_us, metrics.done)
    return Consumer(
        settings, pipeline, metrics, accept_loss=accept_loss, until_idle_seconds=until_idle_seconds
    )


_now_us: Callable[[], int] = lambda: time.time_ns() // 1000
