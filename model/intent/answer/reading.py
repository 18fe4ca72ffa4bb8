"""Reads a language model's answer for what it is: the name of an item, however wrapped, or no answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from model.intent.answer import phrases
from model.intent.answer.reasoning import shows_reasoning, without_reasoning
from model.intent.ask import structured
from model.intent.ground.known_titles import LEAST_OVERLAP, KnownTitles

LONGEST_NAME: Final = 500  # characters
LONGEST_LINE: Final = 1_000  # characters of which a line is told by
MOST_LINES: Final = 200  # of an answer; what stands behind is a model that does not stop
NAME, QUOTED, LISTED, LABELLED, SENTENCE, JSON, REASONED = (
    "name",
    "quoted",
    "listed",
    "labelled",
    "sentence",
    "json",
    "reasoned",
)
EMPTY, REFUSAL, UNFINISHED, CUT = "empty", "refusal", "reasoning without end", "cut"
FAILURES: Final = frozenset({EMPTY, REFUSAL, UNFINISHED, CUT})
ANY_TITLE: Final = KnownTitles()


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer is.

    Attributes
    ----------
    text : str
        The name that it gives, one line; empty where it gives none.
    kind : str
        ``name``, ``quoted``, ``listed``, ``labelled``, ``sentence``, ``json`` or ``reasoned``; or ``empty``,
        ``refusal``, ``reasoning without end``, ``cut``.
    """

    text: str
    kind: str

    @property
    def failed(self) -> bool:
        """Whether there is no name."""
        return self.kind in FAILURES


def read(raw: str | None, titles: KnownTitles = ANY_TITLE, *, cut: bool = False) -> Reading:
    r"""Read an answer.

    Thinking and special tokens are taken off; JSON gives its field; of several lines the one that is labelled
    as the answer, or is a title of the catalogue, or names one best, else the first that is neither preamble
    nor refusal.

    Parameters
    ----------
    raw : str, optional
        As the model gave it.
    titles : KnownTitles
        Of the catalogue; none = lines are told apart by their form alone.
    cut : bool
        Whether the model was stopped by its token bound.

    Returns
    -------
    Reading
        Reading its text again gives the same text.

    Examples
    --------
    >>> read("<think>Sharks ...</think>\n\nJaws"), read('{"item": "Jaws"}').text
    (Reading(text='Jaws', kind='reasoned'), 'Jaws')
    >>> read("Sure! Here is one item:\n\n1) **Jaws**").text
    'Jaws'
    >>> read("I'm sorry, but I can't guess that."), read("<think>Okay, the user")
    (Reading(text='', kind='refusal'), Reading(text='', kind='reasoning without end'))
    """
    said = without_reasoning(raw or "")
    if said.unfinished:
        return Reading("", UNFINISHED)
    first = found = _once(said.text, titles)
    while not found.failed:
        again = _once(without_reasoning(found.text).text, titles)
        if again.failed:
            first = again
        if again.failed or again.text == found.text:
            break
        found = again
    if first.failed:
        return Reading("", CUT if cut and first.kind == EMPTY else first.kind)
    if (
        cut
        and said.text.rstrip().endswith(found.text)
        and found.text not in titles
        and titles.begins(found.text)
    ):
        return Reading("", CUT)
    return Reading(found.text, REASONED if said.thought else first.kind)


def misread(stored: str, titles: KnownTitles = ANY_TITLE) -> bool:
    """Tell whether a stored answer is none: thinking, a preamble, a refusal, a wrapped name, a title's
    beginning.

    Parameters
    ----------
    stored : str
        The one line that an older version kept.
    titles : KnownTitles
        Of the catalogue; a title is never misread.
    """
    if stored in titles:
        return False
    if stored.rstrip().endswith(("(", "[", " -", ",", "&", "/")) and titles.begins(stored):
        return True
    reading = read(stored, titles)
    return reading.failed or shows_reasoning(stored) or reading.text != stored


def _once(text: str, titles: KnownTitles) -> Reading:
    if not text.strip():
        return Reading("", EMPTY)
    if "\n" not in text and text in titles:
        return Reading(text.strip()[:LONGEST_NAME].strip(), NAME)
    return _structured(text, titles) or _of_lines(text, titles)


def _structured(text: str, titles: KnownTitles) -> Reading | None:
    """Read JSON, in a fence, behind a preamble or bare; none where the answer is no JSON."""
    inner = structured.unfenced(text)
    found = structured.names_in(inner)
    if found is None:
        return _of_lines(inner, titles) if inner and inner != text.strip() else None
    if not found.names:
        return Reading("", CUT if found.cut else REFUSAL if found.error else EMPTY)
    best = max(found.names, key=titles.score) if len(titles) else found.names[0]
    return Reading(_short(phrases.unwrapped(best)), JSON)


@dataclass(frozen=True, slots=True)
class _Candidate:
    text: str
    kind: str
    rank: int  # how surely its form says that it is the answer: 3 labelled, 2 behind a preamble, 1 any other


def _of_lines(text: str, titles: KnownTitles) -> Reading:
    lines = [line.strip()[:LONGEST_LINE] for line in text.splitlines() if line.strip()][:MOST_LINES]
    lines = [line for line in lines if not re.fullmatch(r"[-=_*|:\s]+|```\w*", line)]
    if not lines:
        return Reading("", EMPTY)
    refused = phrases.refuses(lines[0]) and lines[0] not in titles
    found: list[_Candidate] = []
    for line in lines:
        found += _candidates(line, titles)
    found = [one for one in found if one.text and (one.text in titles or not phrases.names_nothing(one.text))]
    if refused:
        found = [one for one in found if one.rank == 3 or titles.score(one.text) >= 0.95]
    best = _best(found, titles)
    if best is None:
        silent = not refused and all(phrases.names_nothing(line) for line in lines)
        return Reading("", EMPTY if silent or not (refused or any(map(phrases.refuses, lines))) else REFUSAL)
    return Reading(_short(best.text), best.kind)


def _candidates(line: str, titles: KnownTitles) -> Iterator[_Candidate]:
    """Yield what a line may name, the surest form first."""
    if not line:
        return
    if line in titles:
        yield _Candidate(phrases.unwrapped(line), NAME, 1)
        return
    if line.count("|") >= 2 and line.startswith("|"):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        yield from (
            _Candidate(phrases.unwrapped(cell), LISTED, 1) for cell in cells if not phrases.heads_column(cell)
        )
        return
    bare = phrases.unmarked(line)
    kind = LISTED if bare != line else NAME
    if phrases.refuses(bare):
        yield _Candidate(_name_in(phrases.after_refusal(bare), titles), LABELLED, 3)
        return
    label = phrases.labelled(bare)
    if label:
        if not phrases.refuses(label) and not phrases.aside(bare):
            yield _Candidate(_name_in(label, titles), LABELLED, 3)
        return
    if phrases.aside(bare):
        return
    if phrases.opens(bare):
        for one in _candidates(phrases.behind_opener(bare), titles):
            yield _Candidate(one.text, LABELLED, max(2, one.rank))
        for name in phrases.quoted(bare):
            if not name.endswith(":"):
                yield _Candidate(phrases.unwrapped(name), QUOTED, 1)
        return
    name = _name_in(bare, titles)
    wrapped = name != phrases.unwrapped(bare)
    if wrapped and not phrases.quoted(bare):
        kind = SENTENCE
    elif phrases.quoted(bare) or bare != phrases.unwrapped(bare) + "." * bare.endswith("."):
        kind = QUOTED if kind == NAME else kind
    yield _Candidate(name, kind, 1)


def _name_in(line: str, titles: KnownTitles) -> str:
    """Return the name that one line gives, out of its sentence, quotes and reason."""
    plain = phrases.unwrapped(line)
    bare = plain.lstrip("-–—>#. ")
    if plain in titles or bare in titles:
        return plain if plain in titles else bare
    quoted = [phrases.unwrapped(name) for name in phrases.quoted(line)]
    if len(quoted) > 1 and len(titles):
        return max(quoted, key=titles.score)
    if quoted:
        return quoted[0]
    peeled = phrases.unwrapped(phrases.peeled(line))
    if peeled in titles:
        return peeled
    leading = titles.leading(peeled)
    if leading and titles.score(peeled) < 0.95:
        return phrases.unwrapped(leading)
    return (
        phrases.unwrapped(phrases.without_reason(peeled)) if len(peeled) <= phrases.LONGEST_PEELED else peeled
    )


def _best(found: list[_Candidate], titles: KnownTitles) -> _Candidate | None:
    """Choose: a label on a title, a title, a label (the last), what names a title best, the surest form."""
    if not found:
        return None
    if len(found) == 1:
        return found[0]
    scores = [titles.score(one.text) for one in found]
    labels = [place for place, one in enumerate(found) if one.rank == 3]
    exact = [place for place, score in enumerate(scores) if score >= 0.95]
    both = [place for place in labels if place in exact]
    if both or (labels and not exact):
        return found[(both or labels)[-1]]
    if exact:
        return found[exact[0]]
    near = max(range(len(found)), key=lambda place: scores[place])
    return found[near] if scores[near] >= LEAST_OVERLAP else max(found, key=lambda one: one.rank)


def _short(text: str) -> str:
    return " ".join(text.split())[:LONGEST_NAME].strip()
