"""Items as the model sees them: the text that is encoded for one item. Knows nothing of tables or networks."""

from __future__ import annotations

import unicodedata

MAX_TEXT_CHARACTERS = 2_000  # the encoder reads 256 tokens; more text costs time and changes nothing


def item_text(title: str | None, category: str | None = None) -> str:
    """Return the text that is encoded for an item: its title, then its category.

    Parameters
    ----------
    title : str, optional
        May hold control characters or line breaks; they become single spaces.
    category : str, optional
        Added after the title where there is one (on ML-100K title and genre beat the title alone).

    Returns
    -------
    str
        At most ``MAX_TEXT_CHARACTERS`` characters; empty when the item has no title.

    Examples
    --------
    >>> item_text("Toy Story (1995)", "Animation Comedy")
    'Toy Story (1995). Animation Comedy'
    >>> item_text(None, "Animation")
    ''
    """
    name = _one_line(title)
    if not name:
        return ""
    kind = _one_line(category)
    return f"{name}. {kind}" if kind else name


def _one_line(text: str | None) -> str:
    head = (text or "")[: 2 * MAX_TEXT_CHARACTERS]
    clean = "".join(" " if unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} else letter for letter in head)
    return " ".join(clean.split())[:MAX_TEXT_CHARACTERS]
