"""The pictures of the demo's page: whole SVG of the figures given, with a text, in the page's colours."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from dagster_project.demo import figures, pictures
from dagster_project.demo import report as demo_report
from dagster_project.demo.sections import Section
from dagster_project.live.spread import histogram, hit_rates

SVG = "{http://www.w3.org/2000/svg}"


def row(name, mean, *, role="baseline"):
    value = (
        {"mean": mean, "low": mean - 0.01, "high": mean + 0.01}
        if mean
        else dict.fromkeys(("mean", "low", "high"))
    )
    return {"role": role, "name": name, "metrics": {"metrics": {"N@10": value}}}


CALIBRATION = {
    "error": 0.0123,
    "bins": [
        {"score": score, "hits": score / 2, "hits_low": score / 4, "hits_high": score, "items": 9}
        for score in (0.001, 0.01, 0.1)
    ]
    + [{"score": 0.5, "hits": 0.0, "hits_low": 0.0, "hits_high": 0.1, "items": 3}],
}
DRAWN = {
    "forest": pictures.forest([row("EASE <&>", 0.04), row("ours", 0.06, role="with_intents")], "N@10"),
    "calibration": pictures.calibration(CALIBRATION),
    "histogram": pictures.histogram([1.0, 1.6, 2.5, 4.0], [3, 0, 1], "ms", {"p50": 1.2, "p99": 3.0}),
    "steps": pictures.steps([0.1, 0.4, 0.3], "hits"),
    "item_map": pictures.item_map(
        np.random.default_rng(0).normal(size=(20, 8)),
        [pictures.Dots("items", "faint", range(20), 2)],
        "a map",
    ),
}


def parts(svg, kind):
    root = ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    return root.findall(f"{SVG}{kind}")


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_whole_says_what_it_shows_and_has_no_outside_part(name):
    svg = DRAWN[name]
    title = parts(svg, "title")[0].text
    assert title and 'role="img"' in svg and f'aria-label="{title.split(",")[0].split("<")[0]}' in svg
    assert not re.search(r"href|url\(|script|#[0-9a-f]{3}", svg), "colours are the page's"
    numbers = [float(text) for text in re.findall(r' (?:c?[xy]\d?|width|height)="(-?[\d.]+)"', svg)]
    assert numbers and all(0 <= value <= pictures.WIDTH for value in numbers)


def test_models_stand_by_their_figures_and_the_candidate_is_marked():
    left, right = parts(DRAWN["forest"], "circle")
    assert float(left.get("cx")) < float(right.get("cx"))
    assert (left.get("class"), right.get("class")) == ("other", "own")
    assert parts(DRAWN["forest"], "title")[0].text.startswith("N@10 with 95 % intervals, ours is highest")


def test_a_bar_a_count_and_a_mark_a_quantile():
    bars = [float(bar.get("height")) for bar in parts(DRAWN["histogram"], "rect")]
    assert bars == [150.0, 0.0, 50.0]
    assert [word.text for word in parts(DRAWN["histogram"], "text")][-2:] == ["p50 1 ms", "p99 3 ms"]


def test_ranges_without_a_hit_are_left_out_of_the_calibration():
    assert len(parts(DRAWN["calibration"], "circle")) == 3


def test_nothing_is_drawn_of_nothing():
    assert pictures.forest([row("none", None)], "N@10") == ""
    assert pictures.calibration({"error": 0.0, "bins": []}) == ""
    assert pictures.steps([], "hits") == "" and pictures.histogram([1.0, 2.0], [0], "ms", {}) == ""
    assert figures.of_replay({}) == [] and histogram([]) is None and hit_rates([]) == []


def test_latencies_and_hits_of_a_replay_are_counted_whole():
    found = histogram([0.0, 3.0, 3.1, 250.0])
    assert sum(found["counts"]) == 4 and len(found["edges_ms"]) == len(found["counts"]) + 1
    assert found["edges_ms"][0] <= 1.0 and found["edges_ms"][-1] >= 250.0
    shares = hit_rates([True] * 30 + [False] * 31)
    assert len(shares) == 20 and shares[0] == 1.0 and shares[-1] == 0.0


def test_a_session_is_shown_among_the_items(settings, write_table):
    dice = np.random.default_rng(1)
    write_table(
        "item_vectors",
        [{"item_id": f"i{n}", "vector": dice.normal(size=8).astype(np.float32).tolist()} for n in range(30)],
    )
    answer = {
        "session_id": "<s>",
        "items": [{"item_id": "i1"}, {"item_id": "gone"}],
        "intents": {"long": {"text": "", "items": ["i2"]}, "short": {}, "source": "encoder"},
    }
    (drawn,) = figures.of_session(settings, {"answer": answer}, ["i3", "i4"])
    assert "session &lt;s&gt;: 30 items, 2 clicked, 1 intents, 1 recommended" in drawn
    assert len(parts(drawn, "circle")) == 30 + 2 + 1 + 1 + 4  # and the legend


def test_the_page_is_light_and_dark_fits_a_phone_and_shows_cards():
    section = Section(
        "S", ("session", "rank"), [("<a>", "1"), ("b", "2")], pictures=["<svg></svg>"], cards=True
    )
    page = demo_report.to_html(demo_report.Summary(True, 1.0, "0", (section,)))
    assert "prefers-color-scheme:dark" in page and 'name="viewport"' in page
    assert page.count("<article>") == 2 and "<dd>&lt;a&gt;</dd>" in page and "<svg></svg>" in page
    assert not re.search(r"(src|href)=", page)
