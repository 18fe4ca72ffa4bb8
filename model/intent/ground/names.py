"""What an intent is called: what distinguishes the items it stands for from the whole catalogue. One pure
function of a view, the session's items and the catalogue, for batch and live alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from math import log
from typing import Final, NamedTuple

import numpy as np

from model.intent.ground.localiser import Localiser
from model.intent.types import SessionIntent, ViewIntent

NAMES_VERSION: Final = 1  # rows of another version are named again by the `intents` job
SHOWN_ITEMS: Final = 5  # of a view; what a person reads at a glance
MOST_TERMS: Final = 3
LEAST_SUPPORT: Final = 2  # shown items that a term must hold for; one item alone says nothing in common
# of the strongest term's weight; a term below it is a by-product of the others
LEAST_SHARE: Final = 0.35
_KINDS = re.compile(r"[|,;>]")  # between the categories of an item; without one, the text is one category
_WORDS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# articles, prepositions and pronouns of the languages that catalogues mix; all but the shortest words, which
# are left out anyway
_ARTICLES: Final = """
    the and for with from into over under your you our his her its their she they who what when where how not
    all one two are was were been has have had will can did does this that these those about after before
    der die das den dem des ein eine einer eines einem und von vom zum zur mit für auf aus bei ist nicht
    les des une aux dans pour avec sur par est qui que los las del una por con para gli della delle
    """
_STOP_WORDS: Final = frozenset(_ARTICLES.split())


class _Term(NamedTuple):
    """A category or a title word: its text, its words, and log(1 / share of items that it holds for)."""

    text: str
    words: frozenset[str]
    rarity: float


def _logs(shown: int) -> list[float]:
    """log(count / shown) of every count that a term can have."""
    return [log(max(count, 1) / max(shown, 1)) for count in range(shown + 1)]


_LOGS: Final = [_logs(shown) for shown in range(SHOWN_ITEMS + 1)]


def _by_weight(one: tuple[float, int]) -> tuple[float, int]:
    return -one[0], one[1]


class Namer:
    """Names the intents of one catalogue; its tables are built once, at the first name.

    Parameters
    ----------
    localiser : Localiser
        Items, titles, categories and the space.
    """

    def __init__(self, localiser: Localiser) -> None:
        self._localiser = localiser

    def named(
        self, intents: Sequence[SessionIntent], prefixes: Sequence[Sequence[str]]
    ) -> list[SessionIntent]:
        """Give intents their names and shown items.

        Parameters
        ----------
        intents : sequence of SessionIntent
        prefixes : sequence of sequences of item ids
            The session of each.

        Returns
        -------
        list of SessionIntent
            The same with ``name`` and ``shown`` in both views; an intent of unknown items stays as it is.
        """
        rows, titles = self._localiser.rows, self._tables.titles
        found = []
        for intent, prefix in zip(intents, prefixes, strict=True):
            if not (intent.long.items or intent.short.items):
                found.append(intent)
                continue
            clicked = {row for item in prefix if (row := rows.get(item)) is not None}
            barred = [titles[row] for row in clicked]
            long, short = self._view(intent.long, clicked, barred), self._view(intent.short, clicked, barred)
            found.append(SessionIntent(long, short, intent.source, intent.cache_key))
        return found

    def _view(self, view: ViewIntent, clicked: set[int], barred: list[frozenset[str]]) -> ViewIntent:
        shown = self._shown(view, clicked)
        ids = self._localiser.item_ids
        name, stand_in = self._name(shown, barred), tuple([ids[row] for row in shown])
        return ViewIntent(view.text, view.items, view.cosines, view.vector, name, stand_in, view.further)

    def _shown(self, view: ViewIntent, clicked: set[int]) -> list[int]:
        """Rows of the items that stand for a view, nearest first, at least half of them not clicked."""
        rows = self._localiser.rows
        near = [row for item in (*view.items, *view.further) if (row := rows.get(item)) is not None]
        # inverted lists may give a row twice
        near = list(dict.fromkeys(near))
        chosen = _chosen(near, clicked)
        if len(chosen) < SHOWN_ITEMS and view.items:
            # all that is near was clicked: the nearest beyond that are looked for, as many as surely suffice
            found, _ = self._localiser.search(view.vector[None], len(clicked) + SHOWN_ITEMS)
            beyond = [row for row in found[0].tolist() if row >= 0]
            chosen = _chosen(list(dict.fromkeys([*near, *beyond])), clicked)
        return chosen

    def _name(self, shown: list[int], barred: list[frozenset[str]]) -> str:
        """Terms by what they tell: share among the shown items times log of the lift over the catalogue.

        That is the term's part of the divergence of the shown items from the catalogue. A term is passed over
        where the name would hold all words of a clicked title.
        """
        if not shown:
            return ""
        numbers, bounds, terms = self._tables.numbers, self._tables.bounds, self._tables.terms
        support = Counter[int]()
        for row in shown:
            support.update(numbers[bounds[row] : bounds[row + 1]].tolist())
        least, logs = min(LEAST_SUPPORT, len(shown)), _LOGS[len(shown)]
        weighed = [
            (count * (terms[number].rarity + logs[count]), number)
            for number, count in support.items()
            if count >= least
        ]
        chosen = self._free([one for one in weighed if one[0] > 0], barred)
        if not chosen:  # nothing rare in common: the rarest word of one item, rather than none
            every = [(terms[number].rarity, number) for number in support]
            chosen = self._free(every, barred)[:1]
        return ", ".join([terms[number].text for number in chosen])

    def _free(self, weighed: list[tuple[float, int]], barred: list[frozenset[str]]) -> list[int]:
        """The weightiest terms with which no title is repeated."""
        if not weighed:
            return []
        weighed.sort(key=_by_weight)
        least, terms = LEAST_SHARE * weighed[0][0], self._tables.terms
        chosen, words = list[int](), set[str]()
        for weight, number in weighed:
            if len(chosen) == MOST_TERMS or (chosen and weight < least):
                break
            together = words | terms[number].words
            if together == words or any(title <= together for title in barred):
                continue
            chosen.append(number)
            words = together
        return chosen

    @cached_property
    def _tables(self) -> _Tables:
        return _tables(self._localiser.titles, self._localiser.categories)


class _Tables(NamedTuple):
    """Terms of a catalogue: numbers of each item's terms, between bounds; words that a title is known by."""

    terms: list[_Term]
    numbers: np.ndarray
    bounds: np.ndarray
    titles: list[frozenset[str]]


def _tables(titles: Sequence[str], categories: Sequence[str]) -> _Tables:
    known: dict[str, int] = {}
    numbers, bounds, heard = list[int](), [0], list[frozenset[str]]()
    for title, category in zip(titles, categories, strict=True):
        words = title_words(title)
        of_item = [*_categories(category), *(word for word in words if _tells(word))]
        numbers += {known.setdefault(term, len(known)): None for term in of_item}
        bounds.append(len(numbers))
        heard.append(frozenset(words))
    held = np.bincount(numbers, minlength=len(known)).tolist() if numbers else []
    terms = [
        _Term(term, frozenset(_WORDS.findall(term)), log(len(titles) / held[number]))
        for term, number in known.items()
    ]
    return _Tables(terms, np.array(numbers, np.int32), np.array(bounds, np.int64), heard)


def _categories(category: str) -> Iterator[str]:
    for part in _KINDS.split(_folded(category)):
        kind = " ".join(part.split())
        if _WORDS.search(kind):
            yield kind


def title_words(title: str) -> list[str]:
    """Return the words that a title is known by: lower case, without figures such as the year, unless there
    is nothing else.

    Examples
    --------
    >>> title_words("Toy Story (1995)"), title_words("1984")
    (['toy', 'story'], ['1984'])
    """
    words = _WORDS.findall(_folded(title))
    return [word for word in words if not word.isdigit()] or words or [_folded(title)]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def _tells(word: str) -> bool:
    """Whether a word can stand in a name: letters, and more than an article's."""
    wide = ord(word[0]) > 0x2E7F if word else False  # Chinese, Japanese and Korean words are short
    return bool(word) and not word.isdigit() and (wide or len(word) > 2) and word not in _STOP_WORDS


def _chosen(near: Sequence[int], clicked: set[int]) -> list[int]:
    """The first ``SHOWN_ITEMS`` of them, of which no more were clicked than were not."""
    kept, inside = list[int](), list[int]()
    for row in near:
        if len(kept) == SHOWN_ITEMS:
            break
        if row in clicked:
            if len(inside) == SHOWN_ITEMS // 2:
                continue
            inside.append(row)
        kept.append(row)
    spare = set(inside[len(kept) - len(inside) :])
    return [row for row in kept if row not in spare] if spare else kept


def repeats_title(name: str, titles: Sequence[str]) -> bool:
    """Whether a name holds all words of one of some titles, in any order and case.

    Examples
    --------
    >>> repeats_title("story, toy", ["Toy Story (1995)"]), repeats_title("children's, toy", ["Toy Story"])
    (True, False)
    """
    words = set(_WORDS.findall(_folded(name)))
    return any(words >= set(title_words(title)) for title in titles if title)
