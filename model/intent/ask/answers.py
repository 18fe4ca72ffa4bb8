"""What an LLM says about prefixes, what it fails at, and the one way in which it is asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings

from model.intent.answer.reading import CUT, EMPTY, FAILURES, NAME, REFUSAL, UNFINISHED
from model.intent.answer.reasoning import whole

_REMEDIES = {
    CUT: "; raise llm.max_new_tokens",
    UNFINISHED: "; raise llm.max_new_tokens",
    REFUSAL: "; another llm.model may answer",
}


@dataclass(frozen=True)
class Answer:
    """What the LLM said about one prefix.

    Attributes
    ----------
    long_text, short_text : str
        One line each; empty when the model said nothing, equal where the prompt is neutral.
    input_tokens, output_tokens : int
        Of all prompts of the prefix.
    seconds : float
        Wall time from the start of the batch to this answer, over the answers of the batch.
    long_kind, short_kind : str
        What the answers were, see ``model.intent.answer.reading``.
    """

    long_text: str
    short_text: str
    input_tokens: int
    output_tokens: int
    seconds: float
    long_kind: str = NAME
    short_kind: str = NAME

    def __post_init__(self) -> None:
        """Keep text alone: whatever gives answers, files and tables can hold them."""
        object.__setattr__(self, "long_text", whole(self.long_text))
        object.__setattr__(self, "short_text", whole(self.short_text))

    @property
    def failure(self) -> str:
        """Why this is no answer; empty where both views have one. What is none is never kept, and asked again
        by a later run.
        """
        kinds = {self.long_kind, self.short_kind} & FAILURES or (
            {EMPTY} if not (self.long_text and self.short_text) else set()
        )
        return (
            f"the model's answer is no name but {' and '.join(sorted(kinds))}{_REMEDIES.get(min(kinds), '')}"
            if kinds
            else ""
        )


class Failure(NamedTuple):
    """A prefix without an answer.

    Attributes
    ----------
    place : int
        Its place among the prefixes asked about.
    reason : str
        Why, in one line without secrets.
    """

    place: int
    reason: str


class FailureKind(NamedTuple):
    """Failures with the same cause.

    Attributes
    ----------
    kind : str
        What their reasons have in common.
    number : int
        How many there are.
    first : str
        The whole reason of the first.
    """

    kind: str
    number: int
    first: str


class Identity(NamedTuple):
    """Which model answers, and how: keys of kept answers change with it."""

    model: str
    decoding: str


class Asker(Protocol):
    """An LLM that is asked about prefixes: one word of ``intents.source``.

    A class of the module of this package that has that word as its name; made with the settings and the
    catalogue's known titles.
    """

    name: ClassVar[str]  # of the source

    @staticmethod
    def identity(settings: Settings) -> Identity:
        """Return what the answers depend on, read without loading the model."""

    def ask(self, prefixes: Sequence[Sequence[str]], keep: Callable[[int, Answer], None]) -> list[Failure]:
        """Hand the answer to every prefix (titles, oldest first) to ``keep`` with its place at once, and
        return the prefixes without one.
        """


def failure_kind(reason: str) -> str:
    """Return what a reason has in common with others of its kind: no quotes of one answer, no remedy.

    Examples
    --------
    >>> failure_kind("the endpoint refused with status 401 (no such key); set endpoint.api_key")
    'the endpoint refused with status 401'
    """
    return re.split(r" \(|: |; ", reason, maxsplit=1)[0]


def by_kind(reasons: Iterable[str]) -> list[FailureKind]:
    """Group reasons by kind, most frequent first.

    Examples
    --------
    >>> [tuple(found) for found in by_kind(["busy: 1", "down", "busy: 2"])]
    [('busy', 2, 'busy: 1'), ('down', 1, 'down')]
    """
    listed = list(reasons)
    first: dict[str, str] = {}
    for reason in listed:
        first.setdefault(failure_kind(reason), reason)
    counts = Counter(map(failure_kind, listed))
    return [FailureKind(kind, count, first[kind]) for kind, count in counts.most_common()]


def failure_kinds(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons by kind, most frequent first."""
    return {found.kind: found.number for found in by_kind(reasons)}
