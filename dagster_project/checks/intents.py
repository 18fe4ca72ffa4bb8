"""The checks of the calls to a language model: an endpoint that is down must be seen, not covered by the
fallback.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dagster_project.checks.tables import Outcome
from feature_repo.contract.settings import Settings
from model.intent.ask.answers import failure_kinds

RETRIES = "retry.jsonl"  # written by the job `intents`: calls that failed, with the reason


def model_answers(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Demand that not every call of the run failed: then the model is down, and all its intents would be the
    fallback's.
    """
    made, failed = int(details.get("llm_calls") or 0), int(details.get("failed") or 0)
    if not failed or made:
        return Outcome(
            True,
            f"{made:,} calls answered" if made else "no call was needed",
            {"answered": made, "failed": failed},
        )
    reason = _reason(settings)
    remedy = (
        "start it and check the settings `endpoint` or `llm`, then re-execute from failure; or set "
        'intents.source = "encoder" to go on without it'
    )
    return Outcome(
        False,
        f"all {failed:,} calls to the language model failed ({reason}); {remedy}",
        {"answered": 0, "failed": failed, "reason": reason},
    )


def calls_answered(settings: Settings, details: Mapping[str, Any]) -> Outcome:
    """Warn of calls that failed among others that were answered; the next run makes them again."""
    made, failed = int(details.get("llm_calls") or 0), int(details.get("failed") or 0)
    text = f"{failed:,} of {made + failed:,} calls failed"
    return Outcome(
        not failed,
        f"{text} ({_reason(settings)}); the next run makes them again" if failed else text,
        {"answered": made, "failed": failed},
    )


def _reason(settings: Settings) -> str:
    file = settings.home / "intents" / RETRIES
    try:
        reasons = [str(json.loads(line)["reason"]) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, KeyError, TypeError, ValueError):
        reasons = []
    if not reasons:
        return "no reason was kept"
    kinds = failure_kinds(reasons)
    if len(kinds) == 1:
        return reasons[0]
    return "; ".join(f"{count:,} x {kind}" for kind, count in kinds.items())
