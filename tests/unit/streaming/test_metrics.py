import json
import re
import socket
from pathlib import Path

import pytest
import yaml

from streaming.errors import StreamingError
from streaming.http.metrics import Metrics
from streaming.metrics import STAGES, ConsumerMetrics

DOCS = Path(__file__).parents[3] / "docs"


def _known() -> set[str]:
    names = {
        metric.name
        for registry in (ConsumerMetrics().registry, Metrics().registry)
        for metric in registry.collect()
    }
    endings = ("", "_total", "_bucket", "_sum", "_count")
    return {name + ending for name in names for ending in endings}


def test_dashboard_and_runbook_name_only_metrics_that_exist() -> None:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    text = (DOCS / "runbook.md").read_text() + " ".join(
        target["expr"] for panel in panels for target in panel["targets"]
    )
    used = set(re.findall(r"intentstore_[a-z_]+", text))
    assert used <= _known()
    assert len(used) > 25


def test_every_alert_has_a_page_in_the_runbook_and_names_metrics_that_exist() -> None:
    pages = set(re.findall(r"^### (\w+)$", (DOCS / "runbook.md").read_text(), re.MULTILINE))
    rules = [
        rule
        for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
        for rule in group["rules"]
    ]
    for rule in rules:
        assert rule["alert"] in pages
        assert rule["annotations"]["runbook"] == f"runbook.md#{rule['alert'].lower()}"
        assert set(re.findall(r"intentstore_[a-z_]+", rule["expr"])) <= _known()
    assert len(rules) > 12


def test_stages_are_timed_one_after_the_other() -> None:
    metrics = ConsumerMetrics()
    metrics.start()
    for stage in STAGES:
        metrics.done(stage)
    counts = {
        sample.labels["stage"]: sample.value
        for metric in metrics.stage.collect()
        for sample in metric.samples
        if sample.name.endswith("_count")
    }
    assert counts == dict.fromkeys(STAGES, 1.0)


def test_model_in_use_is_the_only_one_told() -> None:
    metrics = ConsumerMetrics()
    metrics.use_model("v1")
    metrics.use_model("v2")
    assert [sample.labels["version"] for metric in metrics.model.collect() for sample in metric.samples] == [
        "v2"
    ]


def test_a_port_in_use_is_one_line_with_the_setting_to_change() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(StreamingError, match=r"metrics port \d+ .*set streaming.metrics_port to another"),
    ):
        ConsumerMetrics().serve(taken.getsockname()[1])
