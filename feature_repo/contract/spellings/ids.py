"""Ids that clicks and items spell differently. Changes none of them: it names what to look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from decimal import Decimal, InvalidOperation

from feature_repo.contract.spellings.entities import decode_entities

SHOWN_FROM_SHARE = 0.5  # of the clicked items; a few unknown ones are usual


def plain_id(spelling: str) -> str:
    """Return what spellings of one id have in common: numbers without leading zeros, ``.0`` or exponent,
    texts without case, blanks and HTML entities.

    Examples
    --------
    >>> plain_id("4.0050025016e+10") == plain_id("40050025016.0") == plain_id("040050025016")
    True
    >>> plain_id("A&amp;B") == plain_id("a&b ")
    True
    """
    text = decode_entities(spelling).strip()
    if text[:1].isdigit() and len(text) < 40 and text.isascii():
        try:
            number = Decimal(text)
        except InvalidOperation:
            return text.casefold()
        if number.is_finite() and abs(number.adjusted()) < 40 and number == number.to_integral_value():
            return str(int(number))
    return text.casefold()


def spelling_note(clicked: Iterable[str], catalogue: Collection[str]) -> str | None:
    """Say when clicked items are missing from the catalogue because their ids are spelled otherwise, or when
    most are missing.

    Parameters
    ----------
    clicked : iterable of str
        Distinct item ids of the clicks, in any order: the example is the same.
    catalogue : collection of str
        Item ids of ``items.*`` in their order; anything that tells quickly whether it holds an id.

    Returns
    -------
    str or None
        One line with numbers and an example; None when there is nothing to say, or no catalogue.
    """
    ids = sorted(clicked)
    unknown = [item for item in ids if item not in catalogue]
    if not unknown or not catalogue:
        return None
    spellings = {plain_id(item): item for item in catalogue}
    alike = [(item, spellings[plain]) for item in unknown if (plain := plain_id(item)) in spellings]
    counted = (
        f"{len(unknown):,} of {len(ids):,} clicked items ({len(unknown) / len(ids):.0%}) are not in items.*"
    )
    if alike:
        ours, theirs = alike[0]
        return (
            f"{counted}; {len(alike):,} of them are there in another spelling ('{ours}' in clicks, "
            f"'{theirs}' in items): write ids alike in both files"
        )
    if len(unknown) < SHOWN_FROM_SHARE * len(ids):
        return None
    return (
        f"{counted} (clicks have '{unknown[0]}', items '{next(iter(catalogue))}'): check that both files "
        "are of one shop and name the same ids"
    )
