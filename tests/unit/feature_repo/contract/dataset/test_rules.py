"""What ids of a folder are good for: repeats, events that restart, sessions of several users, the user's own
split."""

from __future__ import annotations

from pathlib import Path

import pytest

from feature_repo.contract.dataset.folder import derive_event_id, read_clicks
from feature_repo.contract.dataset.refusals import reason_kind
from feature_repo.contract.dataset.rules import FolderRules
from feature_repo.contract.dataset.session_cut import gap_note, lone_share
from feature_repo.contract.dataset.settled import Settled

START = 1_704_067_200


def settle(folder: Path, **files: str) -> tuple[list[dict], list, Settled]:
    """Rows as the lake gets them, refused rows, and what was decided."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    rules = FolderRules()
    blocks = list(rules.watch(read_clicks(folder)))
    settled = rules.settle()
    done = [settled.apply(number, block, lake=True) for number, block in enumerate(blocks)]
    rows = [
        row | {"split": block.split, "line": line}
        for block in done
        for row, line in zip(block.rows.to_pylist(), block.lines.tolist(), strict=True)
    ]
    return rows, [refused for block in done for refused in block.refused], settled


def table(columns: str, *rows: str) -> str:
    return "\n".join([columns, *rows]) + "\n"


def test_the_first_row_of_an_instant_keeps_the_id_that_old_lakes_know_and_another_event_type_is_another_click(
    tmp_path,
):
    columns = "session_id,item_id,event_time,event_type"
    rows, refused, _ = settle(
        tmp_path, clicks=table(columns, f"s,a,{START},view", f"s,a,{START},cart", f"s,a,{START},view")
    )
    assert [row["event_type"] for row in rows] == ["view", "cart"]
    assert rows[0]["event_id"] == derive_event_id("s", "a", START * 1_000_000) != rows[1]["event_id"]
    assert refused[0].line == 4 and "every value is as at line 2" in refused[0].reason


@pytest.mark.parametrize("column", ["user_id", "event_type", "quantity"])
def test_rows_that_differ_in_any_column_are_no_repeats(tmp_path, column):
    rows, refused, _ = settle(
        tmp_path,
        clicks=table(
            f"session_id,item_id,event_time,{column}", f"s,a,{START},1", f"s,a,{START},2", f"s,a,{START},"
        ),
    )
    assert len({row["event_id"] for row in rows}) == 3 and not refused


def test_ids_stay_when_the_file_is_read_again_or_grows(tmp_path):
    columns = "session_id,item_id,event_time,event_id,user_id"
    lines = [
        f"s{session},i{hit},{START + 1000 * session + hit},{hit},u{session % 3}"
        for session in range(20)
        for hit in range(5)
    ]
    before, _, _ = settle(tmp_path, clicks=table(columns, *lines[:60]))
    again, _, _ = settle(tmp_path, clicks=table(columns, *lines[:60]))
    grown, _, _ = settle(tmp_path, clicks=table(columns, *lines))
    assert before == again == grown[:60] and len({row["event_id"] for row in grown}) == 100


@pytest.mark.parametrize(("scope", "event"), [("session", "{hit}"), ("user", "{of_user}"), ("row", "click")])
def test_event_ids_that_restart_are_made_unique_and_it_is_said_once(tmp_path, scope, event):
    lines = []
    for user in range(6):
        for session in range(4):
            for hit in range(3):
                name = event.format(hit=hit, of_user=3 * session + hit)
                lines.append(f"s{user}-{session},i{hit},{START + 1000 * session + hit},{name},u{user}")
    rows, refused, settled = settle(
        tmp_path, clicks=table("session_id,item_id,event_time,event_id,user_id", *lines)
    )
    assert len({row["event_id"] for row in rows}) == 72 and not refused and settled.repeats.scope == scope
    (note,) = settled.notes()
    assert (
        "event_id restarts per " + scope if scope != "row" else "event_id does not tell clicks apart"
    ) in note and "clicks.csv line 2" in note


def test_a_click_sent_twice_is_a_repeat_although_event_ids_restart(tmp_path):
    lines = [
        f"s{session},i{hit},{START + 1000 * session + hit},{hit}" for session in range(20) for hit in range(5)
    ]
    rows, refused, settled = settle(
        tmp_path, clicks=table("session_id,item_id,event_time,event_id", *lines, lines[7])
    )
    assert len(rows) == 100 and settled.repeats.scope == "session"
    assert "event_id '2' was seen before at line 9, with the same values" in refused[0].reason


def test_a_doubled_event_id_among_many_good_ones_refuses_its_row(tmp_path):
    lines = [f"s{number // 5},i{number % 7},{START + number},e{number}" for number in range(200)]
    _, refused, settled = settle(
        tmp_path, clicks=table("session_id,item_id,event_time,event_id", *lines, f"z,i,{START},e3")
    )
    assert (
        not settled.notes()
        and "event_id 'e3' was seen before at line 5; give every click its own" in refused[0].reason
    )


def test_session_ids_that_restart_per_user_are_keyed_by_both(tmp_path):
    users = list(enumerate(["a/b", "a", ""]))
    lines = [
        f"{session},i{hit},{START + 60 * user + 10 * hit},{name}"
        for user, name in users
        for session in range(3)
        for hit in range(4)
    ]
    rows, _, settled = settle(
        tmp_path,
        clicks=table(
            "session_id,item_id,event_time,user_id", *lines, "b/0,x,1704067201,a", "0,x,1704067201,c"
        ),
    )
    assert settled.session_key == "user/session" and len(rows) == 38
    assert {row["session_id"] for row in rows if row["user_id"] == "a/b"} == {"a%2Fb/0", "a%2Fb/1", "a%2Fb/2"}
    assert "a/b/0" in {row["session_id"] for row in rows} and "0" in {
        row["session_id"] for row in rows if not row["user_id"]
    }
    (note,) = settled.notes()
    assert "session_id restarts per user" in note


@pytest.mark.parametrize(
    ("rows", "key"),
    [
        # signs in
        (
            [
                f"s{n},i{hit},{START + 10_000 * n + hit},{'anonymous' if hit < 2 else f'u{n}'}"
                for n in range(9)
                for hit in range(4)
            ],
            "session",
        ),
        # two take turns
        (
            [f"s{n},i{hit},{START + 10_000 * n + hit},u{hit % 2}" for n in range(9) for hit in range(4)],
            "user/session",
        ),
        # a day apart
        (
            [
                f"s{n},i{hit},{START + 90_000 * (hit // 2) + hit},u{hit // 2}"
                for n in range(9)
                for hit in range(4)
            ],
            "user/session",
        ),
        # a user is a session
        ([f"u{n},i{hit},{START + hit},u{n}" for n in range(9) for hit in range(4)], "session"),
        ([f"s{n},i{hit},{START + hit}," for n in range(9) for hit in range(4)], "session"),  # nobody is known
        # one shared device
        (
            [
                *(f"s{n},i{hit},{START + hit},u{n}" for n in range(30) for hit in range(4)),
                f"s0,i9,{START + 2},u9",
            ],
            "session",
        ),
    ],
)
def test_sessions_are_keyed_by_user_only_where_their_ids_restart(tmp_path, rows, key):
    assert (
        settle(tmp_path, clicks=table("session_id,item_id,event_time,user_id", *rows))[2].session_key == key
    )


def test_a_split_is_kept_though_its_files_overlap(tmp_path):
    columns = "session_id,item_id,event_time"
    lines = [f"s{session},i{hit},{START + 1000 * session + hit}" for session in range(10) for hit in range(3)]
    rows, refused, settled = settle(
        tmp_path,
        clicks=table(columns, *lines),
        clicks_test=table(columns, *lines[24:], "new,i1,1704100000", "new,i2,1704100001"),
    )
    assert not refused and settled.own_split and sum(row["split"] == "test" for row in rows) == 8
    assert len({row["event_id"] for row in rows}) == 38
    assert {row["session_id"] for row in rows if row["split"] == "test"} == {"s8/test", "s9/test", "new"}
    (note,) = settled.notes()
    assert (
        "6 clicks of 2 sessions stand in two files of the split, such as clicks_test.csv line 2 and "
        "clicks.csv line 26"
    ) in note


def test_a_session_over_the_border_keeps_its_name_and_is_said(tmp_path):
    columns = "session_id,item_id,event_time"
    train, test = (
        table(columns, f"s,a,{START}", f"s,b,{START + 1}", f"t,a,{START}"),
        table(columns, f"s,c,{START + 2}", f"s,d,{START + 3}"),
    )
    rows, _, settled = settle(tmp_path, clicks=train, clicks_test=test)
    assert {row["session_id"] for row in rows if row["split"] == "test"} == {"s"}
    assert settled.notes() == (
        (
            "1 session ids have clicks in two files of the split, such as that of clicks.csv line 2 and "
            "clicks_test.csv line 3; they are cut at the border"
        ),
    )


@pytest.mark.parametrize("test", ["s,a,never", ""])
def test_a_split_file_without_a_click_is_said(tmp_path, test):
    columns = "session_id,item_id,event_time"
    _, _, settled = settle(tmp_path, clicks=table(columns, f"s,a,{START}"), clicks_test=table(columns, test))
    assert not settled.own_split
    assert settled.notes() == ("clicks_test.csv: no click of it was taken, so it is no part of the split",)


def test_row_numbers_of_two_files_are_made_unique(tmp_path):
    columns = "session_id,item_id,event_time,event_id"
    train, test = (
        table(columns, *(f"{name}{row // 4},i{row % 5},{START + row},{row}" for row in range(20)))
        for name in "st"
    )
    rows, refused, settled = settle(tmp_path, clicks=train, clicks_test=test)
    assert (
        len({row["event_id"] for row in rows}) == 40
        and not refused
        and "restarts per session" in settled.notes()[0]
    )


def test_a_gap_that_leaves_single_clicks_is_named_before_the_work(tmp_path):
    columns = "session_id,item_id,event_time"
    days = [f"s{session},i{day},2024-01-{day + 1:02d}" for session in range(30) for day in range(5)]
    found = settle(tmp_path, clicks=table(columns, *days))[2]
    assert lone_share(found.sessions, found.rows.time, 600e6) == 1.0
    note = gap_note(found.sessions, found.rows.time, 10.0)
    assert note.startswith(
        "100 % of sessions would have one click with session.gap_minutes = 10 (the times are days), 0 % "
        "without the rule"
    )
    assert (
        gap_note(found.sessions, found.rows.time, None)
        == gap_note(found.sessions, found.rows.time, 3000.0)
        == ""
    )


def test_purchases_of_mostly_new_customers_are_noticed_and_lone_clicks_are_not_the_rules_fault(tmp_path):
    columns = "session_id,item_id,event_time"
    bought = [
        f"c{customer},i{day},{START + 100_000 * day}"
        for customer in range(100)
        for day in range(3 if customer < 30 else 1)
    ]
    found = settle(tmp_path, clicks=table(columns, *bought))[2]
    assert "70 % without the rule" in gap_note(found.sessions, found.rows.time, 10.0)
    lone = settle(
        tmp_path, clicks=table(columns, *(f"c{customer},i1,{START + customer}" for customer in range(50)))
    )[2]
    assert gap_note(lone.sessions, lone.rows.time, 10.0) == ""


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (
            "clicks.csv line 7: event_time '31-02-2020' is no timestamp; expected ISO 8601",
            "event_time ... is no timestamp",
        ),
        ("clicks.csv line 9: 4 values instead of 3; quote values", "... values instead of ..."),
        ("clicks.tsv line 12: session_id 'it\\'s' is blank; give", "session_id ... is blank"),
        (
            "items.csv line 4: item_id 'a: line 3: b' stands at line 2 already; keep one",
            "item_id ... stands at line ... already",
        ),
    ],
)
def test_reasons_of_one_kind_are_one_kind(reason, kind):
    assert reason_kind(reason) == kind
