"""Prometheus metrics of the consumer. One registry a consumer, so that tests do not meet."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.process_collector import ProcessCollector

from streaming.errors import StreamingError
from streaming.running import RunningFigure

_SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.002,
    0.004,
    0.008,
    0.016,
    0.032,
    0.064,
    0.128,
    0.256,
    0.512,
    1.0,
    2.0,
    5.0,
    10.0,
)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
STAGES = ("poll", "fold", "score", "encode", "store", "send", "live", "flush", "log", "commit")


class ConsumerMetrics:
    """Everything the consumer counts; names begin with ``intentstore_``."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.answered = Counter(
            "intentstore_clicks_answered", "Clicks that got a recommendation", registry=registry
        )
        self.duplicates = Counter(
            "intentstore_clicks_duplicate", "Clicks whose event id was seen before", registry=registry
        )
        self.restored = Counter(
            "intentstore_clicks_restored", "Clicks folded again to rebuild lost state", registry=registry
        )
        self.aside = Counter(
            "intentstore_events_aside",
            "Events that extend no session, by type; `other` = types that no rule names",
            ["type"],
            registry=registry,
        )
        self.refused = Counter(
            "intentstore_clicks_refused", "Clicks sent to the dead letters", ["reason"], registry=registry
        )
        self.intents = Counter(
            "intentstore_intents", "Where the intents of answers came from", ["source"], registry=registry
        )
        self.batch = Histogram(
            "intentstore_batch_records", "Records a batch", buckets=_SIZES, registry=registry
        )
        self.stage = Histogram(
            "intentstore_stage_seconds",
            "Time of a batch's stages",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.click_age = Histogram(
            "intentstore_click_to_answer_seconds",
            "Broker's time of a click to its answer",
            buckets=_SECONDS,
            registry=registry,
        )
        self.commits = Counter("intentstore_commits", "Offset commits", ["result"], registry=registry)
        self.rebalances = Counter(
            "intentstore_rebalances", "Partitions that came or went", ["kind"], registry=registry
        )
        self.resent = Counter(
            "intentstore_outbox_resent",
            "Messages of a broken-off batch sent at the next start",
            registry=registry,
        )
        self.restarts = Counter(
            "intentstore_client_restarts", "Kafka clients made anew", ["cause"], registry=registry
        )
        self.sink_errors = Counter(
            "intentstore_sink_errors",
            "Times a sink refused and the input was paused",
            ["sink"],
            registry=registry,
        )
        self.paused = Gauge(
            "intentstore_paused", "1 while the input is paused because a sink refuses", registry=registry
        )
        self.ready = Gauge(
            "intentstore_ready", "1 when every assigned partition answers new clicks", registry=registry
        )
        self.waiting = Gauge(
            "intentstore_partitions_waiting",
            "Assigned partitions whose output partitions are missing",
            registry=registry,
        )
        self.lag = Gauge(
            "intentstore_lag_records", "Records not processed yet", ["partition"], registry=registry
        )
        self.lag_seconds = Gauge(
            "intentstore_lag_seconds",
            "Age of the last record processed while there are more, else 0",
            ["partition"],
            registry=registry,
        )
        self.event_time = Gauge(
            "intentstore_newest_event_time_seconds", "Newest event time seen", registry=registry
        )
        self.state_keys = Gauge(
            "intentstore_state_keys",
            "Estimated keys of a partition's store",
            ["partition"],
            registry=registry,
        )
        self.state_bytes = Gauge(
            "intentstore_state_bytes", "Bytes of a partition's store", ["partition"], registry=registry
        )
        self.expired = Counter(
            "intentstore_sessions_expired",
            "Sessions forgotten after streaming.session_ttl_hours",
            registry=registry,
        )
        self.score_rows = Counter(
            "intentstore_score_log_rows", "Rows written to score-log files", registry=registry
        )
        self.model = Gauge("intentstore_model_info", "Model in use", ["version"], registry=registry)
        self.model_failures = Counter(
            "intentstore_model_failures",
            "Clicks answered by popularity because the model failed",
            registry=registry,
        )
        self.shadow = Histogram(
            "intentstore_shadow_overlap",
            "Share of items the shadow model also gives",
            buckets=_SHARES,
            registry=registry,
        )
        self.judged = Counter(
            "intentstore_answers_judged", "Answers whose next click came", ["model"], registry=registry
        )
        self.hits = Counter(
            "intentstore_answers_hit",
            "Answers whose next click was among their first k items",
            ["model", "k"],
            registry=registry,
        )
        self.running = RunningFigure()
        self.quality = Gauge(
            "intentstore_live_quality",
            "Running hit rate and MRR at k over the latest judged answers of a model",
            ["model", "metric", "k"],
            registry=registry,
        )
        self.intent_requests = Counter(
            "intentstore_intent_requests", "Sessions sent to the near-line intent worker", registry=registry
        )
        self.items_refused = Counter(
            "intentstore_items_refused",
            "Records of the items topic sent to the dead letters",
            ["reason"],
            registry=registry,
        )
        self.items = Gauge(
            "intentstore_items",
            "Items that the items topic speaks of (live), and items that are not available (withdrawn)",
            ["state"],
            registry=registry,
        )
        self._stages = {name: self.stage.labels(name) for name in STAGES}
        self._mark = time.perf_counter()

    def start(self) -> None:
        """Begin to time a batch."""
        self._mark = time.perf_counter()

    def done(self, stage: str) -> None:
        """Count the time since the last mark for a stage."""
        now = time.perf_counter()
        self._stages[stage].observe(now - self._mark)
        self._mark = now

    def follow_items(self, live: Callable[[], int], withdrawn: Callable[[], int]) -> None:
        """Tell what is known of items, whenever it is asked for."""
        self.items.labels("live").set_function(live)
        self.items.labels("withdrawn").set_function(withdrawn)

    def use_model(self, version: str) -> None:
        """Tell which model answers."""
        self.model.clear()
        self.model.labels(version).set(1)

    def serve(self, port: int) -> int:
        """Serve ``/metrics`` on 127.0.0.1.

        Parameters
        ----------
        port : int
            0 asks for any free one.

        Returns
        -------
        int
            The port.

        Raises
        ------
        StreamingError
            It cannot be listened on.
        """
        try:
            server, _ = start_http_server(port, addr="127.0.0.1", registry=self.registry)
        except OSError as error:
            text = (
                f"metrics port {port} of 127.0.0.1 cannot be listened on ({error.strerror}); free it, or "
                "set streaming.metrics_port to another"
            )
            raise StreamingError(text) from None
        return int(server.server_port)
