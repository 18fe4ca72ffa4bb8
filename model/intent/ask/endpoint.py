"""Answers from any OpenAI-compatible server. A call that fails stays failed until the next run; it never
becomes an empty answer.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final, NamedTuple

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from feature_repo.contract.addresses import AddressError
from feature_repo.contract.settings import EndpointSettings, Settings
from model.intent.answer.reading import ANY_TITLE, CUT, EMPTY, REFUSAL, UNFINISHED, Reading, read
from model.intent.ask import remedies
from model.intent.ask.answers import Answer, Failure, Identity
from model.intent.ask.completion import (
    Completion,
    NoCompletionError,
    completion_of,
    retry_after,
    said,
    shortened,
)
from model.intent.ask.connection import Connection
from model.intent.ask.llm import token_bound
from model.intent.ask.pace import Pace, Wait
from model.intent.ground.known_titles import KnownTitles
from model.intent.llm.weights import ModelMissingError
from model.intent.prompts import template

RETRIED_STATUS: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
LONGEST_BODY_BYTES: Final = 1_000_000  # an answer of one line has 200; more is not read
LONGEST_ANSWER_CHARACTERS: Final = 2_000  # a server that ignores max_tokens is told apart from an answer
# sessions in a row without one success; the rest of the batch then fails at once instead of waiting
FAILURES_UNTIL_DOWN: Final = 6
CHARACTERS_PER_TOKEN: Final = 4.0  # for servers that count no tokens
STRUCTURE_TOKENS: Final = 12  # of the JSON around a name
BAD_REQUEST: Final = frozenset({400, 422})
_SCHEMA: Final = {
    "type": "object",
    "properties": {"item": {"type": "string"}},
    "required": ["item"],
    "additionalProperties": False,
}
_STRUCTURE: Final = {
    "type": "json_schema",
    "json_schema": {"name": "item", "strict": True, "schema": _SCHEMA},
}

log = logging.getLogger("intentstore.intents")


class EndpointError(RuntimeError):
    """The endpoint is not configured or refused for good; the text names the setting and the remedy."""


class _TransientError(RuntimeError):
    """A failure that a later attempt may not see."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class _UnusableError(RuntimeError):
    """An answer that names no item; the server is up, and asking again would bring the same."""


class _Response(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes


class _Form:
    """The fields of a request that some servers refuse: what is sent now, and what else there is to try. One
    for all threads.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self._free = settings.token_limit_field is None
        self._lock = threading.Lock()
        structured = (remedies.STRUCTURE,) * (settings.structured_output == "auto")
        self.fields: tuple[str, ...] = (
            settings.token_limit_field or remedies.TOKEN_FIELDS[0],
            "temperature",
            *structured,
        )

    def body(self, fields: tuple[str, ...], bound: int) -> dict[str, Any]:
        """Return the fields with their values."""
        values: dict[str, Any] = {"temperature": 0, remedies.STRUCTURE: _STRUCTURE}
        return {field: values.get(field, bound) for field in fields}

    def without(self, words: str, sent: tuple[str, ...]) -> bool:
        """Change what is sent by what a server said to it; true when the request is worth another try."""
        with self._lock:
            if sent != self.fields:
                return True
            field = remedies.refused_field(words, sent)
            if not field or (
                field == sent[0] and field not in ("temperature", remedies.STRUCTURE) and not self._free
            ):
                return False
            other = remedies.TOKEN_FIELDS[1:] if field == remedies.TOKEN_FIELDS[0] else ()
            log.info(
                "the endpoint takes no '%s'; %s",
                field,
                f"'{other[0]}' is sent instead" if other else "it is left out",
            )
            self.fields = (*other, *(one for one in sent if one != field))
            return True


class EndpointLlm:
    """Asks an OpenAI-compatible server about prefixes, several at a time.

    Parameters
    ----------
    settings : Settings
        ``endpoint``, ``intents``, ``llm.max_new_tokens``.
    titles : KnownTitles
        Of the catalogue: how long an answer may be, and which of several lines is one; none = told by form
        alone.
    wait_scale : float
        Multiplies the waits between attempts; tests make it small.

    Raises
    ------
    EndpointError
        If there is no ``endpoint.url``.
    """

    name = "endpoint"

    @staticmethod
    def identity(settings: Settings) -> Identity:
        """Return which model answers, and how; raises ``ModelMissingError`` where no server is named.

        What changes an endpoint's answers besides is named after the titles; nothing by default, so that keys
        stay. Bounds change no answer that is whole.
        """
        server = settings.endpoint
        if not server.url:
            raise ModelMissingError(
                "intents.source is 'endpoint', but endpoint.url is not set; give the server's address, "
                "e.g. with INTENTSTORE_ENDPOINT__URL"
            )
        further = ["JSON"] if server.structured_output == "auto" else []
        if server.extra_body:
            further.append(json.dumps(server.extra_body, sort_keys=True, default=str))
        tokens, titles = settings.llm.max_new_tokens, settings.intents.max_title_tokens
        decoding = ", ".join([f"temperature 0, {tokens} tokens, titles {titles}", *further])
        return Identity(server.model or "default", decoding)

    def __init__(
        self, settings: Settings, titles: KnownTitles = ANY_TITLE, *, wait_scale: float = 1.0
    ) -> None:
        if not settings.endpoint.url:
            raise EndpointError(
                "endpoint.url is not set; give the server's address, e.g. with INTENTSTORE_ENDPOINT__URL"
            )
        self._settings = settings.endpoint
        self._template = template(settings.intents.prompt_version)
        self._titles = titles
        self._form = _Form(settings.endpoint)
        self._bound = token_bound(settings, titles)
        try:
            self._connection = Connection.of(settings.endpoint)
        except AddressError as error:
            raise EndpointError(f"endpoint.url: {error}") from None
        self._wait = Wait(wait_scale)
        self._pace = Pace(settings.endpoint.requests_per_minute)
        self.requests = 0
        self._failed_in_a_row = 0

    def answer(
        self, prefixes: Sequence[Sequence[str]], done: Callable[[int, Answer], None] | None = None
    ) -> list[Failure]:
        """Ask about both views of prefixes, each by its prompt, or both by one neutral prompt.

        Parameters
        ----------
        prefixes : sequence of sequences of str
            Titles as ``TitleCutter`` gives them, oldest first.
        done : callable, optional
            Called in this thread with place and answer as soon as both views of a prefix are there.

        Returns
        -------
        list of Failure
            The prefixes that failed in every attempt; they are to be asked again by a later run.
        """
        failures: list[Failure] = []
        with (
            self._client() as client,
            ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="endpoint") as pool,
        ):
            calls = {pool.submit(self._both, client, titles): place for place, titles in enumerate(prefixes)}
            for call in as_completed(calls):
                try:
                    answer = call.result()
                except _UnusableError as error:  # the server is up, so it counts for nothing else
                    reason = self._connection.without_secrets(str(error))
                    failures.append(Failure(calls[call], reason))
                    self._failed_in_a_row = 0
                    continue
                except (EndpointError, _TransientError, httpx.HTTPError) as error:
                    reason = self._connection.reason(error)
                    failures.append(Failure(calls[call], reason))
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

    def ask(self, prefixes: Sequence[Sequence[str]], keep: Callable[[int, Answer], None]) -> list[Failure]:
        """Ask as every ``Asker`` does; see ``answer``."""
        return self.answer(prefixes, keep)

    def _both(self, client: httpx.Client, titles: Sequence[str]) -> Answer:
        if self._failed_in_a_row >= FAILURES_UNTIL_DOWN:
            raise EndpointError(
                f"not asked: {self._failed_in_a_row} sessions before it failed in a row; check the server "
                "at endpoint.url, then run intents again"
            )
        started = time.monotonic()
        readings, used = [], [0, 0]
        for view in self._template.asked:
            reading, tokens = self._ask(client, self._template.user_text(titles, view))
            readings.append(reading)
            used = [used[0] + tokens[0], used[1] + tokens[1]]
        seconds, (long, short) = time.monotonic() - started, (readings[0], readings[-1])
        return Answer(long.text, short.text, used[0], used[1], seconds, long.kind, short.kind)

    def _ask(self, client: httpx.Client, user: str) -> tuple[Reading, tuple[int, int]]:
        attempts = Retrying(
            stop=stop_after_attempt(self._settings.attempts),
            wait=self._wait,
            reraise=True,
            retry=retry_if_exception_type((_TransientError, httpx.TransportError)),
        )
        return attempts(self._once, client, user)

    def _once(self, client: httpx.Client, user: str) -> tuple[Reading, tuple[int, int]]:
        system = self._template.system
        messages = [{"role": "system", "content": system}] * bool(system) + [
            {"role": "user", "content": user}
        ]
        fixed = {"model": self._settings.model or "default", "stream": False, "messages": messages}
        while True:
            fields = self._form.fields
            bound = self._bound + STRUCTURE_TOKENS * (remedies.STRUCTURE in fields)
            status, headers, raw = self._post(
                client, {**fixed, **self._form.body(fields, bound), **self._settings.extra_body}
            )
            if status not in BAD_REQUEST or not self._form.without(said(raw), fields):
                break
        if status == httpx.codes.OK:
            return self._read(raw, user)
        words = self._connection.without_secrets(said(raw))
        line = f"status {status}{f' ({words})' if words else ''}; {remedies.remedy(status, words)}"
        if status in RETRIED_STATUS:
            raise _TransientError(f"the endpoint answered {line}", retry_after(headers))
        raise EndpointError(f"the endpoint refused with {line}")

    def _post(self, client: httpx.Client, body: dict[str, Any]) -> _Response:
        self._pace.wait()
        self.requests += 1
        deadline = time.monotonic() + self._settings.timeout_seconds
        raw = bytearray()
        with client.stream("POST", self._connection.url, json=body) as response:
            for piece in response.iter_bytes():
                raw += piece
                if len(raw) > LONGEST_BODY_BYTES:
                    raise EndpointError(
                        f"the endpoint sent more than {LONGEST_BODY_BYTES:,} bytes for one line; check "
                        "endpoint.model and the server's limits"
                    )
                if time.monotonic() > deadline:
                    raise _TransientError(
                        f"the endpoint's answer took more than {self._settings.timeout_seconds:g} s; raise "
                        "endpoint.timeout_seconds"
                    )
        return _Response(response.status_code, response.headers, bytes(raw))

    def _read(self, raw: bytes, user: str) -> tuple[Reading, tuple[int, int]]:
        try:
            completion = completion_of(raw)
        except NoCompletionError as error:
            raise _TransientError(
                f"the endpoint's answer is {self._connection.without_secrets(str(error))}"
            ) from None
        reading = read(completion.text, self._titles, cut=completion.cut)
        if completion.refused or reading.failed:
            self._refuse(completion, REFUSAL if completion.refused else reading.kind)
        if len(completion.text) > LONGEST_ANSWER_CHARACTERS:
            log.warning(
                "the endpoint answered %d characters where %d tokens were asked for",
                len(completion.text),
                self._bound,
            )
        asked, given = completion.input_tokens, completion.output_tokens
        if asked is None:
            asked = int((len(user) + len(self._template.system)) / CHARACTERS_PER_TOKEN)
        return reading, (asked, int(len(completion.text) / CHARACTERS_PER_TOKEN) if given is None else given)

    def _refuse(self, completion: Completion, kind: str) -> None:
        """Raise what an answer without a name is; only an empty one may be another one the next time."""
        shown = f" ({shortened(completion.text, 120)})" if completion.text.strip() else ""
        if kind == UNFINISHED or (kind in (EMPTY, CUT) and completion.cut):
            bound = f"cut by the bound of {self._bound} tokens{shown}; raise endpoint.max_tokens"
            if kind == UNFINISHED or completion.reasoned:
                raise _UnusableError(
                    f"the endpoint's answer is reasoning that was {bound}, or turn reasoning off by "
                    "endpoint.extra_body"
                )
            raise _UnusableError(f"the endpoint's answer is {bound}")
        if kind == REFUSAL:
            raise _UnusableError(
                f"the endpoint's answer is a refusal{shown}; another endpoint.model may answer"
            )
        raise _TransientError(f"the endpoint's answer is empty{shown}")
