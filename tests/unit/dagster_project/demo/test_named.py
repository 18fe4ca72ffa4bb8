"""The table of named intents tells of the tables, and counts names that repeat a clicked title."""

from __future__ import annotations

import datetime

from dagster_project.demo.named import named_intents

WHEN = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)


def test_names_stand_beside_clicks_and_repeats_are_counted(settings, write_table):
    titles = {"a": "Toy Story (1995)", "b": "Aladdin (1992)", "c": "Dumbo"}
    write_table("items", [{"item_id": item, "title": title} for item, title in titles.items()])
    sessions = [f"s{number}" for number in range(30)]
    write_table(
        "session_text",
        [{"session_id": one, "event_timestamp": WHEN, "items": ["a", "b"]} for one in sessions],
    )
    write_table(
        "session_intents",
        [
            {
                "session_id": one,
                "event_timestamp": WHEN,
                "long_name": "children's, animation" if number else "story, toy",
                "short_name": None,
                "long_shown": ["c", "a"],
                "short_shown": None,
            }
            for number, one in enumerate(sessions)
        ],
    )
    found = named_intents(settings)
    assert found.title == "20 named intents" and len(found.rows) == 20
    assert found.note.startswith("Of 60 names 1 hold")
    row = next(row for row in found.rows if "children's" in row[2])
    assert row[1:] == (
        "Toy Story (1995) > Aladdin (1992)",
        "children's, animation: Dumbo, Toy Story (1995)",
        "-: -",
    )
    assert named_intents(settings).rows == found.rows


def test_without_tables_it_says_so(settings):
    assert "not made" in str(named_intents(settings).rows)
