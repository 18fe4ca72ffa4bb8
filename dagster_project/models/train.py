"""Trains, measures and saves one model out of the lake's tables; decides whether that is needed at all. Knows
nothing of Dagster.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dagster_project import code
from feature_repo.contract import tables as columns
from feature_repo.contract.lazy import lazy
from feature_repo.contract.settings import Settings
from feature_repo.contract.version import code_commit
from model.config import ModelConfig
from model.evaluate.calibration import calibration
from model.evaluate.judge import evaluate
from spark_jobs.lake.log import DeltaLog

if TYPE_CHECKING:
    import pyarrow as pa

    from model.data import folder as folders
    from model.data.folder import Dataset
    from model.evaluate.judge import Seen
    from model.intent.ground import live
    from model.recommender import artifact, recommender
    from model.recommender import train as fitting
    from model.recommender.train import Trained
    from model.study import case_intents
    from model.study import quality as report
    from model.study.quality import QualityReport
else:
    folders = lazy("model.data.folder")  # pyarrow asks for pandas there
    live = lazy("model.intent.ground.live")
    artifact = lazy("model.recommender.artifact")
    recommender = lazy("model.recommender.recommender")
    fitting = lazy("model.recommender.train")
    case_intents = lazy("model.study.case_intents")
    report = lazy("model.study.quality")

READS = (columns.TRAINING_SET, columns.SESSIONS, columns.ITEMS, columns.ITEM_VECTORS)
LATEST = "latest_candidate.json"


@dataclass(frozen=True)
class Candidate:
    """A trained model on disk, and what is known of it.

    Parameters
    ----------
    version : str
        Name of its folder under ``models``.
    identity : str
        Hash of code and settings.
    cases : int
        Rows of the training set that it was made of.
    delta_versions : dict
        Table to Delta version.
    seconds : float
        Wall time of training and measuring.
    report : dict
        The quality report as plain data: ``rows`` with role, name and metrics.
    trained_at : float
        Seconds since 1970 UTC.
    reused : bool
        True when this run kept an earlier model because little had changed.
    """

    version: str
    identity: str
    cases: int
    delta_versions: dict[str, int]
    seconds: float
    report: dict[str, Any]
    trained_at: float
    reused: bool = False
    growth: float = field(default=0.0)

    def metric(self, role: str, name: str) -> dict[str, float] | None:
        """Return mean, low and high of one metric of one row, none when the report has no such row or there
        was no case to measure.
        """
        for row in self.report.get("rows", []):
            if row["role"] == role:
                found = row["metrics"]["metrics"].get(name)
                return (
                    None
                    if found is None or found["mean"] is None
                    else {key: float(found[key]) for key in ("mean", "low", "high")}
                )
        return None


def code_version() -> str:
    """Hash the code that a model is trained, measured and saved by (12 hexadecimal digits)."""
    return code.code_version(__name__)


def identity_of(config: ModelConfig) -> str:
    """Hash the code and settings that a model is made with."""
    digest = hashlib.sha256(code_version().encode())
    digest.update(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode())
    return digest.hexdigest()[:12]


def read_tables(settings: Settings) -> tuple[dict[str, pa.Table], dict[str, int]]:
    """Read what training needs, each table at one version.

    Parameters
    ----------
    settings : Settings
        Where the tables are.

    Returns
    -------
    tuple of dict and dict
        Tables by name, and the versions that were read.

    Raises
    ------
    LakeError
        A table is missing.
    """
    versions = {name: DeltaLog(settings.table(name)).version() for name in READS}
    tables = {
        name: DeltaLog(settings.table(name)).read(version=version)
        for name, version in versions.items()
        if version >= 0 or name in READS[:2]
    }
    return tables, versions


def dataset_of(tables: Mapping[str, pa.Table]) -> Dataset:
    """Make the model's dataset of the lake's tables."""
    return folders.from_tables(
        tables[columns.TRAINING_SET],
        tables[columns.SESSIONS],
        tables.get(columns.ITEMS),
        tables.get(columns.ITEM_VECTORS),
    )


def reusable(settings: Settings, config: ModelConfig, min_growth: float) -> Candidate | None:
    """Return the latest candidate if training again would be wasted.

    Parameters
    ----------
    settings : Settings
        Where models and tables are.
    config : ModelConfig
        What would be trained.
    min_growth : float
        Share of new cases from which on a new training pays.

    Returns
    -------
    Candidate or None
        With ``reused=True``; none when code, settings or enough of the data changed, or its folder is gone.
    """
    found = latest(settings)
    if (
        found is None
        or found.identity != identity_of(config)
        or not (settings.models_dir / found.version / "manifest.json").exists()
    ):
        return None
    table = DeltaLog(settings.table(columns.TRAINING_SET))
    cases = table.snapshot().rows()
    growth = abs(cases - found.cases) / max(1, found.cases)
    unchanged = found.delta_versions.get(columns.TRAINING_SET) == table.version()
    if not unchanged and growth >= min_growth:
        return None
    return Candidate(**{**vars(found), "reused": True, "growth": growth})


def latest(settings: Settings) -> Candidate | None:
    """Return the candidate of the last training, none before the first."""
    file = settings.models_dir / LATEST
    if not file.exists():
        return None
    try:
        return Candidate(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        return None  # written by another version of this code: train again, which writes it anew


# One training, in this order; a crash after any step leaves the promoted model untouched, and the next run
# starts over (training from its checkpoint):
#   1 read pinned tables   2 train and measure   3 fit what passed on all sessions   4 save the folder, whole
#                          or not at all
#   5 note it as the latest candidate
def train_candidate(settings: Settings, config: ModelConfig, *, progress: Callable[[str], None]) -> Candidate:
    """Train on the lake, measure against every baseline and control, save.

    Parameters
    ----------
    settings : Settings
        Where tables and models are.
    config : ModelConfig
        What to train.
    progress : callable
        Hears one line a stage.

    Returns
    -------
    Candidate
        Saved, not promoted.
    """
    started = time.time()
    tables, versions = read_tables(settings)
    dataset = case_intents.filled(dataset_of(tables), settings)
    progress(
        f"{len(dataset.train):,} training sessions, {len(dataset.valid):,} validation and "
        f"{len(dataset.test):,} test cases, {len(dataset.catalogue):,} items"
    )
    quality = report.quality_table(dataset, config, progress=progress)
    plain = quality.to_dict()
    plain["rows"] = ranked([*plain["rows"], *promoted_row(settings, dataset, quality.seen)])
    plain["calibration"] = calibration(
        recommender.Scorer.of(quality.candidate), dataset.test, without_seen=quality.seen == "removed"
    )
    served = _served(quality, progress) if config.refit_before_serving and plain["passes"] else None
    folder = artifact.save_version(
        served or quality.candidate,
        settings.models_dir,
        measured=quality.candidate if served else None,
        metrics=plain,
        delta_versions=versions,
        code_commit=code_commit() or "unknown",
        feature_list=feature_list(),
        without_seen=fitting.without_seen(dataset, config),
        encoder=encoder_name(tables),
        intent=lambda target: live.export(settings, target),
    )
    made = Candidate(
        folder.name,
        identity_of(config),
        tables[columns.TRAINING_SET].num_rows,
        versions,
        time.time() - started,
        plain,
        started,
    )
    _note(settings, made)
    return made


def _served(quality: QualityReport, progress: Callable[[str], None]) -> Trained | None:
    """Fit the measured recipe on every known session; none where there are no held-out ones to put back."""
    full = quality.dataset.everything()
    if full is None:
        return None
    progress(f"the figures stand; fitting the same recipe on all {len(full.train):,} sessions")
    return fitting.fit_again(full, quality.candidate, "serving")


def promoted_row(settings: Settings, dataset: Dataset, seen: Seen) -> list[dict[str, Any]]:
    """Measure the model that serves on the candidate's own test cases: figures of another test set would say
    nothing.

    Parameters
    ----------
    settings : Settings
        Where the models are.
    dataset : Dataset
        The candidate's.
    seen : str
        Rule about seen items of the candidate's table.

    Returns
    -------
    list of dict
        One row as those of the quality report; none when no model serves, or it knows other items.
    """
    folder = artifact.promoted_dir(settings.models_dir)
    if folder is None or not len(dataset.test):
        return []
    try:
        # What serves has seen the test sessions of its own time; what was measured then has not.
        scorer = artifact.load(
            folder / artifact.MEASURED if (folder / artifact.MEASURED).is_dir() else folder
        )
    except artifact.ArtifactError:
        return []  # of another version of this code: it cannot serve either, so anything is better
    if list(scorer.item_ids) != list(dataset.catalogue.item_ids):
        return []
    started = time.perf_counter()
    metrics = evaluate(scorer, dataset.test, lists=False).metrics(seen)
    return [
        {
            "name": f"serving now: {folder.name}",
            "role": "promoted",
            "metrics": metrics.to_dict(),
            "seconds": round(time.perf_counter() - started, 2),
        }
    ]


def ranked(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a quality report, best first."""
    return sorted(
        rows,
        key=lambda row: report.worth(row["metrics"]["metrics"][report.GATE_METRICS[0]]["mean"]),
        reverse=True,
    )


def encoder_name(tables: Mapping[str, pa.Table]) -> str:
    """Return the encoder whose vectors the model was made with; empty without any."""
    vectors = tables.get(columns.ITEM_VECTORS)
    return str(vectors["encoder"][0]) if vectors is not None and vectors.num_rows else ""


def feature_list() -> list[str]:
    """Return the features of `session_ranker_v1` as ``view:feature``, so that the manifest says what the
    model reads.
    """
    return [f"session_features:{name}" for name, _ in columns.SESSION_FEATURE_FIELDS] + [
        f"session_intents:{name}" for name in ("source", "long_vector", "short_vector")
    ]


def _note(settings: Settings, made: Candidate) -> None:
    temporary = settings.models_dir / f".{LATEST}.{os.getpid()}"
    temporary.write_text(json.dumps(vars(made)), encoding="utf-8")
    temporary.replace(settings.models_dir / LATEST)


def promoted_version(settings: Settings) -> str | None:
    """Return the name of the promoted model's folder, none before the first promotion."""
    folder = artifact.promoted_dir(settings.models_dir)
    return folder.name if folder else None


def manifest(settings: Settings, version: str) -> dict[str, Any]:
    """Read the manifest of a model version; empty when there is none."""
    file = settings.models_dir / version / "manifest.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def versions(settings: Settings) -> list[str]:
    """List the model versions on disk, oldest first."""
    found = [
        file.parent
        for file in settings.models_dir.glob("*/manifest.json")
        if not file.parent.is_symlink() and file.parent.name != "promoted" and file.parent.name[0] != "."
    ]
    return [
        folder.name
        for folder in sorted(
            found, key=lambda folder: (str(manifest(settings, folder.name).get("created", "")), folder.name)
        )
    ]
