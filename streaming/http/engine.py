"""Answers questions about sessions: read live features, take the asked item as the next click, infer intents,
score. Records nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from feature_repo.contract.messages import RecommendedItem, format_time
from feature_repo.contract.session import FoldClick, FoldConfig, SessionState, apply
from model.recommender.limits import NO_LIMITS, Limits, LimitsError
from streaming.http.wire.errors import ApiError

if TYPE_CHECKING:
    from model.intent.types import SessionIntent, ViewIntent
    from model.recommender.loaded_model import LoadedModel

RowStatus = Literal["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"]
PRESENT: RowStatus = "PRESENT"
NOT_FOUND: RowStatus = "NOT_FOUND"
OUTSIDE_MAX_AGE: RowStatus = "OUTSIDE_MAX_AGE"


class SessionRow(msgspec.Struct, frozen=True):
    """What the online store says of one session; times in microseconds UTC, 0 where nothing is stored."""

    status: RowStatus
    event_time_us: int = 0
    created_us: int = 0
    features: dict[str, Any] | None = None


class RowReader(Protocol):
    """Reads live features, one row a session id, in order."""

    def read_rows(self, session_ids: Sequence[str]) -> list[SessionRow]:
        """Read all in one round trip; raises ``OSError`` or the client's error when the store does not
        answer.
        """


class Ask(NamedTuple):
    """One question.

    Attributes
    ----------
    session_id : str or None
        Session whose live features are read; None = ``items`` are the whole session.
    items : tuple of str
        With a session id: the item taken as the next click (none or one). Without: the session, oldest first.
    k : int
        How many items are wanted; 0 = only the features.
    at_us : int or None
        Event time of the item taken as next click; None = the session goes on.
    limits : Limits
        What may be shown.
    """

    session_id: str | None
    items: tuple[str, ...]
    k: int
    at_us: int | None = None
    limits: Limits = NO_LIMITS


class IntentAnswer(msgspec.Struct, frozen=True):
    """One view's intent as it is sent."""

    text: str
    items: Sequence[str]
    cosines: Sequence[float]


class IntentsAnswer(msgspec.Struct, frozen=True):
    """Both views and their source."""

    long: IntentAnswer
    short: IntentAnswer
    source: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of both recommend routes.

    ``scored`` is the session that was scored, oldest first; ``status`` and ``event_time`` are those of the
    live features.
    """

    items: list[RecommendedItem]
    intents: IntentsAnswer
    model_version: str
    scored: list[str]
    session_id: str | None = None
    status: RowStatus | None = None
    event_time: str | None = None


class Outcome(NamedTuple):
    """What one question came to."""

    row: SessionRow | None
    answer: Answer | None


class _Question(NamedTuple):
    """What is scored for one ask."""

    session: list[str]
    k: int
    limits: Limits


_NO_VIEW = IntentAnswer("", (), ())
_NO_INTENTS = IntentsAnswer(_NO_VIEW, _NO_VIEW, "none")


class Engine:
    """Answers batches of questions with one read of the online store and one call of the model.

    Parameters
    ----------
    rows : RowReader or None
        The online store; None = session ids are answered with an error.
    model : callable
        Gives the model in use, or None.
    config : FoldConfig
        The fold's rules, the same as the consumer's.
    on_stage : callable, optional
        Called with ``read`` or ``score`` and the seconds that this stage of a batch took.
    """

    def __init__(
        self,
        rows: RowReader | None,
        model: Callable[[], LoadedModel | None],
        config: FoldConfig,
        on_stage: Callable[[str, float], object] = lambda stage, seconds: None,
    ) -> None:
        self._rows, self._model, self._config, self._on_stage = rows, model, config, on_stage

    def __call__(self, asks: list[Ask]) -> list[Outcome | Exception]:
        """Answer a batch; see ``Batcher``."""
        started = time.perf_counter()
        rows = self._read(asks)
        read = time.perf_counter()
        self._on_stage("read", read - started)
        outcomes: list[Outcome | Exception] = [
            row if isinstance(row, ApiError) else Outcome(row, None) for row in rows
        ]
        wanted = [at for at, ask in enumerate(asks) if ask.k and not isinstance(rows[at], ApiError)]
        if not wanted:
            return outcomes
        model = self._model()
        if model is None:
            refused = ApiError(
                503, "no_model", "no model is loaded; train and promote one, /readyz says when it is there"
            )
            return [refused if ask.k else outcomes[at] for at, ask in enumerate(asks)]
        questions = [self._question(asks[at], rows[at]) for at in wanted]
        for at, answer in zip(wanted, self._answers(model, questions), strict=True):
            row = rows[at]
            if isinstance(answer, ApiError):
                outcomes[at] = answer
                continue
            if isinstance(row, SessionRow):
                event_time = format_time(row.event_time_us) if row.event_time_us else None
                answer = msgspec.structs.replace(
                    answer, session_id=asks[at].session_id, status=row.status, event_time=event_time
                )
            outcomes[at] = Outcome(row if isinstance(row, SessionRow) else None, answer)
        self._on_stage("score", time.perf_counter() - read)
        return outcomes

    def _read(self, asks: list[Ask]) -> list[SessionRow | ApiError | None]:
        """Read the sessions of a batch; a store that fails fails only those who asked for a session."""
        places = [at for at, ask in enumerate(asks) if ask.session_id is not None]
        result: list[SessionRow | ApiError | None] = [None] * len(asks)
        if not places:
            return result
        names = [str(asks[at].session_id) for at in places]
        try:
            if self._rows is None:
                raise ConnectionError("none is set")
            found: Sequence[SessionRow | ApiError] = self._rows.read_rows(names)
        except ValueError as error:
            # one value that cannot be read, such as one of another schema, must not fail the others
            if len(asks) > 1:
                return [self._read([ask])[0] for ask in asks]
            found = [ApiError(503, "features_unreadable", str(error)[:400])]
        except Exception as error:  # noqa: BLE001
            # the client library's errors share no class; each becomes the same clear answer
            text = f"the online store does not answer: {str(error)[:400]}"
            found = [ApiError(503, "online_store_unavailable", text, {"retry-after": "1"})] * len(names)
        for at, row in zip(places, found, strict=True):
            result[at] = row
        return result

    def _scored_session(self, ask: Ask, row: SessionRow | ApiError | None) -> list[str]:
        if not isinstance(row, SessionRow) or row.features is None or row.status != PRESENT:
            return list(ask.items[-self._config.max_items :])
        if not ask.items:
            return list(row.features["items"])
        return as_if_clicked(row, ask.items[-1], ask.at_us, self._config)

    def _question(self, ask: Ask, row: SessionRow | ApiError | None) -> _Question:
        session = self._scored_session(ask, row)
        ended = row.features.get("ended_items") if isinstance(row, SessionRow) and row.features else None
        return _Question(session, ask.k, ask.limits.without(ended or ()))

    def _answers(self, model: LoadedModel, questions: list[_Question]) -> list[Answer | ApiError]:
        """Score all that can be in one call; rules that cannot be kept fail only those who asked for them."""
        answers: dict[int, Answer | ApiError] = {}
        together = []
        for at, question in enumerate(questions):
            try:
                if question.limits.chooses:  # what they choose depends on their own k
                    answers[at] = self._score(model, [question])[0]
                    continue
                if question.limits is not NO_LIMITS:
                    model.shelf().allowed(question.limits)
                together.append(at)
            except LimitsError as error:
                answers[at] = ApiError(400, error.reason, str(error))
        if together:
            scored = self._score(model, [questions[at] for at in together])
            answers |= dict(zip(together, scored, strict=True))
        return [answers[at] for at in range(len(questions))]

    def _score(self, model: LoadedModel, questions: list[_Question]) -> list[Answer]:
        answers = []
        most = max(question.k for question in questions)
        found = model.recommend([one.session for one in questions], most, [one.limits for one in questions])
        for (session, k, _), (scored, intent) in zip(questions, found, strict=True):
            ranked = zip(scored.items[:k], scored.scores[:k], scored.reasons[:k], strict=True)
            items = [RecommendedItem(item, value, reason) for item, value, reason in ranked]
            shown = _NO_INTENTS if intent is None else intents_answer(intent)
            answers.append(Answer(items, shown, model.version, session))
        return answers


def as_if_clicked(row: SessionRow, item_id: str, at_us: int | None, config: FoldConfig) -> list[str]:
    """Give the session as it would be after one more click, by the very fold that batch and stream use.

    Parameters
    ----------
    row : SessionRow
        Live features, present.
    item_id : str
        The item taken as clicked next.
    at_us : int or None
        Event time of that click, microseconds UTC; None or a time before the newest click = the time of the
        newest click.
    config : FoldConfig
        Gap and bound.

    Returns
    -------
    list of str
        Item ids, oldest first, at most ``config.max_items``; only the new item when the gap rule starts a new
        session.

    Examples
    --------
    >>> row = SessionRow("PRESENT", 1_000_000, 1, {"items": ["a", "b"], "click_count": 2})
    >>> (
    ...     as_if_clicked(row, "c", None, FoldConfig(gap_us=10, max_items=2)),
    ...     as_if_clicked(row, "c", 2_000_000, FoldConfig(gap_us=10)),
    ... )
    (['b', 'c'], ['c'])
    """
    features = row.features or {}
    newest = row.event_time_us
    items = tuple(features["items"])
    # The times of the single clicks are not kept online; for a click that is the newest one they make no
    # difference.
    state = SessionState(
        items, (newest,) * len(items), (), int(features["click_count"]), newest, 0, newest, 0
    )
    time_us = newest if at_us is None else max(at_us, newest)
    return list(apply(state, FoldClick("", item_id, time_us, time_us), config).items)


def intents_answer(intent: SessionIntent) -> IntentsAnswer:
    """Turn the model's intents into what is sent."""
    return IntentsAnswer(_view(intent.long), _view(intent.short), intent.source)


def _view(view: ViewIntent) -> IntentAnswer:
    return IntentAnswer(view.text, view.items, [float(cosine) for cosine in view.cosines])
