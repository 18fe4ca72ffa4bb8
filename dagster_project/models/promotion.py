"""Which model serves, and which served before: promote, roll back, and the record of both."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from dagster_project.models import train as training_run
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings

if TYPE_CHECKING:
    from model.recommender import artifact
else:
    artifact = lazy("model.recommender.artifact")

RECORD = "promotions.jsonl"


class PromotionError(RuntimeError):
    """A promotion or rollback that cannot be; the text names the version and the remedy."""


def history(settings: Settings) -> list[dict[str, Any]]:
    """Return every promotion and rollback, oldest first: ``version``, ``at`` (seconds since 1970),
    ``why``.
    """
    file = settings.models_dir / RECORD
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def promote(settings: Settings, version: str, why: str) -> bool:
    """Let a model serve; the consumer picks it up without a restart.

    Parameters
    ----------
    settings : Settings
        Where the models are.
    version : str
        Name of the model's folder.
    why : str
        Kept in the record.

    Returns
    -------
    bool
        False when it served already.

    Raises
    ------
    PromotionError
        There is no such version.
    """
    if version not in training_run.versions(settings):
        raise PromotionError(
            f"there is no model version '{version}' under '{settings.models_dir}'; there are "
            f"{training_run.versions(settings)[-5:]}"
        )
    if training_run.promoted_version(settings) == version:
        return False
    artifact.promote(settings.models_dir, version)
    with (settings.models_dir / RECORD).open("a", encoding="utf-8") as record:
        record.write(json.dumps({"version": version, "at": time.time(), "why": why}) + "\n")
    return True


def previous(settings: Settings) -> str:
    """Return the version that served before the present one and is still on disk.

    Raises
    ------
    PromotionError
        There is none.
    """
    present, there = training_run.promoted_version(settings), set(training_run.versions(settings))
    for entry in reversed(history(settings)):
        if entry["version"] != present and entry["version"] in there:
            return str(entry["version"])
    raise PromotionError(
        f"no earlier model to go back to from '{present}'; name one of {sorted(there)} in the job's config"
    )
