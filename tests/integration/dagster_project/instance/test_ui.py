"""The graph in a real browser, on the state of the demo: opened, clicked, broken, and looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from feature_repo.contract import processes as bound
from streaming.services.processes import free_port

ROOT = Path(__file__).resolve().parents[4]
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
]
START_SECONDS = 180
DAY = "2026-01-02"  # of the shop's clicks
LONG_MS = 240_000  # a run starts a process, and some start a JVM


@pytest.fixture(scope="module")
def address(demo):
    port = free_port()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(demo.home / "dagster"),
        "DAGSTER_SETTINGS_FILE": str(demo.config),
        "INTENTSTORE_HOME": str(demo.home),
    }
    workspace = ["-w", str(ROOT / "workspace.yaml")]
    web = bound.start(
        [sys.executable, "-m", "dagster_webserver", *workspace, "-h", "127.0.0.1", "-p", str(port)],
        env=environment,
        cwd=ROOT,
    )
    daemon = bound.start(
        [sys.executable, "-m", "dagster._daemon", "run", *workspace], env=environment, cwd=ROOT
    )
    try:
        wait_until_up(web, f"http://127.0.0.1:{port}/server_info")
        yield f"http://127.0.0.1:{port}"
    finally:
        bound.stop(daemon, 10)
        bound.stop(web, 10)


def wait_until_up(process: subprocess.Popen[bytes], address: str) -> None:
    for _ in range(START_SECONDS):
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            try:
                process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the webserver ended with {process.returncode}") from None
    raise AssertionError(f"no webserver within {START_SECONDS} s")


@pytest.fixture(scope="module")
def page():
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1500, "height": 900})
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()


def graphql(address: str, query: str) -> dict:
    request = urllib.request.Request(
        f"{address}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


def keep(page: Page, name: str) -> None:
    """Take a picture; only with SCREENSHOTS (a folder) is it kept."""
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png")


def test_code_location_is_loaded_with_every_asset(address):
    found = graphql(
        address,
        (
            "{ assetNodes { assetKey { path } groupName } workspaceOrError { ... on Workspace { "
            "locationEntries { loadStatus } } } }"
        ),
    )
    assert [entry["loadStatus"] for entry in found["workspaceOrError"]["locationEntries"]] == ["LOADED"]
    assert {"ingest", "sessions", "intents", "features", "training", "serving", "daily"} == {
        node["groupName"] for node in found["assetNodes"]
    }


def test_global_graph_opens_and_a_group_unfolds(page, address):
    page.goto(f"{address}/asset-groups")
    expect(page.get_by_text("Materialize all").first).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("serving", exact=True).last).to_be_visible()
    keep(page, "graph")
    page.goto(f"{address}/asset-groups?expanded=global%40global%3Afeatures")
    expect(page.get_by_text("training_set").first).to_be_visible(timeout=LONG_MS)


def test_model_page_shows_figures_and_plot(page, address):
    page.goto(f"{address}/assets/candidate_model?view=events")
    row = page.locator("tr", has_text="quality_plot").first
    expect(row).to_be_visible(timeout=LONG_MS)
    row.get_by_text("Show").first.click()
    expect(page.locator("img[src^='data:image/png']").first).to_be_visible()
    keep(page, "model")


@pytest.mark.parametrize("plot", ["calibration", "long_tail", "training_curve"])
def test_plots_of_the_training_open(page, address, plot):
    page.goto(f"{address}/assets/candidate_model?view=events")
    row = page.locator("tr", has_text=plot).first
    expect(row).to_be_visible(timeout=LONG_MS)
    row.get_by_text("Show").first.click()
    expect(page.locator("img[src^='data:image/png']").first).to_be_visible()
    keep(page, plot)


def test_checks_of_a_table_are_green(page, address):
    page.goto(f"{address}/assets/clicks?view=checks")
    expect(page.get_by_text("not_empty").first).to_be_visible(timeout=LONG_MS)
    keep(page, "checks")


def test_asset_is_materialised_by_a_click(page, address):
    before = count_runs(address)
    page.goto(f"{address}/assets/model_card")
    page.get_by_role("button", name="Materialize").first.click()
    run = wait_for_run(page, address, before + 1)
    assert run["status"] == "SUCCESS"


def test_partition_is_materialised_by_clicks_and_its_checks_turn_green(page, address):
    before = count_runs(address)
    page.goto(f"{address}/assets/daily/clicks?view=checks")
    expect(page.get_by_text("has_clicks").first).to_be_visible(timeout=LONG_MS)
    assert page.get_by_text("Succeeded").count() == 0
    page.goto(f"{address}/assets/daily/clicks?view=partitions&partition={DAY}")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Show all partitions").first.click()
    field = page.locator("input[placeholder*='1997']").last
    field.fill(DAY)
    field.press("Enter")
    page.get_by_role("button", name="Launch 1 run").click()
    run = wait_for_run(page, address, before + 1)
    assert run["status"] == "SUCCESS"
    page.goto(f"{address}/assets/daily/clicks?view=checks")
    expect(page.get_by_text("Succeeded")).to_have_count(2, timeout=LONG_MS)
    keep(page, "day")


def test_one_click_on_everything_asks_for_nothing_and_a_blocking_check_stops_it_with_its_message(
    page, address, demo
):
    clicks = demo.folder / "clicks.csv"
    good = clicks.read_bytes()
    before, trained = count_runs(address), latest(address, "candidate_model")
    clicks.write_bytes(good + b"s0,i1,no time at all\n" * 60)
    try:
        page.goto(f"{address}/locations/intentstore/jobs/everything")
        # a dialog would be announced by three dots
        page.get_by_text("Materialize all", exact=True).first.click()
        run = wait_for_run(page, address, before + 1)
        assert run["status"] == "FAILURE" and run["jobName"] == "everything"
        page.goto(f"{address}/runs/{run['runId']}")
        expect(page.get_by_text("refused_share failed").first).to_be_visible(timeout=LONG_MS)
        keep(page, "stopped")
    finally:
        clicks.write_bytes(good)
    assert latest(address, "candidate_model") == trained


def runs_by_hand(address: str) -> list[dict]:
    """List runs that no sensor started, newest first."""
    found = graphql(
        address, "{ runsOrError { ... on Runs { results { runId status jobName tags { key } } } } }"
    )["runsOrError"]["results"]
    return [run for run in found if "dagster/sensor_name" not in {tag["key"] for tag in run["tags"]}]


def count_runs(address: str) -> int:
    return len(runs_by_hand(address))


def latest(address: str, asset: str) -> str:
    query = (
        '{ assetOrError(assetKey: { path: ["%s"] }) { ... on Asset { assetMaterializations(limit: 1) { '
        "timestamp } } } }"
    ).replace("%s", asset)
    return str(graphql(address, query)["assetOrError"]["assetMaterializations"][0]["timestamp"])


def wait_for_run(page: Page, address: str, number: int) -> dict:
    """Wait (in the browser, which has a clock) until so many runs are there and the newest has ended; return
    that.
    """
    for _ in range(LONG_MS // 1000):
        found = runs_by_hand(address)
        if len(found) >= number and found[0]["status"] in {"SUCCESS", "FAILURE", "CANCELED"}:
            return found[0]
        page.wait_for_timeout(1000)
    raise AssertionError(f"no run ended within {LONG_MS / 1000:.0f} s")
