"""Live figures are held against the model's own test, and shown beside it."""

from __future__ import annotations

import datetime
import json

import pytest

from dagster_project.checks.live import LEAST_CASES, quality_holds
from dagster_project.demo.live import live_quality
from dagster_project.run.memory import Report
from dagster_project.run.metadata import run_metadata

DAY = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)


@pytest.fixture
def live(settings, write_table):
    """A model with R@20 of 0.30 [0.28, 0.32], and a day of live figures of it."""

    def make(hit, cases=500, version="m"):
        folder = settings.models_dir / version
        folder.mkdir(parents=True, exist_ok=True)
        tested = {
            "R@20": {"mean": 0.30, "low": 0.28, "high": 0.32},
            "MRR@20": {"mean": 0.1, "low": 0.09, "high": 0.11},
        }
        rows = [{"role": "with_intents", "name": version, "metrics": {"metrics": tested}}]
        (folder / "manifest.json").write_text(json.dumps({"metrics": {"rows": rows}}))
        row = {
            "period": "day",
            "start": DAY,
            "day": DAY.date(),
            "model_version": version,
            "slice": "all",
            "value": "",
        }
        row |= {"answers": cases + 9, "cases": cases, "sessions": cases}
        for k in (5, 10, 20):
            row |= {f"hit_{k}": hit, f"hit_{k}_low": hit - 0.02, f"hit_{k}_high": hit + 0.02}
            row |= {f"mrr_{k}": 0.1, f"mrr_{k}_low": 0.08, f"mrr_{k}_high": 0.12}
        write_table(
            "live_quality", [row, row | {"period": "hour"}, row | {"slice": "target", "value": "cold"}]
        )

    return make


@pytest.mark.parametrize(
    ("hit", "cases", "holds"), [(0.29, 500, True), (0.25, 500, False), (0.2, LEAST_CASES - 1, True)]
)
def test_a_day_clearly_below_the_test_warns(live, settings, hit, cases, holds):
    live(hit, cases)
    found = quality_holds(settings, {})
    assert found.passed is holds
    assert holds or (
        "m: hit_20 0.2500 [0.2300, 0.2700] on 2026-01-05" in found.text and "LiveQualityLow" in found.text
    )


def test_a_model_whose_folder_is_gone_is_not_compared(settings, live):
    live(0.1)
    (settings.models_dir / "m" / "manifest.json").unlink()
    assert quality_holds(settings, {}).passed


def test_live_figures_stand_beside_the_test_with_intervals(settings, live):
    live(0.29)
    rows = live_quality(settings).rows
    assert len(rows) == 1
    assert rows[0][:4] == ("m", "2026-01-05", "509", "500")
    assert rows[0][6] == "0.2900 [0.2700, 0.3100]" and rows[0][8] == "0.3000 [0.2800, 0.3200]"


def test_nothing_live_says_so_and_the_check_passes(settings):
    assert "not made" in str(live_quality(settings).rows)
    assert quality_holds(settings, {}).passed


def test_the_asset_shows_the_figures_over_time(settings, live):
    live(0.29)
    found = run_metadata("live/quality", settings, Report("live_quality", 3))
    assert "data:image/png;base64," in found["quality_over_time"].value
