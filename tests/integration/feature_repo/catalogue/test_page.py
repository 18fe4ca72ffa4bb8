"""The catalogue in Chromium, opened from the disk: every link leads somewhere, the search finds, the shown
snippet runs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from playwright.sync_api import sync_playwright

from feature_repo.catalogue.build import write_catalogue
from feature_repo.stores.packed.live import LiveFeatureWriter, LiveRow


@pytest.fixture(scope="module")
def catalogue(lake, spark, valkey, small, tmp_path_factory):
    """The page of the small lake, statistics counted, and one session online."""
    row = small.feature_row("1", 1, 1, 4)
    others = {"session_id", "event_timestamp", "created", "event_id", "event_date"}
    LiveFeatureWriter(valkey.url).write(
        [LiveRow("1", 10**15, 10**15, {name: value for name, value in row.items() if name not in others})]
    )
    return write_catalogue(lake, tmp_path_factory.mktemp("catalogue"), spark)


@pytest.fixture(scope="module")
def page(catalogue):
    path = next(
        found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        opened = browser.new_page()
        opened.errors = []
        opened.on("pageerror", lambda error: opened.errors.append(str(error)))
        opened.goto(catalogue.as_uri())
        yield opened
        browser.close()


def test_every_link_is_followed_and_no_script_fails(page, catalogue):
    for details in page.query_selector_all("details"):
        details.evaluate("part => part.open = true")
    links = page.query_selector_all("a")
    assert len(links) > 20
    for link in links:
        target = link.get_attribute("href")
        if target.startswith("#"):
            link.click()
            assert page.evaluate("location.hash") == target
            assert page.evaluate(
                "decodeURIComponent(location.hash).slice(1) === document.querySelector(':target')?.id"
            ), target
        else:
            assert (
                json.loads((catalogue.parent / target).read_text(encoding="utf-8"))["project"]
                == "intentstore"
            )
    assert page.errors == []


def test_every_feature_shows_its_meaning_type_nulls_and_plot(page, catalogue):
    known = json.loads((catalogue.parent / "catalogue.json").read_text(encoding="utf-8"))
    for view in known["views"]:
        section = page.query_selector(f"#view-{view['name']}").inner_text()
        for part in (
            view["owner"],
            view["description"],
            view["freshness"],
            *view["keys"],
            view["lineage"]["table"],
            view["lineage"]["job"],
            *view["services"],
        ):
            assert part in section, (view["name"], part)
        if view["rows"]:
            assert (
                f"{view['rows']} rows, newest {view['newest']} UTC, Delta version {view['delta_version']}"
                in section
            )
        for feature in view["features"]:
            row = page.query_selector(f"[id='feature-{view['name']}-{feature['name']}']")
            assert {feature["name"], feature["type"]} <= {
                code.inner_text() for code in row.query_selector_all("code")
            }
            assert feature["description"] in row.inner_text()
            if view["rows"]:
                assert f"{100 * feature['statistics']['null_share']:.1f} %" in row.inner_text()
                assert row.query_selector("svg rect") or "no values" in row.inner_text()


def test_every_service_shows_three_snippets_and_its_owner(page, catalogue):
    for service in json.loads((catalogue.parent / "catalogue.json").read_text(encoding="utf-8"))["services"]:
        section = page.query_selector(f"#service-{service['name']}")
        assert {
            code.get_attribute("data-snippet") for code in section.query_selector_all("code[data-snippet]")
        } == {"history", "online", "http"}
        assert service["owner"] in section.inner_text()


def test_search_leaves_what_was_asked_for(page):
    page.fill("#search", "mean pause")
    shown = [
        row.query_selector("code").inner_text()
        for row in page.query_selector_all("tr[data-name]")
        if row.is_visible()
    ]
    assert shown == ["mean_gap_seconds"]
    assert page.inner_text("#found") == "1 features found"
    page.fill("#search", "")
    assert len([row for row in page.query_selector_all("tr[data-name]") if row.is_visible()]) > 20


def test_counted_view_shows_rows_nulls_and_a_plot(page):
    section = page.query_selector("#view-session_features")
    assert "Delta version" in section.inner_text()
    assert section.query_selector("svg rect")


def test_shown_online_snippet_runs_and_prints_the_feature(page, lake):
    code = page.query_selector('#service-session_ranker_v1 code[data-snippet="online"]').text_content()
    environment = {
        **os.environ,
        "INTENTSTORE_HOME": str(lake.home),
        "INTENTSTORE_ONLINE__URL": lake.online.url.get_secret_value(),
    }
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "'last_item': ['i4']" in ran.stdout, ran.stderr


def test_shown_history_snippet_runs(page, lake, spark, monkeypatch, capsys):
    code = (
        page.query_selector('#service-session_intents_v1 code[data-snippet="history"]')
        .text_content()
        .replace('["1"]', '["a"]')
    )
    monkeypatch.setenv("INTENTSTORE_HOME", str(lake.home))
    # in this process: its Spark session is the running one
    exec(compile(code, "snippet", "exec"), {})  # noqa: S102
    printed = capsys.readouterr().out
    assert "{'session_intents': " in printed, printed
    assert "[1 rows x" in printed, printed
