"""The board of latest answers: bounded, newest wins, streams get what is theirs."""

from __future__ import annotations

import asyncio
import json

import pytest

from feature_repo.contract.messages import (
    Intents,
    IntentView,
    Recommendation,
    RecommendedItem,
    Source,
    encode_recommendation,
)
from streaming.http.board import AnswerBoard, EventStream, StoredAnswer
from streaming.http.wire.errors import ApiError


def answer(session: str, offset: int, text: str = "shoes") -> StoredAnswer:
    view = IntentView(text, ["i"])
    intents, source = Intents(view, view, "encoder"), Source("clicks", 0, offset)
    body = Recommendation(
        f"e{offset}",
        session,
        [RecommendedItem("i", 0.5, "why")],
        intents,
        "v1",
        source,
        "2024-01-01T00:00:00Z",
        "x",
    )
    return StoredAnswer(session.encode(), encode_recommendation(body), 0, offset)


def test_the_newest_answer_of_a_session_is_kept():
    board = AnswerBoard()
    board.put([answer("s", 1), answer("t", 2), answer("s", 3)])
    assert json.loads(board.latest("s"))["event_id"] == "e3"
    assert len(board) == 2


def test_memory_is_bounded_and_the_oldest_session_is_forgotten():
    one = AnswerBoard()
    one.put([answer("s0", 0)])
    board = AnswerBoard(most_bytes=10 * one.held_bytes + 50)
    board.put(answer(f"s{n}", n) for n in range(1000))
    assert board.held_bytes <= 10 * one.held_bytes + 50
    assert json.loads(board.latest("s999"))["event_id"] == "e999"
    with pytest.raises(ApiError, match="no answer to session 's0'"):
        board.latest("s0")


def test_the_same_session_again_and_again_holds_no_more_memory():
    board = AnswerBoard()
    board.put([answer("s", 100)])
    before = board.held_bytes
    board.put(answer("s", n) for n in range(101, 900))
    assert board.held_bytes == before


def test_a_foreign_record_is_an_error_and_no_event():
    board = AnswerBoard()
    board.put([StoredAnswer(b"s", b"no json\n\nevent: forged", 0, 1)])
    with pytest.raises(ApiError) as error:
        board.latest("s")
    assert error.value.status_code == 502
    assert board.subscribe("s").empty()


def test_a_stream_begins_with_the_kept_answer_and_goes_on_with_its_own_session_only():
    async def scenario():
        board, sent = AnswerBoard(), []
        board.put([answer("s", 1)])
        leave, got = asyncio.Event(), asyncio.Condition()

        async def send(message):
            async with got:
                sent.append(message.get("body", b""))
                got.notify_all()

        async def receive():
            await leave.wait()
            return {"type": "http.disconnect"}

        task = asyncio.create_task(EventStream(board, "s")({"type": "http"}, receive, send))
        async with got:
            await got.wait_for(lambda: any(b"e1" in part for part in sent))
        board.put([answer("other", 2), answer("s", 3, text='</script> "x"\n\ndata: forged')])
        async with got:
            await got.wait_for(lambda: any(b'"e3"' in part for part in sent))
        assert board.open_streams == 1
        leave.set()
        await task
        assert board.open_streams == 0
        return sent

    sent = asyncio.run(asyncio.wait_for(scenario(), 20))
    events = [part for part in sent if b"event:" in part]
    assert len(events) == 2
    assert all(b"other" not in part for part in events)
    assert events[1].count(b"\n") == 4  # id, event, data, blank: nothing in a record ends an event early


def test_a_slow_reader_loses_the_oldest_answers_not_the_newest():
    async def scenario():
        board = AnswerBoard()
        queue = board.subscribe("s")
        board.put(answer("s", n) for n in range(500))
        events = [queue.get_nowait() for _ in range(queue.qsize())]
        return events

    events = asyncio.run(scenario())
    assert len(events) == 100
    assert b"id: 0-499\n" in events[-1]


def test_closing_the_board_ends_streams():
    async def scenario():
        board, sent = AnswerBoard(), []

        async def send(message):
            sent.append(message)

        async def receive():
            await asyncio.Event().wait()

        task = asyncio.create_task(EventStream(board, "s")({"type": "http"}, receive, send))
        await asyncio.sleep(0)
        board.close()
        await task
        return sent[-1]

    assert asyncio.run(asyncio.wait_for(scenario(), 20)) == {
        "type": "http.response.body",
        "body": b"",
        "more_body": False,
    }
