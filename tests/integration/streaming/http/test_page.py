"""The live page in Chromium, from a click to the changed recommendations, on everything real."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-quic",
    "--no-first-run",
]
PATIENCE_MS = 120_000  # a bound against hanging for ever, not a measure


@pytest.fixture(scope="module")
def page(side: Any, wait: Any) -> Iterator[Page]:
    side.promote(0)
    side.consume()
    wait(lambda: side.client.get("/readyz").status_code == 200, "readiness")
    side.answer("warm", side.click("warm", "shoes-1"))  # the consumer has its partitions
    path = next(
        found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.problems = []  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
        page.on(
            "console", lambda message: page.problems.append(message.text) if message.type == "error" else None
        )  # type: ignore[attr-defined]
        page.on(
            "request",
            lambda request: (
                page.problems.append(request.url) if not request.url.startswith((side.url, "data:")) else None
            ),
        )  # type: ignore[attr-defined]
        page.goto(side.url)
        yield page
        browser.close()


def click_first(page: Page, words: str, title: str) -> None:
    page.fill("#query", words)
    button = page.locator("#found .item", has_text=title).first
    button.click()


def test_clicks_change_features_intents_and_recommendations(page: Page) -> None:
    expect(page.locator("#ready")).to_have_text("ready")
    expect(page.locator("#trail")).to_contain_text("No clicks yet")
    click_first(page, "trail running", "Trail running shoes")
    expect(page.locator("#trail .chip")).to_have_count(1)
    expect(page.locator('tr[data-feature="click_count"] td')).to_have_text("1")
    expect(page.locator("#took")).to_contain_text("answered in")
    expect(page.locator("#long-items .chip").first).to_be_visible()
    expect(page.locator("#ranked .reason").first).not_to_be_empty()
    first = page.locator("#short-items").inner_text()
    click_first(page, "floor lamp", "Floor lamp")
    expect(page.locator("#trail .chip")).to_have_count(2)
    expect(page.locator('tr[data-feature="click_count"] td')).to_have_text("2")
    expect(page.locator("#short-items")).not_to_have_text(first)
    expect(page.locator("#source")).to_have_text("encoder")


def test_a_recommendation_can_be_clicked(page: Page) -> None:
    page.locator("#ranked .item").first.click()
    expect(page.locator("#trail .chip")).to_have_count(3)


def test_hostile_titles_are_text(page: Page) -> None:
    click_first(page, "onerror", "<img src=x")
    expect(page.locator("#trail")).to_contain_text("<script>document.title='forged'</script>")
    assert page.locator("main img, main script").count() == 0
    assert page.title() == "IntentStore · live"


def test_a_session_of_that_id_can_be_opened_again(page: Page) -> None:
    name, clicks = page.input_value("#session"), page.locator("#trail .chip").count()
    page.click("#new")
    expect(page.locator("#trail")).to_contain_text("No clicks yet")
    assert page.input_value("#session") != name
    page.fill("#session", name)
    page.press("#session", "Enter")
    expect(page.locator("#trail .chip")).to_have_count(clicks)
    expect(page.locator("#ranked .item").first).to_be_visible()


def test_an_answer_from_elsewhere_appears_by_itself(page: Page, side: Any) -> None:
    clicks = page.locator("#trail .chip").count()
    side.click(page.input_value("#session"), "lamps-7")
    expect(page.locator("#trail .chip")).to_have_count(clicks + 1)


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    expect(page.locator("#ranked .item").first).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 900})


def test_nothing_went_wrong_and_nothing_was_fetched_from_elsewhere(page: Page) -> None:
    assert page.problems == []  # type: ignore[attr-defined]
