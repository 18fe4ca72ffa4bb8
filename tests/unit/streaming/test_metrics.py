import json
import re
from pathlib import Path

from streaming.metrics import STAGES, ConsumerMetrics

DOCS = Path(__file__).parents[3] / "docs"


def _known() -> set[str]:
    names = {metric.name for metric in ConsumerMetrics().registry.collect()}
    endings = ("", "_total", "_bucket", "_sum", "_count")
    return {name + ending for name in names for ending in endings}


def test_dashboard_and_runbook_name_only_metrics_that_exist() -> None:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    text = (DOCS / "runbook.md").read_text() + " ".join(target["expr"] for panel in panels for target in panel["targets"])
    used = set(re.findall(r"intentstore_[a-z_]+", text))
    assert used <= _known()
    assert len(used) > 15


def test_stages_are_timed_one_after_the_other() -> None:
    metrics = ConsumerMetrics()
    metrics.start()
    for stage in STAGES:
        metrics.done(stage)
    counts = {sample.labels["stage"]: sample.value for metric in metrics.stage.collect() for sample in metric.samples if sample.name.endswith("_count")}
    assert counts == dict.fromkeys(STAGES, 1.0)


def test_model_in_use_is_the_only_one_told() -> None:
    metrics = ConsumerMetrics()
    metrics.use_model("v1")
    metrics.use_model("v2")
    assert [sample.labels["version"] for metric in metrics.model.collect() for sample in metric.samples] == ["v2"]
