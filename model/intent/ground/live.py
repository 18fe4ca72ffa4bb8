"""Intents within a millisecond: a cached LLM answer where there is one, the student's or the encoder's guess
otherwise; never the LLM.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from feature_repo.contract.files import replacing
from model.intent.answer.reasoning import shows_reasoning
from model.intent.ask.spool import put_aside
from model.intent.ground.fallback import Fallback
from model.intent.ground.localiser import ITEMS_FILE, Localiser
from model.intent.ground.names import Namer
from model.intent.ground.student import STUDENT_FILE, Student
from model.intent.prompts import recent_titles
from model.intent.recipe import Recipe
from model.intent.types import SessionIntent, no_intent

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from model.data.catalogue import Catalogue

LIVE_FILE: Final = "live.json"
TITLES_FILE: Final = "prompt_titles.json"
ANSWERS_FILE: Final = "answers.arrow"

log = logging.getLogger("intentstore.intents")


def live_folder(settings: Settings) -> Path:
    """Return the folder that the `intents` job keeps up to date for live use."""
    return settings.home / "intents" / "live"


def export(settings: Settings, folder: Path) -> None:
    """Copy what live intents need beside a model (``MODEL/intent``), so that the model folder is whole;
    nothing without intents.
    """
    source = live_folder(settings)
    if source.is_dir():
        shutil.copytree(source, folder, dirs_exist_ok=True)


class LiveIntents:
    """Infers intents of prefixes without ever calling the LLM.

    Parameters
    ----------
    localiser : Localiser or None
        None = there are no titles; every intent is then ``none``.
    half_life : float
        Of the encoder source.
    recipe : Recipe, optional
        By which content keys are made; none = no LLM configured, so there is no key.
    prompt_titles : dict, optional
        Item id to the title as prompts show it.
    answers : dict, optional
        Content key to a cached LLM intent.
    student : Student, optional
        Guesses the LLM's intents of prefixes it never saw.
    fallback : str
        ``student``, ``encoder`` or ``none`` for prefixes without a cached answer.
    """

    name = "live"

    def __init__(
        self,
        localiser: Localiser | None,
        *,
        half_life: float = 3.0,
        recipe: Recipe | None = None,
        prompt_titles: dict[str, str] | None = None,
        answers: dict[str, SessionIntent] | None = None,
        student: Student | None = None,
        fallback: str = "encoder",
    ) -> None:
        self.localiser = localiser
        self.recipe = recipe
        self._titles = prompt_titles or {}
        self._answers = dict(answers or {})
        self._guesses_by = {"half_life": half_life, "student": student, "fallback": fallback}
        self._fallback = Fallback(fallback, localiser, half_life, student)
        self._namer = None if localiser is None else Namer(localiser)
        self.counts: dict[str, int] = {}

    @classmethod
    def load(
        cls, settings: Settings, model_dir: Path | None = None, catalogue: Catalogue | None = None
    ) -> LiveIntents:
        """Load what the `intents` job left, or make encoder intents of a model's own titles.

        Parameters
        ----------
        settings : Settings
            For the home folder and the fallback.
        model_dir : Path, optional
            A model folder; its ``intent/`` is taken where it is there, else the home's.
        catalogue : Catalogue, optional
            The model's. A home that lacks one of its titles is another shop's, and is not read; the encoder
            then guesses from the catalogue's own vectors.

        Returns
        -------
        LiveIntents
            With ``none`` intents where nothing was left and there are no titles.

        Raises
        ------
        LocaliserError
            If the files are there but broken.
        """
        beside = None if model_dir is None else model_dir / "intent"
        whole = beside is not None and (beside / ITEMS_FILE).is_file()
        folder = beside if beside is not None and whole else live_folder(settings)
        localiser = Localiser.load(folder) if (folder / ITEMS_FILE).is_file() else None
        if localiser is None or not (whole or catalogue is None or _holds(localiser, catalogue)):
            return cls._of_titles(settings, catalogue, folder)
        content = _json(folder / LIVE_FILE)
        recipe = Recipe(**content["recipe"]) if content.get("recipe") else None
        answers_folder = live_folder(settings) if (live_folder(settings) / ANSWERS_FILE).is_file() else folder
        return cls(
            localiser,
            half_life=float(content.get("half_life", settings.intents.recency_half_life)),
            recipe=recipe,
            prompt_titles=_json(folder / TITLES_FILE),
            answers=read_answers(answers_folder / ANSWERS_FILE, localiser.dim) if recipe else {},
            student=Student.load(folder / STUDENT_FILE) if (folder / STUDENT_FILE).is_file() else None,
            fallback=settings.intents.fallback,
        )

    @classmethod
    def _of_titles(cls, settings: Settings, catalogue: Catalogue | None, folder: Path) -> LiveIntents:
        if catalogue is None or catalogue.vectors is None:
            log.info("no live intents in '%s': answers carry none", folder)
            return cls(None)
        chosen = settings.intents
        localiser = Localiser(
            catalogue.item_ids,
            catalogue.titles,
            catalogue.vectors,
            chosen.vectors,
            chosen.top_r,
            categories=catalogue.categories,
        )
        return cls(localiser, half_life=chosen.recency_half_life)

    def over(self, changed: Catalogue) -> LiveIntents:
        """Return the same intents over a catalogue in which some items are new or have other titles.

        Parameters
        ----------
        changed : Catalogue
            These items, with vectors of the same encoder. Answers that were cached for their old titles are
            not theirs any more, and are not found.
        """
        if self.localiser is None or changed.vectors is None:
            return self
        titles = {item: title for item, title in zip(changed.item_ids, changed.titles, strict=True) if title}
        known = {item: titles[item] for item in titles if item in self._titles or self.recipe is not None}
        return LiveIntents(
            self.localiser.over(changed.item_ids, changed.titles, changed.categories, changed.vectors),
            recipe=self.recipe,
            prompt_titles=self._titles | known,
            answers=self._answers,
            **self._guesses_by,  # type: ignore[arg-type]
        )

    def key(self, prefix: Sequence[str]) -> str:
        """Return the content key of a prefix, the same that the batch job gives it; empty without an LLM or a
        title.
        """
        if self.recipe is None:
            return ""
        items, titles = recent_titles(prefix, self._titles.get, str, self.recipe.max_items)
        return self.recipe.key(items, titles) if items else ""

    def remember(self, key: str, intent: SessionIntent) -> None:
        """Keep an LLM intent that became known (near-line worker), for this process."""
        self._answers[key] = intent

    def infer(self, prefixes: Sequence[Sequence[str]]) -> list[SessionIntent]:
        """Return one intent a prefix.

        Parameters
        ----------
        prefixes : sequence of sequences of item ids
            Oldest click first; unknown ids are skipped.

        Returns
        -------
        list of SessionIntent
            Named; ``source`` says where each comes from; ``counts`` adds up how often.
        """
        keys = [self.key(prefix) for prefix in prefixes]
        found = [self._answers.get(key) if key else None for key in keys]
        missing = [place for place, intent in enumerate(found) if intent is None]
        guessed = self._fallback.infer([prefixes[place] for place in missing])
        for place, intent in zip(missing, guessed, strict=True):
            found[place] = (
                SessionIntent(intent.long, intent.short, intent.source, keys[place])
                if keys[place]
                else intent
            )
        result = [intent for intent in found if intent is not None]
        for intent in result:
            self.counts[intent.source] = self.counts.get(intent.source, 0) + 1
        return self.named(result, prefixes)

    def named(
        self, intents: Sequence[SessionIntent], prefixes: Sequence[Sequence[str]]
    ) -> list[SessionIntent]:
        """Give intents the names that they have in these sessions; as they are where there are no titles."""
        return list(intents) if self._namer is None else self._namer.named(intents, prefixes)


def _holds(localiser: Localiser, catalogue: Catalogue) -> bool:
    """Whether a localiser grounds on every titled item of a catalogue, by vectors of the same length."""
    if catalogue.vectors is None or catalogue.vectors.shape[1] != localiser.dim:
        return False
    titled = np.flatnonzero(catalogue.vectors.any(axis=1)).tolist()
    return all(catalogue.item_ids[place] in localiser.rows for place in titled)


def answers_table(keys: Sequence[str], intents: Sequence[SessionIntent]) -> pa.Table:
    """Return LLM intents as a table for live look-ups: key, source, and text, items, cosines and vector of
    both views.
    """
    rows = [{**intent.to_row(), "cache_key": key} for key, intent in zip(keys, intents, strict=True)]
    for row in rows:
        row |= {f"{view}_vector": row[f"{view}_vector"].tobytes() for view in ("long", "short")}
    return pa.table({name: list(map(itemgetter(name), rows)) for name in no_intent(0).to_row()})


def write_answers(path: Path, table: pa.Table) -> None:
    """Write the table to an Arrow file, at once or not at all."""
    with (
        replacing(path) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)


def read_answers(path: Path, dim: int) -> dict[str, SessionIntent]:
    """Return cached LLM intents by content key.

    Empty without a file, and without those of another vector length or whose text is a piece of thinking that
    an older version kept. A file that cannot be read is put aside with a line; the `intents` job writes it
    again.
    """
    if not path.is_file():
        return {}
    try:
        with pa.memory_map(str(path)) as source:
            rows = pa.ipc.open_file(source).read_all().to_pylist()
        found = [SessionIntent.from_row(row, lambda raw: np.frombuffer(raw, np.float32)) for row in rows]
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        put_aside(path, f"cannot be read ({' '.join(str(error).split())[:120]})")
        return {}
    return {intent.cache_key: intent for intent in found if _servable(intent, dim)}


def _servable(intent: SessionIntent, dim: int) -> bool:
    fits = len(intent.long.vector) == len(intent.short.vector) == dim
    return fits and not (shows_reasoning(intent.long.text) or shows_reasoning(intent.short.text))


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
