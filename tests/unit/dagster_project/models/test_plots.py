"""Pictures and tables of models: drawn out of a report as training writes it."""

from __future__ import annotations

import json

import pytest

from dagster_project.defs.training import _pictures
from dagster_project.models import candidates, gates, plots
from dagster_project.models.train import Candidate
from dagster_project.run import metadata

NAMES = ("R@5", "R@10", "R@20", "N@10", "MRR@20")


def metrics(mean, cases=10):
    return {
        "cases": cases,
        "sessions": cases,
        "metrics": {name: {"mean": mean, "low": mean - 0.05, "high": mean + 0.05} for name in NAMES},
    }


REPORT = {
    "test_cases": 10,
    "rows": [
        {"name": "Most popular", "role": "popularity", "metrics": metrics(0.2)},
        {"name": "gru4rec", "role": gates.CANDIDATE, "metrics": metrics(0.3)},
    ],
    "history": [
        {"epoch": 1, "loss": 2.0, "N@10": 0.1, "seconds": 1.0},
        {"epoch": 2, "loss": 1.0, "N@10": 0.2, "seconds": 1.0},
    ],
    "slices": {
        "target clicked never": metrics(0.0, 0),
        "target clicked over 30 times": metrics(0.4),
        "prefix of 1 click": metrics(0.1),
    },
    "calibration": {
        "error": 0.01,
        "bins": [
            {
                "low": 0.0,
                "high": 0.1,
                "items": 9,
                "score": 0.05,
                "hits": 0.06,
                "hits_low": 0.01,
                "hits_high": 0.2,
            }
        ],
    },
}


@pytest.fixture
def models(settings):
    for number, backbone in enumerate(("sasrec", "gru4rec")):
        folder = settings.models_dir / f"m{number}"
        folder.mkdir(parents=True)
        text = json.dumps(
            {
                "created": f"2026-01-0{number + 1}",
                "config": {"backbone": backbone},
                "metrics": REPORT if number else {"rows": []},
            }
        )
        (folder / "manifest.json").write_text(text, encoding="utf-8")
    return settings


def test_training_shows_curve_long_tail_and_calibration_as_pictures():
    found = _pictures(Candidate("m1", "id", 10, {}, 1.0, REPORT, 0.0))
    pictures = {name for name, value in found.items() if "data:image/png;base64," in str(value.value)}
    assert pictures == {"quality_plot", "training_curve", "long_tail", "kinds_of_case", "calibration"}


def test_report_of_an_older_version_without_these_figures_still_shows_what_it_has():
    found = _pictures(Candidate("m1", "id", 10, {}, 1.0, {"rows": REPORT["rows"]}, 0.0))
    assert set(found) == {"quality", "quality_plot"}


def test_slices_without_cases_are_left_out_of_the_picture():
    assert len(plots.slices(REPORT["slices"]).axes[0].get_yticks()) == 2


def test_candidates_stand_side_by_side_with_their_backbones(models):
    found = candidates.listed(models)
    text = candidates.markdown(found)
    assert "| m0 | sasrec |" in text and "| m1 | gru4rec | 10 |" in text and "0.3000 [0.2500, 0.3500]" in text
    assert [row["name"] for row in candidates.rows_to_draw(found)] == ["m1 gru4rec"]
    assert "data:image/png" in str(metadata.picture(plots.quality(candidates.rows_to_draw(found)), "x").value)
