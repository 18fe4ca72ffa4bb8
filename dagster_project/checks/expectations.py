"""Which check belongs to which asset, and whether it stops what follows; run in the child right after the
step, or by Dagster on request.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dagster_project.checks.days import every_day, features_of_days, has_clicks
from dagster_project.checks.intents import calls_answered, model_answers
from dagster_project.checks.live import quality_holds
from dagster_project.checks.tables import (
    Outcome,
    cache_covers,
    cases_known_in_time,
    copy_share,
    features_cover,
    intents_whole,
    items_known,
    keys_whole,
    live_answered,
    not_empty,
    parity_holds,
    refused_share,
    schema_matches,
    sessions_cover,
    vectors_whole,
    volume,
)
from feature_repo.contract import tables as columns
from feature_repo.contract.settings import Settings
from spark_jobs.lake.log import LakeError


@dataclass(frozen=True)
class Expectation:
    """One check of one asset.

    Parameters
    ----------
    asset : str
        Asset it belongs to, slash between key parts.
    name : str
        Name of the check.
    text : str
        What it demands, in words.
    blocking : bool
        Whether nothing downstream may run when it fails; others only warn.
    test : callable
        (settings, report details of the step) -> Outcome.
    """

    asset: str
    name: str
    text: str
    blocking: bool
    test: Callable[[Settings, Mapping[str, Any]], Outcome]


# appended to, and read by no step; or checked under the name of their asset
UNCHECKED = (columns.QUARANTINE, columns.INTENT_CACHE, *columns.LIVE_TABLES)


def _of_contract() -> list[Expectation]:
    """Checks that every table gets from its entry in the contract: schema and key."""
    checked = [table for name, table in columns.TABLES.items() if name not in UNCHECKED]
    schemas = [
        Expectation(
            table.name,
            "schema",
            "Columns and types are those of the contract.",
            True,
            schema_matches(table.name),
        )
        for table in checked
    ]
    keyed = [table for table in checked if table.key]
    words = "The key {} is never blank and never repeats."
    return schemas + [
        Expectation(table.name, "keys", words.format(table.key), True, keys_whole(table.name))
        for table in keyed
    ]


EXPECTATIONS: tuple[Expectation, ...] = (
    *_of_contract(),
    Expectation(columns.CLICKS, "not_empty", "There are clicks.", True, not_empty(columns.CLICKS)),
    Expectation(
        columns.CLICKS, "items_known", "Few clicks are on items without a catalogue row.", False, items_known
    ),
    Expectation(columns.CLICKS, "volume", "The newest whole day is not far off the usual.", False, volume),
    Expectation(
        columns.QUARANTINE,
        "refused_share",
        "At most dataset.max_refused_share of the rows were refused.",
        True,
        refused_share,
    ),
    Expectation(columns.ITEM_VECTORS, "unit_vectors", "One unit vector an item.", True, vectors_whole),
    Expectation(columns.SESSIONS, "every_click_once", "Each click is in one session.", True, sessions_cover),
    Expectation(
        columns.SESSION_INTENTS, "every_session", "Each session text has its intent.", True, intents_whole
    ),
    Expectation(
        columns.SESSION_INTENTS, "model_answers", "The language model is not down.", True, model_answers
    ),
    Expectation(
        columns.SESSION_INTENTS,
        "calls_answered",
        "No call to the language model failed.",
        False,
        calls_answered,
    ),
    Expectation(
        columns.SESSION_INTENTS,
        "copy_share",
        "LLM answers do not all repeat an item of the session.",
        False,
        copy_share,
    ),
    Expectation(columns.INTENT_CACHE, "coverage", "Each LLM intent in use is cached.", False, cache_covers),
    Expectation(
        columns.SESSION_FEATURES, "every_click", "Each click has its features.", True, features_cover
    ),
    Expectation(
        columns.TRAINING_SET,
        "known_in_time",
        "No case knows its future; each has a target.",
        True,
        cases_known_in_time,
    ),
    Expectation("daily/clicks", "has_clicks", "There are clicks on the days of the run.", True, has_clicks),
    Expectation("daily/clicks", "every_day", "There are clicks on each of these days.", False, every_day),
    Expectation(
        "daily/session_intents", "model_answers", "The language model is not down.", True, model_answers
    ),
    Expectation(
        "daily/session_features",
        "every_click",
        "Each click of these days has its features.",
        True,
        features_of_days,
    ),
    Expectation(
        "live/recommendations",
        "answered",
        "Each replayed click is answered or accounted for.",
        True,
        live_answered,
    ),
    Expectation(
        "live/parity", "parity", "Live features equal batch features in every row.", True, parity_holds
    ),
    Expectation(
        "live/quality",
        "keys",
        "The key of the table is never blank and never repeats.",
        True,
        keys_whole(columns.LIVE_QUALITY),
    ),
    Expectation(
        "live/quality",
        "holds",
        "No model is worth less live than on its own test, by more than both intervals.",
        False,
        quality_holds,
    ),
)


def of(assets: Sequence[str]) -> list[Expectation]:
    """Return the expectations of some assets, in the order of the list above."""
    return [entry for entry in EXPECTATIONS if entry.asset in set(assets)]


def verify(entry: Expectation, settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Run one check; a table that cannot be read is a failed check, not a crash.

    Parameters
    ----------
    entry : Expectation
        The check.
    settings : Settings
        Where the tables are.
    details : mapping
        Details of the step's report, which some checks read.

    Returns
    -------
    Outcome
        With plain JSON facts.
    """
    try:
        return entry.test(settings, details)
    except LakeError as error:
        return Outcome(False, str(error))
    except (pa.ArrowException, OSError) as error:
        return dataclasses.replace(
            Outcome(
                False,
                (
                    f"'{entry.asset}' cannot be read: {str(error).splitlines()[0]}; remove the table and "
                    "materialise it again"
                ),
            )
        )
