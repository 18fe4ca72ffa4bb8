"""The one way in which questions are put to an LLM: what is known is not asked again, each answer is kept the
moment it is there, and what failed is left for a later run.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import NamedTuple

from model.intent.ask.answers import Answer, Asker


class Question(NamedTuple):
    """A prefix that an LLM is asked about.

    Attributes
    ----------
    key : str
        Its content key.
    items : tuple of str
        The items that the prompt shows, oldest first.
    titles : tuple of str
        Their titles as ``TitleCutter`` gives them.
    """

    key: str
    items: tuple[str, ...]
    titles: tuple[str, ...]


class Unanswered(NamedTuple):
    """A question without an answer, and why."""

    question: Question
    reason: str


def missing(questions: Iterable[Question], known: Container[str]) -> list[Question]:
    """Return the questions that no earlier run has the answer to, each content once, in order."""
    return list({question.key: question for question in questions if question.key not in known}.values())


def ask_missing(
    asker: Callable[[], Asker],
    questions: Iterable[Question],
    known: Container[str],
    keep: Callable[[Question, Answer], None],
) -> list[Unanswered]:
    """Ask what is not known.

    Parameters
    ----------
    asker : callable
        Gives the LLM; called only when there is something to ask, because a local one takes seconds to load.
    questions : iterable of Question
        Equal contents are asked once.
    known : container of str
        Content keys that have an answer.
    keep : callable
        Stores an answer; called at once for each, so that a killed run loses none.

    Returns
    -------
    list of Unanswered
        They have no answer and are asked again by a later run.
    """
    asked = missing(questions, known)
    if not asked:
        return []
    failures = asker().ask(
        [list(question.titles) for question in asked], lambda place, answer: keep(asked[place], answer)
    )
    return [Unanswered(asked[failure.place], failure.reason) for failure in failures]
