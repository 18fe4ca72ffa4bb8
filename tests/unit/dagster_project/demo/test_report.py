"""The summary shows what the run made and nothing else."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from dagster_project.demo import report as demo_report
from dagster_project.demo import sections as demo_sections
from dagster_project.demo.sections import Section
from feature_repo.contract import cli
from intentstore.__main__ import app


def summary(*sections, success=True):
    return demo_report.Summary(success, 12.0, "0123456789", sections)


def test_page_escapes_what_comes_from_data():
    page = demo_report.to_html(summary(Section("T", ("a",), [("<script>alert(1)</script>",)], "<b>")))
    assert "<script>" not in page and "&lt;script&gt;" in page and "&lt;b&gt;" in page


def test_it_ends_with_three_lines_to_copy_each_a_command(settings, tmp_path):
    home = settings.model_copy(update={"home": tmp_path / "a shop"})
    tries = demo_report._tries(home, ["50", "o'hara", "181"])
    shown = demo_report.to_text(dataclasses.replace(summary(), tries=tries), Path("x.html"))
    lines = [line.removeprefix("try").strip() for line in shown.splitlines()[-3:]]
    assert [shlex.split(line, comments=True)[:2] for line in lines] == [
        ["intentstore", "recommend"],
        ["intentstore", "features"],
        ["intentstore", "ui"],
    ]
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        assert str(home.home) in " ".join(words)
        command = cli.command_of(app)
        while getattr(command, "commands", None) is not None:
            name, words = words[0], words[1:]
            command = command.commands[name]
        command.make_context(name, words)  # parses and checks; nothing is run


def test_a_failed_run_asks_nobody_to_try():
    assert "intentstore" not in demo_report.to_text(summary(success=False), Path("x.html"))


def test_failure_is_plain_in_text_and_page():
    shown = summary(success=False)
    assert "FAILED" in demo_report.to_text(shown, Path("x.html"))
    assert "some assets failed" in demo_report.to_html(shown)


def test_what_was_not_made_says_so(settings):
    for section in (
        demo_sections.intents({}),
        demo_sections.quality({}, None),
        demo_sections.streaming({}),
        demo_sections.parity({}),
        demo_sections.sessions(settings, {}),
    ):
        assert demo_sections.NOT_MADE in str(section.rows)


def test_kept_model_says_that_its_figures_are_of_an_earlier_run():
    known = {"version": "m", "kept": True, "cases": 3, "seconds": 1.0, "new_cases_share": 0.05}
    found = demo_sections.quality({"candidate_model": known}, {"rows": [], "seen": "kept"})
    assert "Kept from an earlier run" in found.note


def test_skipped_intents_claim_no_calls():
    found = demo_sections.intents(
        {"session_intents": {"unchanged": True, "llm_calls": 48, "dagster/row_count": 5}}
    )
    assert ("LLM calls of this run", "0") in found.rows and "48" not in str(found.rows)


def test_session_shows_titles_intents_reasons_and_what_came_next(settings, write_table):
    write_table(
        "items", [{"item_id": item, "title": title} for item, title in (("a", "Alien"), ("b", "Brazil"))]
    )
    write_table("score_log", [{"partition": 0, "offset": 7, "items": ["a"]}])
    answer = {
        "session_id": "s",
        "items": [{"item_id": "b", "score": 1.0, "reason": 'often clicked after "Alien"'}],
        "intents": {"long": {"text": "space"}, "short": {"text": "", "items": ["b"]}},
    }
    entry = {"partition": 0, "offset": 7, "answer": answer}
    found = demo_sections.sessions(
        settings,
        {
            "live/recommendations": {
                "examples": [
                    entry | {"clicked_next": "b", "rank": 1},
                    entry | {"clicked_next": "a", "rank": None},
                ]
            }
        },
    )
    shown = ("s", "Alien", "space / Brazil", 'Brazil (often clicked after "Alien")')
    assert found.rows == [(*shown, "Brazil", "1"), (*shown, "Alien", "not among 1")]
    assert found.title.startswith("2 live sessions")


def test_the_verdict_stands_below_the_table():
    known = {"version": "m", "cases": 3, "seconds": 1.0}
    line = "model against best baseline, EASE: N@10 +0.0041 [-0.0012, +0.0093], not proven"
    found = demo_sections.quality({"candidate_model": known}, {"rows": [], "verdicts": [line]})
    assert found.note.startswith(f"{line}. Model m")


def test_tables_count_rows_and_what_the_run_wrote(settings, write_table, click):
    write_table("clicks", [click(1), click(2)])
    found = demo_sections.tables(settings, {"clicks": {"inserted": 2, "updated": 0, "seconds": 1.0}})
    assert found.rows == [("clicks", "2", "0", "2", "1.0")]


def test_page_is_written_under_home(settings):
    assert (
        demo_report.write_html(settings, summary()).read_text(encoding="utf-8").startswith("<!doctype html>")
    )
