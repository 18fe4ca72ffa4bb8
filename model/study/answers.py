"""Views and groundings of an LLM's answers for the studies: what is asked anew is the neutral prompt alone;
all else comes from kept answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from feature_repo.contract.settings import Settings
from model.data.splits import Dataset
from model.intent.ask.asker import recipe_of
from model.intent.prompts import neutral
from model.study.case_intents import Encodes, Source, Vectors, with_intents
from model.study.controls import LARGEST_R, attached

Attach = Callable[[Dataset], Dataset]


class Answers:
    """Gives a dataset's cases the answers of one LLM under other prompts and groundings.

    Parameters
    ----------
    settings : Settings
        As for ``with_intents``: which cases are asked about, and who serves the others.
    source : str
        One that is asked.
    load : callable
        Gives the text encoder; called when the first text is read.
    """

    def __init__(self, settings: Settings, source: Source, load: Callable[[], Encodes]) -> None:
        self.source = source
        self._settings = settings.model_copy(
            update={"intents": settings.intents.model_copy(update={"source": source})}
        )
        self._encoder = _Remembering(load)

    def views(self) -> dict[str, Attach]:
        """Name the views: one, both, and the one answer to a neutral prompt for both; their dataset carries
        this source's answers already.
        """
        return {
            "both views": lambda dataset: dataset,
            "long only": lambda dataset: attached(dataset, lambda cases: (cases.long, None)),
            "short only": lambda dataset: attached(dataset, lambda cases: (None, cases.short)),
            "neutral prompt": lambda dataset: self._with(
                dataset, prompt_version=neutral(self._settings.intents.prompt_version).version
            ),
        }

    def groundings(self, largest: int = LARGEST_R) -> dict[str, Attach]:
        """Name the number of items that an answer is grounded on, r = 0 to ``largest``; the same texts are
        grounded anew.
        """

        def of(top_r: int) -> Attach:
            return lambda dataset: self._with(dataset, top_r=top_r)

        return {f"r = {top_r}": of(top_r) for top_r in range(largest + 1)}

    def identity(self) -> str:
        """Return what the answers depend on besides the cases, as JSON; equal text, equal answers."""
        recipe = recipe_of(self._settings)
        return json.dumps(
            [recipe.to_dict() if recipe else None, self._settings.intents.model_dump(mode="json")],
            sort_keys=True,
        )

    def _with(self, dataset: Dataset, **changes: Any) -> Dataset:
        settings = self._settings.model_copy(
            update={"intents": self._settings.intents.model_copy(update=changes)}
        )
        return with_intents(dataset, settings, self.source, self._encoder)


class _Remembering:
    """An encoder that reads each text once."""

    def __init__(self, load: Callable[[], Encodes]) -> None:
        self._load = load
        self._encoder: Encodes | None = None
        self._known: dict[str, Vectors] = {}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit row a text."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._encoder = self._encoder or self._load()
            self._known |= dict(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])
