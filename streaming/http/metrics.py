"""What the HTTP side counts, for Prometheus. One registry a server, so that tests do not meet; workers of one
server count in files of one folder, and each tells the sums.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

LATENCY_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The counters, histograms and gauges of one server.

    Parameters
    ----------
    folder : Path, optional
        What ``PROMETHEUS_MULTIPROC_DIR`` names, where several workers count; none = the only process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._version = folder, ""
        self.registry = CollectorRegistry()
        if folder is None:  # the client library has no such numbers of several processes
            ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "intentstore_http_requests",
            "Requests by route and status.",
            ["route", "status"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "intentstore_http_seconds",
            "From the request's head to its answer, by route.",
            ["route"],
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self.stage = Histogram(
            "intentstore_http_stage_seconds",
            "Of one batch: read, score.",
            ["stage"],
            buckets=LATENCY_SECONDS,
            registry=self.registry,
        )
        self.batch = Histogram(
            "intentstore_http_batch_size",
            "Questions answered together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self.clicks = Counter(
            "intentstore_http_clicks",
            "Clicks by result: accepted, or why not.",
            ["result"],
            registry=self.registry,
        )
        self.items = Counter(
            "intentstore_http_items",
            "Items sent or withdrawn by result: accepted, or why not.",
            ["result"],
            registry=self.registry,
        )
        self.errors = Counter(
            "intentstore_http_errors",
            "Requests that failed on our side, by type of error.",
            ["error"],
            registry=self.registry,
        )
        self.streams = Gauge(
            "intentstore_http_event_streams",
            "Open streams of server-sent events.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.sessions = Gauge(
            "intentstore_http_answers_sessions",
            "Sessions whose latest answer is kept.",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.held = Gauge(
            "intentstore_http_answers_bytes",
            "Bytes of the answers that are kept.",
            multiprocess_mode="livesum",
            registry=self.registry,
        )
        self.lag = Gauge(
            "intentstore_http_answers_lag_records",
            "Answers in the topic that the reader has not seen.",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.foreign = Gauge(
            "intentstore_http_foreign_records",
            "Records of the answers' topic that are no answers.",
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.ready = Gauge(
            "intentstore_http_ready",
            "1 when a part is ready: model, online_store, broker, answers.",
            ["part"],
            multiprocess_mode="livemin",
            registry=self.registry,
        )
        self.model = Gauge(
            "intentstore_http_model_info",
            "1 for the model version in use.",
            ["version"],
            multiprocess_mode="livemax",
            registry=self.registry,
        )
        self.reloads = Counter(
            "intentstore_http_model_loads", "Models taken into use.", registry=self.registry
        )

        self.workers = Gauge(
            "intentstore_http_workers",
            "Processes that answer.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.workers.set(1)

    def model_changed(self, version: str) -> None:
        """Note the model version in use."""
        if self._folder is None:
            self.model.clear()
        elif self._version:  # what stands in a worker's file cannot be taken out of it
            self.model.labels(self._version).set(0)
        self.model.labels(version).set(1)
        self._version = version
        self.reloads.inc()

    def stage_done(self, stage: str, seconds: float) -> None:
        """Note how long a stage of a batch took."""
        self.stage.labels(stage).observe(seconds)

    def text(self) -> bytes:
        """Give everything in Prometheus' text format, summed over the workers; gauges of those alive."""
        if self._folder is None:
            return generate_latest(self.registry)
        for pid in {int(file.stem.rpartition("_")[2]) for file in self._folder.glob("*.db")}:
            if not _is_alive(pid):
                mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
        together = CollectorRegistry()
        MultiProcessCollector(together, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
