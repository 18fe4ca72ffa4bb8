"""The latest answer of each session, kept in bounded memory, and the open streams that wait for new ones.
Knows no Kafka.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from feature_repo.contract.messages import decode_recommendation, encode_recommendation
from streaming.http.wire.errors import ApiError

MAX_BYTES = 64_000_000  # of kept answers: about 30,000 sessions at 2 kB
ENTRY_OVERHEAD_BYTES = 300  # of the dictionary and the tuple, measured by sys.getsizeof, rounded up
MAX_STREAMS = 1_000
QUEUE_LENGTH = 100  # answers a slow reader may be behind; the oldest is dropped, the newest is what counts
HEARTBEAT_SECONDS = 15.0  # proxies cut silent connections after 30 to 60 s
STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # a proxy that collects would hold events back
}


class StoredAnswer(NamedTuple):
    """One record of the recommendations topic, as it came."""

    session_id: bytes
    value: bytes
    partition: int
    offset: int


class AnswerBoard:
    """Keeps answers and hands new ones to the streams of their session. Used on the event loop only, so it
    needs no lock.

    Parameters
    ----------
    most_bytes : int
        Bound of all that is kept; the sessions answered longest ago are forgotten first.
    """

    def __init__(self, most_bytes: int = MAX_BYTES) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[bytes, StoredAnswer] = OrderedDict()
        self._streams: dict[bytes, set[asyncio.Queue[bytes | None]]] = {}
        self.held_bytes = 0
        self.open_streams = 0

    def __len__(self) -> int:
        """Count the sessions that are kept."""
        return len(self._kept)

    def put(self, answers: Iterable[StoredAnswer]) -> None:
        """Take answers in topic order."""
        for answer in answers:
            before = self._kept.pop(answer.session_id, None)
            if before is not None:
                self.held_bytes -= _cost(before)
            self._kept[answer.session_id] = answer
            self.held_bytes += _cost(answer)
            for queue in self._streams.get(answer.session_id, ()):
                if queue.full():
                    queue.get_nowait()
                if (event := _event(answer)) is not None:
                    queue.put_nowait(event)
        while self.held_bytes > self._most:
            self.held_bytes -= _cost(self._kept.popitem(last=False)[1])

    def latest(self, session_id: str) -> bytes:
        """Give the latest answer of a session as JSON.

        Raises
        ------
        ApiError
            404 when none is kept.
        """
        answer = self._kept.get(session_id.encode())
        if answer is None:
            text = (
                f"no answer to session {session_id[:60]!r} is kept; its click was not answered yet, or long "
                "ago: ask /v1/recommend?session_id="
            )
            raise ApiError(404, "no_answer", text)
        try:
            return encode_recommendation(decode_recommendation(answer.value))
        except ValueError:
            where = f"partition {answer.partition} offset {answer.offset}"
            raise ApiError(
                502,
                "bad_answer",
                f"the record at {where} is no recommendation; check who else writes that topic",
            ) from None

    def subscribe(self, session_id: str) -> asyncio.Queue[bytes | None]:
        """Open a queue of events of one session, beginning with the answer that is kept; None ends it.

        Raises
        ------
        ApiError
            503 when too many are open.
        """
        if self.open_streams >= MAX_STREAMS:
            raise ApiError(
                503,
                "too_many_streams",
                (
                    f"{MAX_STREAMS} event streams are open; close one or ask "
                    "/v1/sessions/{id}/recommendations instead"
                ),
            )
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_LENGTH)
        key = session_id.encode()
        kept = self._kept.get(key)
        if kept is not None and (event := _event(kept)) is not None:
            queue.put_nowait(event)
        self._streams.setdefault(key, set()).add(queue)
        self.open_streams += 1
        return queue

    def unsubscribe(self, session_id: str, queue: asyncio.Queue[bytes | None]) -> None:
        """Close a queue."""
        key = session_id.encode()
        waiting = self._streams.get(key, set())
        if queue in waiting:
            waiting.remove(queue)
            self.open_streams -= 1
        if not waiting:
            self._streams.pop(key, None)

    def close(self) -> None:
        """End every stream."""
        for waiting in self._streams.values():
            for queue in waiting:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(None)


class EventStream(StreamingResponse):
    """A response that lasts: server-sent events of one session until either side leaves.

    Parameters
    ----------
    board : AnswerBoard
    session_id : str
    heartbeat : float
        Seconds of silence after which a comment is sent.

    Raises
    ------
    ApiError
        503 when too many are open.
    """

    def __init__(self, board: AnswerBoard, session_id: str, heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._board, self._session_id, self._heartbeat = board, session_id, heartbeat
        self._queue = board.subscribe(session_id)  # here, so that a refusal still becomes an error body
        super().__init__(self._events(), headers=STREAM_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write events as they come, and a comment when none came for a while."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._board.unsubscribe(self._session_id, self._queue)

    async def _events(self) -> AsyncIterator[bytes]:
        yield b"retry: 1000\n: open\n\n"
        while True:
            try:
                event = await asyncio.wait_for(self._queue.get(), self._heartbeat)
            except TimeoutError:
                event = b": still here\n\n"
            if event is None:
                return
            yield event


def _cost(answer: StoredAnswer) -> int:
    return len(answer.session_id) + len(answer.value) + ENTRY_OVERHEAD_BYTES


def _event(answer: StoredAnswer) -> bytes | None:
    """Write one event; decoded and encoded again, so that a foreign record with line breaks cannot forge
    events.
    """
    try:
        body = encode_recommendation(decode_recommendation(answer.value))
    except ValueError:
        return None
    return b"id: %d-%d\nevent: recommendation\ndata: %s\n\n" % (answer.partition, answer.offset, body)
