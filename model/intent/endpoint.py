"""Answers from any OpenAI-compatible server. A call that fails stays failed until the next run; it never becomes an empty answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tenacity.wait import wait_base

from feature_repo.contract.addresses import AddressError
from feature_repo.contract.settings import Settings
from model.intent.chat import clean_answer
from model.intent.connection import Connection
from model.intent.llm import Answer
from model.intent.prompts import template

RETRIED_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT_SECONDS: Final = 20.0  # between attempts, whatever Retry-After asks for
LONGEST_BODY_BYTES: Final = 1_000_000  # an answer of one line has 200; more is not read
LONGEST_ANSWER_CHARACTERS: Final = 2_000  # a server that ignores max_tokens is told apart from an answer
FAILURES_UNTIL_DOWN: Final = 6  # sessions in a row without one success; the rest of the batch then fails at once instead of waiting
CHARACTERS_PER_TOKEN: Final = 4.0  # for servers that count no tokens

logger = logging.getLogger("intentstore.intents")


class EndpointError(RuntimeError):
    """The endpoint is not configured or refused for good; the text names the setting and the remedy."""


class _TransientError(RuntimeError):
    """A failure that a later attempt may not see."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class EndpointLlm:
    """Asks an OpenAI-compatible server about prefixes, several at a time.

    Parameters
    ----------
    settings : Settings
        ``endpoint``, ``intents``, ``llm.max_new_tokens``.
    wait_scale : float
        Multiplies the waits between attempts; tests make it small.

    Raises
    ------
    EndpointError
        If there is no ``endpoint.url``.
    """

    name = "endpoint"

    def __init__(self, settings: Settings, *, wait_scale: float = 1.0) -> None:
        if not settings.endpoint.url:
            raise EndpointError("endpoint.url is not set; give the server's address, e.g. with INTENTSTORE_ENDPOINT__URL")
        self._settings = settings.endpoint
        self._template = template(settings.intents.prompt_version)
        self._max_new_tokens = settings.llm.max_new_tokens
        try:
            self._connection = Connection.of(settings.endpoint)
        except AddressError as error:
            raise EndpointError(f"endpoint.url: {error}") from None
        self._wait = _Wait(wait_scale)
        self._pace = _Pace(settings.endpoint.requests_per_minute)
        self.requests = 0
        self._failed_in_a_row = 0

    def answer(self, prefixes: Sequence[Sequence[str]], done: Callable[[int, Answer], None] | None = None) -> list[tuple[int, str]]:
        """Ask about both views of prefixes, each by its prompt, or both by one neutral prompt.

        Parameters
        ----------
        prefixes : sequence of sequences of str
            Titles as ``TitleCutter`` gives them, oldest first.
        done : callable, optional
            Called in this thread with place and answer as soon as both views of a prefix are there.

        Returns
        -------
        list of (place, reason)
            The prefixes that failed in every attempt; they are to be asked again by a later run.
        """
        failures: list[tuple[int, str]] = []
        with (
            self._client() as client,
            ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="endpoint") as pool,
        ):
            calls = {pool.submit(self._both, client, titles): place for place, titles in enumerate(prefixes)}
            for call in as_completed(calls):
                try:
                    answer = call.result()
                except (EndpointError, _TransientError, httpx.HTTPError) as error:
                    failures.append((calls[call], self._connection.reason(error)))
                    self._failed_in_a_row += 1
                    continue
                self._failed_in_a_row = 0
                if done is not None:
                    done(calls[call], answer)
        return sorted(failures)

    def _client(self) -> httpx.Client:
        try:
            return self._connection.client(self._settings.timeout_seconds, self._settings.concurrency)
        except AddressError as error:
            raise EndpointError(f"endpoint.url: {error}") from None

    def _both(self, client: httpx.Client, titles: Sequence[str]) -> Answer:
        if self._failed_in_a_row >= FAILURES_UNTIL_DOWN:
            raise EndpointError(
                f"not asked: {self._failed_in_a_row} sessions before it failed in a row; check the server at endpoint.url, then run intents again"
            )
        started = time.monotonic()
        texts, used = [], [0, 0]
        for view in self._template.asked:
            text, tokens = self._ask(client, self._template.user_text(titles, view))
            texts.append(text)
            used = [used[0] + tokens[0], used[1] + tokens[1]]
        return Answer(texts[0], texts[-1], used[0], used[1], time.monotonic() - started)

    def _ask(self, client: httpx.Client, user: str) -> tuple[str, tuple[int, int]]:
        attempts = Retrying(
            stop=stop_after_attempt(self._settings.attempts), wait=self._wait, reraise=True,
            retry=retry_if_exception_type((_TransientError, httpx.TransportError)),
        )  # fmt: skip
        return attempts(self._once, client, user)

    def _once(self, client: httpx.Client, user: str) -> tuple[str, tuple[int, int]]:
        self._pace.wait()
        self.requests += 1
        system = self._template.system
        messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": user}]
        body = {
            "model": self._settings.model or "default", "temperature": 0, "max_tokens": self._max_new_tokens, "stream": False, "messages": messages,
        }  # fmt: skip
        deadline = time.monotonic() + self._settings.timeout_seconds
        with client.stream("POST", self._connection.url, json=body) as response:
            status = response.status_code
            raw = bytearray()
            for piece in response.iter_bytes():
                raw += piece
                if len(raw) > LONGEST_BODY_BYTES:
                    raise EndpointError(f"the endpoint sent more than {LONGEST_BODY_BYTES:,} bytes for one line; check endpoint.model and the server's limits")
                if time.monotonic() > deadline:
                    raise _TransientError(f"the endpoint's answer took more than {self._settings.timeout_seconds:g} s")
        if status in RETRIED_STATUS:
            raise _TransientError(f"the endpoint answered status {status}", _retry_after(response))
        if status != httpx.codes.OK:
            said = bytes(raw[:200]).decode("utf-8", "replace")
            raise EndpointError(f"the endpoint refused with status {status} ({said!r}); check endpoint.url, endpoint.model and endpoint.api_key")
        return self._read(bytes(raw), user)

    def _read(self, raw: bytes, user: str) -> tuple[str, tuple[int, int]]:
        try:
            content = httpx.Response(200, content=raw).json()
            text = content["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise _TransientError(f"the endpoint's answer is no chat completion: {raw[:120]!r}") from None
        answer = clean_answer(text) if isinstance(text, str) else ""
        if not answer:
            raise _TransientError("the endpoint's answer is empty")
        if len(text) > LONGEST_ANSWER_CHARACTERS:
            logger.warning("the endpoint answered %d characters where %d tokens were asked for; only the first line is kept", len(text), self._max_new_tokens)
        usage: dict[str, Any] = content.get("usage") or {}
        asked = usage.get("prompt_tokens", int((len(user) + len(self._template.system)) / CHARACTERS_PER_TOKEN))
        given = usage.get("completion_tokens", int(len(text) / CHARACTERS_PER_TOKEN))
        return answer, (int(asked), int(given))


class _Wait(wait_base):
    """Exponential backoff with jitter, or what Retry-After asks for where that is longer."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._backoff = wait_exponential_jitter(initial=0.5, max=LONGEST_WAIT_SECONDS)

    def __call__(self, retry_state: Any) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = min(LONGEST_WAIT_SECONDS, getattr(error, "retry_after", 0.0))
        return self._scale * max(asked, float(self._backoff(retry_state)))


class _Pace:
    """Spaces requests evenly, over all threads."""

    def __init__(self, per_minute: float | None) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until this thread's turn."""
        if not self._gap:
            return
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._gap
        pause = turn - time.monotonic()
        if pause > 0:
            threading.Event().wait(pause)


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
