"""Content keys of LLM answers: equal content, equal key, whoever asks and whenever. Knows nothing of where
answers are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

_JSON = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"))  # made once: `json.dumps` makes one a call


@lru_cache(maxsize=100_000)
def _pair(item: str, title: str) -> str:
    return _JSON.encode([item, title])


@dataclass(frozen=True)
class Recipe:
    """Everything besides the session that an answer depends on.

    Attributes
    ----------
    source : str
        ``llm`` or ``endpoint``.
    model : str
        Name and digest of the weights, or the endpoint's model name.
    revision : str
        Of the model.
    prompt_version : str
        Of the template.
    decoding : str
        How tokens are chosen, number type included.
    encoder : str
        Of titles and answers.
    max_items : int
        Most recent titles shown.

    Examples
    --------
    >>> recipe = Recipe("llm", "m", "main", "v1", "greedy 16", "e", 20)
    >>> recipe.key(["1"], ["Alien"]) == recipe.key(["1"], ["Alien"]) != recipe.key(["1"], ["Aliens"])
    True
    """

    source: str
    model: str
    revision: str
    prompt_version: str
    decoding: str
    encoder: str
    max_items: int

    def key(self, items: Sequence[str], titles: Sequence[str]) -> str:
        """Return the content key of one prefix.

        Parameters
        ----------
        items, titles : sequences of str
            What the prompt shows, oldest first; only the last ``max_items`` count.

        Returns
        -------
        str
            40 hexadecimal digits.
        """
        shown = [_pair(item, title) for item, title in zip(items, titles, strict=True)][-self.max_items :]
        return hashlib.blake2b(f"[{self._head},[{','.join(shown)}]]".encode(), digest_size=20).hexdigest()

    @cached_property
    def _head(self) -> str:
        return _JSON.encode(
            [self.source, self.model, self.revision, self.prompt_version, self.decoding, self.encoder]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON."""
        return asdict(self)
