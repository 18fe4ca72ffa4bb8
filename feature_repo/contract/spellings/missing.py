"""Words that exports write where there is no value. Knows nothing of tables beyond one column of texts."""

from __future__ import annotations

import functools
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

# pandas, Python, SQL, Hive and MySQL dumps, JavaScript, spreadsheets; not `NA`, which is Namibia too.
NO_VALUE = frozenset(
    {
        *("nan", "NaN", "NAN", "<NA>", "NaT", "None", "none", "NONE", "null", "NULL", "Null"),
        *("\\N", "(null)", "[null]", "undefined", "N/A", "n/a", "#N/A"),
    }
)


@functools.cache
def _word_set() -> pa.Array:
    return pa.array(sorted(NO_VALUE), pa.string())  # pyarrow loads pandas for it, so not at import


def are_words(texts: pa.Array) -> pa.Array:
    """Tell which texts are words for no value."""
    return pc.is_in(texts, value_set=_word_set())


def without_words(texts: pa.Array) -> tuple[pa.Array, Counter[str]]:
    """Take the words for no value out of a column.

    Parameters
    ----------
    texts : pa.Array
        Strings.

    Returns
    -------
    texts : pa.Array
        The same with null in their place; the very array where there is none.
    found : Counter
        Word to rows.

    Examples
    --------
    >>> column, found = without_words(pa.array(["a", "NULL", "NA", "nan"]))
    >>> column.to_pylist(), sorted(found)
    (['a', None, 'NA', None], ['NULL', 'nan'])
    """
    words = are_words(texts)
    if not pc.any(words).as_py():
        return texts, Counter()
    return pc.if_else(words, pa.scalar(None, pa.string()), texts), Counter(texts.filter(words).to_pylist())


def add_words(total: dict[str, Counter[str]], found: dict[str, Counter[str]]) -> None:
    """Add what one block held to what its file held so far."""
    for column, words in found.items():
        total.setdefault(column, Counter()).update(words)


def words_note(file: str, found: dict[str, Counter[str]]) -> tuple[str, ...]:
    """Say once what was taken as missing in a file.

    Parameters
    ----------
    file : str
    found : dict
        Column to its words and their rows.

    Examples
    --------
    >>> words_note("clicks.csv", {"user_id": Counter({"NULL": 3}), "event_type": Counter()})
    ("clicks.csv: words for no value are read as missing: user_id 'NULL' (3 rows)",)
    """
    shown: list[str] = []
    for column, words in found.items():
        shown += [f"{column} {word!r} ({rows:,} rows)" for word, rows in words.most_common()]
    return (f"{file}: words for no value are read as missing: {', '.join(shown)}",) if shown else ()
