"""Intents of a dataset folder's validation and test cases, by any source, without Spark: what `python -m
model benchmark --intents` attaches.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import ASKED_SOURCES, AskedSource, Settings
from model.data.catalogue import Catalogue
from model.data.sequences import Cases
from model.data.splits import Dataset
from model.intent.answer.reading import misread
from model.intent.ask.answers import Answer, failure_kinds
from model.intent.ask.asker import asker_of, recipe_of
from model.intent.ask.llm import tokenizer_file
from model.intent.ask.loop import Question, ask_missing, missing
from model.intent.ask.spool import whole_rows, whole_values
from model.intent.ground.fallback import Fallback, Views
from model.intent.ground.known_titles import KnownTitles
from model.intent.ground.localiser import Localiser
from model.intent.ground.student import train_student
from model.intent.prompts import TitleCutter, recent_titles
from model.intent.recipe import Recipe

Source = Literal["encoder", AskedSource, "student", "none"]
SOURCES: tuple[Source, ...] = get_args(Source)
ANSWERS_FOLDER = "intent_answers"  # below home: the answers of studies and benchmarks, one file a recipe
Vectors = NDArray[np.float32]
Prefixes = list[list[str]]
log = logging.getLogger("intentstore.model.intents")


class Encodes(Protocol):
    """What answers are read with: a text encoder, or one that remembers."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit row a text."""


def with_intents(dataset: Dataset, settings: Settings, source: Source, encoder: Encodes) -> Dataset:
    """Attach intents to validation and test cases.

    Parameters
    ----------
    dataset : Dataset
        With text vectors of ``encoder``; without any it is returned as it is.
    settings : Settings
        ``intents.max_calls`` bounds the prefixes that an LLM is asked about, spread evenly over the cases;
        answers are kept under ``home`` by content, so that a second run asks nothing. ``intents.fallback``
        serves the other cases.
    source : str
        ``encoder`` = recency-weighted titles; ``llm`` and ``endpoint`` = answers grounded on items;
        ``student`` = a network that learned such answers on validation cases, for all cases; ``none``.
    encoder : Encodes
        Reads the answers.

    Returns
    -------
    Dataset
        Its notes say how many cases each source served.

    Raises
    ------
    ModelMissingError, EndpointError
        If the LLM or the server is not there.
    """
    catalogue = dataset.catalogue
    if source == "none" or catalogue.vectors is None:
        return dataset
    localiser = _localiser(catalogue, settings)
    encoder_intents = Fallback("encoder", localiser, settings.intents.recency_half_life)
    names = np.array(catalogue.item_ids, dtype=object)
    both = [names[prefix].tolist() for prefix in (*dataset.valid.prefixes, *dataset.test.prefixes)]
    bound = len(dataset.valid)
    views = encoder_intents.vectors(both)
    if source != "encoder":
        views, note = _answered(settings, source, both, bound, localiser, encoder, views)
        dataset = replace(dataset, notes=(*dataset.notes, note))
    return replace(
        dataset,
        valid=_attached(dataset.valid, views.long[:bound], views.short[:bound]),
        test=_attached(dataset.test, views.long[bound:], views.short[bound:]),
    )


def filled(dataset: Dataset, settings: Settings) -> Dataset:
    """Give the fallback's intents to validation and test cases that have none, where others have: an LLM is
    asked about some prefixes only.

    Parameters
    ----------
    dataset : Dataset
        With text vectors.
    settings : Settings
        ``intents.fallback``; ``none`` leaves the cases as they are, and where a student would serve, the
        encoder does.

    Returns
    -------
    Dataset
    """
    catalogue = dataset.catalogue
    if settings.intents.fallback == "none" or catalogue.vectors is None or dataset.valid.long is None:
        return dataset
    source = Fallback("encoder", _localiser(catalogue, settings), settings.intents.recency_half_life)
    names = np.array(catalogue.item_ids, dtype=object)
    return replace(
        dataset, valid=_filled(dataset.valid, source, names), test=_filled(dataset.test, source, names)
    )


def _localiser(catalogue: Catalogue, settings: Settings) -> Localiser:
    vectors = catalogue.vectors
    if vectors is None:
        raise ValueError("a catalogue without text vectors grounds nothing; give items.* with titles")
    chosen = settings.intents
    return Localiser(catalogue.item_ids, catalogue.titles, vectors, chosen.vectors, chosen.top_r)


def _filled(cases: Cases, source: Fallback, names: np.ndarray) -> Cases:
    if cases.long is None or cases.short is None or not len(cases):
        return cases
    blank = np.flatnonzero(~(cases.long.any(axis=1) | cases.short.any(axis=1)))
    if not len(blank):
        return cases
    found = source.vectors([names[prefix].tolist() for prefix in cases.prefixes.select(blank)])
    views = []
    for given, made in zip((cases.long, cases.short), found, strict=True):
        whole = given.copy()
        whole[blank] = made
        views.append(whole)
    return cases.with_intents(*views)


def _attached(cases: Cases, long: Vectors, short: Vectors) -> Cases:
    return cases.with_intents(long, short) if len(cases) else cases


def _answered(
    settings: Settings,
    source: Source,
    prefixes: Prefixes,
    validation: int,
    localiser: Localiser,
    encoder: Encodes,
    trivial: Views,
) -> tuple[Views, str]:
    """Vectors of all prefixes where an LLM was asked about some; the first ``validation`` prefixes are those
    of validation cases.
    """
    asker = (
        source
        if source != "student"
        else settings.intents.source
        if settings.intents.source in ASKED_SOURCES
        else ASKED_SOURCES[0]
    )
    settings = settings.model_copy(update={"intents": settings.intents.model_copy(update={"source": asker})})
    known, texts = _texts(settings, prefixes[:validation] if source == "student" else prefixes, localiser)
    grounded = [vector for _, _, vector in localiser.ground(encoder.encode(texts))] if texts else []
    vectors = np.array(grounded, np.float32).reshape(-1, localiser.dim)
    answered = Views(vectors[0::2], vectors[1::2])
    student = None
    if "student" in (source, settings.intents.fallback):
        student = train_student((trivial.long[known], trivial.short[known]), (answered.long, answered.short))
        if student is None:
            log.warning(
                "%d answers are too few to teach a student; the encoder serves instead (raise "
                "intents.max_calls)",
                len(known),
            )
    chosen = "student" if source == "student" else settings.intents.fallback
    rest = Fallback(chosen, localiser, settings.intents.recency_half_life, student)
    views = rest.vectors(prefixes)
    if source == "student":
        note = (
            f"intents: all {len(prefixes)} cases by {rest.source}, taught by {len(known)} answers on "
            "validation cases"
        )
    else:
        views.long[known], views.short[known] = answered
        note = f"intents: {len(known)} of {len(prefixes)} cases by {asker}, the others by {rest.source}"
    log.info(note)
    return views, note


def _texts(settings: Settings, prefixes: Prefixes, localiser: Localiser) -> tuple[list[int], list[str]]:
    """Places of the prefixes that have an answer, and their texts, long and short in turn; at most
    ``intents.max_calls`` prefixes are asked about.
    """
    recipe = recipe_of(settings)
    if recipe is None:
        raise ValueError(f"intents.source '{settings.intents.source}' asks no LLM; choose llm or endpoint")
    titles = dict(zip(localiser.item_ids, localiser.titles, strict=True))
    cut = TitleCutter(tokenizer_file(settings), settings.intents.max_title_tokens)
    count = min(len(prefixes), settings.intents.max_calls)
    shown = {
        place: recent_titles(prefixes[place], titles.get, cut, recipe.max_items)
        for place in np.linspace(0, len(prefixes) - 1, count).astype(int).tolist()
    }
    asked = {
        place: Question(recipe.key(items, names), tuple(items), tuple(names))
        for place, (items, names) in shown.items()
        if items
    }
    answers = _answers(settings, recipe, list(asked.values()), KnownTitles(localiser.titles))
    known = [place for place, question in asked.items() if question.key in answers]
    return known, [text for place in known for text in answers[asked[place].key]]


def _answers(
    settings: Settings, recipe: Recipe, asked: Sequence[Question], titles: KnownTitles
) -> dict[str, tuple[str, str]]:
    """Content key to the answers of both views; only keys that no earlier run has got are asked for, and each
    answer is kept at once.
    """
    digest = hashlib.blake2b(json.dumps(recipe.to_dict(), sort_keys=True).encode(), digest_size=8).hexdigest()
    file = settings.home / ANSWERS_FOLDER / f"{digest}.jsonl"
    found = _read(file, titles)
    count = len(missing(asked, found))
    if not count:
        return found
    file.parent.mkdir(parents=True, exist_ok=True)
    log.info("asking %s about %d prefixes, %d answers are known", recipe.source, count, len(found))
    with file.open("a", encoding="utf-8") as kept:

        def keep(question: Question, answer: Answer) -> None:
            row = {"key": question.key, "long": answer.long_text, "short": answer.short_text}
            found[question.key] = answer.long_text, answer.short_text
            kept.write(json.dumps(row, ensure_ascii=False) + "\n")
            kept.flush()

        # a copy of what is known: `found` grows while answers come
        failures = ask_missing(lambda: asker_of(settings, titles), asked, frozenset(found), keep)
    for kind, number in failure_kinds(failure.reason for failure in failures).items():
        log.warning("%d of %d prefixes have no answer: %s", number, count, kind)
    return found


def _read(file: Path, titles: KnownTitles) -> dict[str, tuple[str, str]]:
    """Return the answers of a file; misread ones of older versions are not among them, so that they are asked
    again.
    """
    rows = whole_rows(file, _row) if file.exists() else []
    pairs = {row["key"]: (row["long"], row["short"]) for row in rows}
    return {
        key: (long, short)
        for key, (long, short) in pairs.items()
        if not misread(long, titles) and not misread(short, titles)
    }


def forget_misread(settings: Settings, titles: KnownTitles) -> int:
    """Take misread answers out of the files of studies and benchmarks; return how many there were."""
    count = 0
    for file in sorted((settings.home / ANSWERS_FOLDER).glob("*.jsonl")):
        rows = whole_rows(file, _row)
        right = [row for row in rows if not (misread(row["long"], titles) or misread(row["short"], titles))]
        if len(right) < len(rows):
            count += len(rows) - len(right)
            replace_file(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in right))
    return count


def _row(row: Any) -> dict[str, Any]:
    clean = whole_values(row)
    if not all(isinstance(clean[name], str) for name in ("key", "long", "short")):
        raise ValueError("no answer with key, long and short")
    return dict(clean)
