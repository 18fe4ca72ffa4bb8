"""What the metrics are told of a batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from model.evaluate.metrics import CUTOFFS
from streaming.consumer.pipeline import Outcome, RawRecord
from streaming.metrics import ConsumerMetrics
from streaming.running import Judged


def count(
    metrics: ConsumerMetrics, records: Mapping[int, Sequence[RawRecord]], outcome: Outcome
) -> dict[str, int]:
    """Count one batch.

    Parameters
    ----------
    metrics : ConsumerMetrics
        Are told.
    records : mapping of int to sequence of RawRecord
        What was processed, by partition; none empty.
    outcome : Outcome
        What came of it.

    Returns
    -------
    dict of str to int
        Clicks ``answered``, ``duplicates``, ``refused`` and ``restored``, events kept ``aside``.
    """
    metrics.batch.observe(sum(map(len, records.values())))
    metrics.answered.inc(outcome.answered)
    metrics.duplicates.inc(outcome.duplicates)
    metrics.restored.inc(outcome.restored)
    for name, number in outcome.aside.items():
        metrics.aside.labels(name).inc(number)
    for reason, number in outcome.refused.items():
        metrics.refused.labels(reason).inc(number)
    for source, number in outcome.intent_sources.items():
        metrics.intents.labels(source).inc(number)
    _count_quality(metrics, outcome.judged)
    now = time.time()
    for batch in records.values():
        metrics.click_age.observe(max(now - batch[0].timestamp_us / 1e6, 0.0))
    if outcome.newest_click_us:
        metrics.event_time.set(outcome.newest_click_us / 1e6)
    return {
        "answered": outcome.answered,
        "duplicates": outcome.duplicates,
        "refused": sum(outcome.refused.values()),
        "restored": outcome.restored,
        "aside": sum(outcome.aside.values()),
    }


def _count_quality(metrics: ConsumerMetrics, judged: Sequence[Judged]) -> None:
    """Tell what answers turned out to be worth; a version that has not answered for long goes."""
    for version, number in Counter(one.model_version for one in judged).items():
        metrics.judged.labels(version).inc(number)
        ranks = [one.rank for one in judged if one.model_version == version]
        for k in CUTOFFS:
            metrics.hits.labels(version, str(k)).inc(sum(0 < rank <= k for rank in ranks))
    for gone in filter(None, map(metrics.running.add, judged)):
        metrics.quality.remove_by_labels({"model": gone})
    for version in {one.model_version for one in judged} & metrics.running.versions():
        for (metric, cutoff), value in metrics.running.figures(version).items():
            metrics.quality.labels(version, metric, cutoff).set(value)
