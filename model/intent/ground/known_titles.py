"""How well a line names an item of a catalogue, by its words. Finding the item by vectors is the
localiser's.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from typing import Final

LEAST_OVERLAP: Final = 0.5  # share of common words from which a line is taken to mean a title
LONGEST_LISTS: Final = (
    2_000  # titles of one word that are looked through; words of more are too common to tell titles apart
)
LONGEST_TITLE_WORDS: Final = 40
_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE = re.compile(r"^(.*), (the|a|an|le|la|les|il|der|die|das|el)$")
_WORDS = re.compile(r"\w+")


def normal(text: str) -> str:
    """Return a title as it is compared: letters and figures alone, case and forms of letters set aside.

    Examples
    --------
    >>> normal(" “Toy Story” ( 1995 ). ")
    'toy story 1995'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORDS.findall(folded)) or folded.strip()


def loose(text: str) -> str:
    """Return a title as people say it: without the year behind it, the article in front.

    Examples
    --------
    >>> loose("Lion King, The (1994)")
    'the lion king'
    """
    bare = _YEAR.sub("", unicodedata.normalize("NFKC", text).casefold()).strip()
    turned = _ARTICLE.match(bare)
    return normal(f"{turned.group(2)} {turned.group(1)}" if turned else bare)


class KnownTitles:
    """The titles of a catalogue, looked up by what models write.

    Parameters
    ----------
    titles : iterable of str
        Whatever is called something; blank ones are left out. Tables are built at the first look-up.

    Examples
    --------
    >>> known = KnownTitles(["Toy Story (1995)", "Lion King, The (1994)"])
    >>> known.score("toy story (1995)"), known.score("The Lion King"), known.score("Sure! Here is one item")
    (1.0, 0.95, 0.0)
    """

    def __init__(self, titles: Iterable[str] = ()) -> None:
        self.titles = tuple(dict.fromkeys(title for title in titles if title and title.strip()))

    def __len__(self) -> int:
        return len(self.titles)

    def __contains__(self, text: object) -> bool:
        """Tell whether a text is a title as it stands; case aside, marks around it count."""
        return isinstance(text, str) and _spaced(text) in self._plain

    def score(self, text: str) -> float:
        """Return how well a line names a title: 1 = word for word, 0.95 = as people say it, else by common
        words.
        """
        if not self.titles:
            return 0.0
        if normal(text) in self._exact:
            return 1.0
        if loose(text) in self._loose:
            return 0.95
        return 0.9 * self._overlap(text)

    def begins(self, text: str) -> bool:
        """Tell whether a title goes on where the text, of three or more words, stops."""
        start = normal(text)
        return start.count(" ") >= 2 and any(
            title.startswith(start) for title in self._exact if len(title) > len(start)
        )

    def leading(self, text: str) -> str:
        """Return the beginning of a line that is a title; empty where none is."""
        best = ""
        for word in islice(_WORDS.finditer(text), LONGEST_TITLE_WORDS if self.titles else 0):
            part = text[: _with_bracket(text, word.end())]
            if normal(part) in self._exact or (len(part) > 3 and loose(part) in self._loose):
                best = part
        return best

    @cached_property
    def _plain(self) -> frozenset[str]:
        return frozenset(map(_spaced, self.titles))

    @cached_property
    def _exact(self) -> frozenset[str]:
        return frozenset(normal(title) for title in self.titles)

    @cached_property
    def _loose(self) -> frozenset[str]:
        return frozenset(loose(title) for title in self.titles)

    @cached_property
    def _sizes(self) -> list[int]:
        return [len(set(_WORDS.findall(title.casefold()))) for title in self.titles]

    @cached_property
    def _by_word(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, title in enumerate(self.titles):
            for word in set(_WORDS.findall(title.casefold())):
                found.setdefault(word, []).append(place)
        return found

    def _overlap(self, text: str) -> float:
        """Return the largest share of common words of the line and a title (Jaccard)."""
        words = set(_WORDS.findall(text.casefold()))
        shared: Counter[int] = Counter()
        for word in words:
            places = self._by_word.get(word, [])
            if len(places) <= LONGEST_LISTS:
                shared.update(places)
        best = 0.0
        for place, count in shared.most_common(50):
            best = max(best, count / (len(words) + self._sizes[place] - count))
        return best


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _with_bracket(text: str, end: int) -> int:
    """Take a bracket that closes right behind the place into the part before it."""
    return end + 1 if text[end : end + 1] in (")", "]") else end
