"""What the metrics are told of a batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from streaming.consumer.pipeline import Outcome, RawRecord
from streaming.metrics import ConsumerMetrics


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
