"""HTML entities in texts that people see. Knows nothing of tables beyond one column of texts."""

from __future__ import annotations

import html
import re
from html.entities import html5

import pyarrow as pa
import pyarrow.compute as pc

# With the semicolon only: browsers also read "&copy=" as a sign, which would change addresses and names such
# as "rock&reggae".
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_ENTITY_RE2 = r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_MAX_ROUNDS = 4  # of a text that was encoded again at every export


def decode_entities(text: str) -> str:
    r"""Decode the HTML entities of a text, also those that were encoded twice.

    Examples
    --------
    >>> decode_entities("Men&#39;s &amp;quot;Big&amp;quot; R&amp;D hat &amp; lid")
    'Men\'s "Big" R&D hat & lid'
    """
    for _ in range(_MAX_ROUNDS):
        decoded = _ENTITY.sub(_decoded, text)
        if decoded == text:
            break
        text = decoded
    return text


def _decoded(match: re.Match[str]) -> str:
    """Decode one entity; a name that HTML does not have stays, where `html.unescape` takes its beginning for
    one: ``&notes;`` is no ``¬``.
    """
    entity = match[0]
    return html.unescape(entity) if entity[1] == "#" else html5.get(entity[1:], entity)


def decode_column(texts: pa.Array) -> pa.Array:
    """Decode a column of texts; returns the same array when no text holds an entity."""
    found = pc.fill_null(pc.match_substring_regex(texts, _ENTITY_RE2), False)
    if not pc.any(found).as_py():
        return texts
    return pc.replace_with_mask(
        texts,
        found,
        pa.array([decode_entities(text) for text in texts.filter(found).to_pylist()], pa.string()),
    )
