"""The `training-set` job: one case a position, with the features and intents known before its target, read
through Feast at pinned versions.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.files import replace_file
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import SESSION_FEATURES, SESSION_INTENTS, SESSIONS, TRAINING_SET
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.lake import Lake, MergeResult
from spark_jobs.lake.log import DeltaLog

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SERVICE = "session_ranker_v1"
READ = (SESSIONS, SESSION_FEATURES, SESSION_INTENTS)  # tables that a case is made of
RECORDED = (*READ, "clicks", "items", "item_vectors")  # versions that the manifest names


def manifest_file(settings: Settings) -> Path:
    """Return the file that says from which Delta versions the training set was made."""
    return settings.home / "training_set_manifest.json"


def run(
    lake: Lake,
    *,
    date: datetime.date | None = None,
    pin: str | Mapping[str, int] | None = None,
) -> JobResult:
    """Bring `training_set` up to date with `sessions`, `session_features` and `session_intents`.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings ``session.min_length``, ``session.cases_per_session``,
        ``session.max_cases``.
    date : datetime.date, optional
        Only sessions that start on this day (UTC).
    pin : str or mapping, optional
        Table to Delta version, as mapping or as ``sessions=3,session_features=7``; other tables are read at
        their newest version.

    Returns
    -------
    JobResult
        `details`: ``delta_versions``, ``cases`` (by split), ``without_features``, ``without_intents``,
        ``manifest``, ``deleted``, ``overtaken`` (sessions left out by this run, see Notes).

    Raises
    ------
    JobError
        A table is missing or behind, a version does not exist, or the join did not give one row a case.

    Notes
    -----
    A session whose clicks arrive after those of a newer session of the same visitor was never the visitor's
    current one: what was known before its target is the newer session. It is no case; a model would learn to
    guess the past from the future.
    """
    from pyspark.sql import functions as F

    started = time.monotonic()
    versions = _versions(lake.settings, pin)
    rules = lake.settings.session
    bounds = {
        "min_length": rules.min_length,
        "cases_per_session": rules.cases_per_session,
        "max_cases": rules.max_cases,
    }
    made = {"delta_versions": {table: versions[table] for table in READ if table in versions}, **bounds}
    result, overtaken = MergeResult(0, 0, lake.version(TRAINING_SET)), 0
    if date is not None or lake.metadata(TRAINING_SET) != made:
        cases = _cases(lake, versions)
        if date is not None:
            cases = cases.where(F.col("starts_on") == F.lit(date))
        with lake.as_job_error(TRAINING_SET), lake.staged(cases) as asked:
            result, overtaken = _write(lake, asked, versions, made if date is None else None)
    version = lake.version(TRAINING_SET)
    figures = _figures(lake)
    _write_manifest(lake.settings, version, versions, figures)
    details = {
        "delta_versions": versions,
        **figures,
        "manifest": str(manifest_file(lake.settings)),
        "deleted": result.deleted,
        "overtaken": overtaken,
    }
    return JobResult(
        TRAINING_SET,
        figures["rows"],
        result.inserted,
        result.updated,
        0,
        version,
        time.monotonic() - started,
        details,
    )


def _versions(settings: Settings, pin: str | Mapping[str, int] | None) -> dict[str, int]:
    pinned = dict(pin) if isinstance(pin, Mapping) else parse_pins(pin or "")
    unknown = sorted(set(pinned) - set(RECORDED))
    if unknown:
        raise JobError(f"--pin names '{unknown[0]}', which no case is made of; pin one of {', '.join(READ)}")
    newest = {table: DeltaLog(settings.table(table)).version() for table in RECORDED}
    return {table: pinned.get(table, version) for table, version in newest.items() if version >= 0}


def parse_pins(text: str) -> dict[str, int]:
    """Read ``TABLE=VERSION[,TABLE=VERSION...]``.

    Raises
    ------
    JobError
        If it is not of that form.

    Examples
    --------
    >>> parse_pins("sessions=3, session_features=7")
    {'sessions': 3, 'session_features': 7}
    """
    pins = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        table, _, version = pair.partition("=")
        if not version.strip().isdigit():
            raise JobError(
                f"--pin '{pair}' is no TABLE=VERSION; write e.g. --pin sessions=3,session_features=7"
            )
        pins[table.strip()] = int(version)
    return pins


def _cases(lake: Lake, versions: Mapping[str, int]) -> DataFrame:
    """Return one row a position but the first: the prefix's last click, the target, and the last instant at
    which it was not known yet.

    Of a session at most ``session.cases_per_session`` positions, evenly spread, its last one always; of a
    split at most ``session.max_cases``, the last positions first and of the others an even draw by hash.

    Clicks of one session often share a second, so "features as of the prefix's time" could hold the target.
    What was known just before the target's own row was created can not; `created` grows strictly within a
    session.
    """
    from pyspark.sql import functions as F

    sessions = lake.read(SESSIONS, versions.get(SESSIONS)).where(
        F.col("length") >= max(2, lake.settings.session.min_length)
    )
    rows = lake.read(SESSION_FEATURES, versions.get(SESSION_FEATURES))
    target_known = rows.select(
        "session_id", F.col("event_id").alias("_target"), (F.unix_micros("created") - 1).alias("_us")
    )
    positions = sessions.select(
        "session_id",
        "split",
        "items",
        "times",
        "event_ids",
        "first_position",
        "length",
        F.to_date("session_start").alias("starts_on"),
        F.explode(F.expr(_places(lake.settings.session.cases_per_session))).alias("_place"),
    )
    cases = positions.select(
        "session_id",
        "split",
        "starts_on",
        F.expr("times[_place - 1]").alias("prefix_time"),
        F.expr("items[_place]").alias("target"),
        F.expr("event_ids[_place]").alias("_target"),
        (F.col("first_position") + F.col("_place")).alias("position"),
        (F.col("_place") == F.col("length") - 1).alias("is_last"),
        F.col("first_position").alias("first_place"),
    )
    cases = _drawn(sessions, cases, lake.settings.session.max_cases)
    known = F.timestamp_micros(F.col("_us")).alias("known_at")
    return (
        cases.join(target_known, ["session_id", "_target"], "left").select("*", known).drop("_us", "_target")
    )


def _places(most: int) -> str:
    """SQL: the places of a session's targets, the last one and others evenly spread before it."""
    count = f"least(length - 1, {most})"
    return (
        f"transform(sequence(0, {count} - 1), i -> cast(length - 1 - floor(i * (length - 1) / {count}) as "
        "int))"
    )


def _drawn(sessions: DataFrame, cases: DataFrame, most: int) -> DataFrame:
    """Keep at most so many cases of a split; nothing is sorted where no split has more."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    largest = (
        sessions.groupBy("split")
        .agg(F.sum(F.col("length") - 1).alias("cases"))
        .agg(F.max("cases"))
        .first()[0]
    )
    if largest is None or largest <= most:
        return cases
    order = Window.partitionBy("split").orderBy(
        F.desc("is_last"), F.xxhash64("session_id", "position"), "session_id", "position"
    )
    return (
        cases.withColumn("_number", F.row_number().over(order))
        .where(F.col("_number") <= most)
        .drop("_number")
    )


def _write(
    lake: Lake,
    cases: DataFrame,
    versions: Mapping[str, int],
    metadata: Mapping[str, Any] | None,
) -> tuple[MergeResult, int]:
    """Join, check that each case kept its row, leave out overtaken sessions, write; also say how many those
    were.
    """
    from pyspark.sql import functions as F

    counted = cases.agg(F.count("*").alias("cases"), F.count("known_at").alias("known")).first()
    if counted["known"] < counted["cases"]:
        lacking = counted["cases"] - counted["known"]
        raise JobError(
            f"{lacking:,} of {counted['cases']:,} cases have no row in 'session_features'; run `python -m "
            "spark_jobs session-features`"
        )
    if not counted["cases"]:
        if metadata is None:  # a day without sessions
            return MergeResult(0, 0, lake.version(TRAINING_SET)), 0
        raise JobError(_no_case(lake.settings))
    try:
        joined = with_features(lake.settings, cases, versions)
    except (ValueError, RuntimeError, LookupError) as error:
        # Feast's and the offline store's own; each names what is missing
        raise JobError(
            f"features of the training set cannot be read: {' '.join(str(error).split())[:400]}"
        ) from error
    with lake.staged(joined) as rows:
        ahead = F.coalesce(F.col("session_start") > F.col("event_timestamp"), F.lit(False))
        late = F.countDistinct(F.when(ahead, F.struct("session_id", "first_place")))
        joined_rows = rows.agg(F.count("*").alias("rows"), late.alias("overtaken")).first()
        if joined_rows["rows"] != counted["cases"]:
            raise JobError(
                f"the as-of join gave {joined_rows['rows']:,} rows for {counted['cases']:,} cases; nothing "
                "was written, please report this"
            )
        usable = (rows.where(~ahead) if joined_rows["overtaken"] else rows).drop("first_place")
        if metadata is None:
            return lake.merge(TRAINING_SET, usable), joined_rows["overtaken"]
        return lake.synchronise(TRAINING_SET, usable, metadata=metadata), joined_rows["overtaken"]


def _no_case(settings: Settings) -> str:
    gap = settings.session.gap_minutes
    rule = (
        "none, so ids have one click each" if gap is None else f"{gap:g}; a longer pause starts a new session"
    )
    return (
        f"no session has {max(2, settings.session.min_length)} clicks or more, so there is no case to learn "
        f"from (session.gap_minutes = {rule}); set a wider session.gap_minutes or none, and run sessionise, "
        "session-features and training-set again"
    )


def with_features(settings: Settings, cases: DataFrame, versions: Mapping[str, int]) -> DataFrame:
    """Join features and intents to cases, as of their instants, through Feast.

    Parameters
    ----------
    settings : Settings
        Of the feature store.
    cases : DataFrame
        ``session_id``, ``position``, ``prefix_time`` (for the intents), ``known_at`` (for the features),
        ``is_last`` (whether intents were inferred for this very prefix), and columns to keep.
    versions : mapping
        Delta versions to read.

    Returns
    -------
    DataFrame
        One row a case: its columns, the service's features by name, ``event_timestamp`` = ``prefix_time``.
    """
    from pyspark.sql import functions as F

    from feature_repo.registry import store as feature_repo_store

    store = feature_repo_store.apply(settings)
    names: dict[str, list[str]] = {}
    for projection in store.get_feature_service(SERVICE).feature_view_projections:
        names[projection.name] = [f"{projection.name}:{feature.name}" for feature in projection.features]
    pins = {
        table: version for table, version in versions.items() if table in (SESSION_FEATURES, SESSION_INTENTS)
    }
    with feature_repo_store.pinned(pins):
        asked = cases.withColumn("event_timestamp", F.col("known_at"))
        job = store.get_historical_features(
            entity_df=asked, features=names[SESSION_FEATURES], filter_by_created_timestamp=True
        )
        known = (
            job.to_spark_df()
            .drop("event_timestamp", "is_last")
            .withColumn("event_timestamp", F.col("prefix_time"))
        )
        if SESSION_INTENTS not in versions:
            return known
        # Intents are inferred for the prefix of a session's last click; those of an earlier prefix are not
        # handed on to other positions.
        inferred = cases.where(F.col("is_last")).select(
            "session_id", "position", F.col("prefix_time").alias("event_timestamp")
        )
        found = (
            store.get_historical_features(entity_df=inferred, features=names[SESSION_INTENTS])
            .to_spark_df()
            .drop("event_timestamp")
        )
        return known.join(
            found.withColumnRenamed("source", "intent_source"), ["session_id", "position"], "left"
        )


def _figures(lake: Lake) -> dict[str, Any]:
    from pyspark.sql import functions as F

    lake.create(TRAINING_SET)
    counts = (
        F.count("*").alias("rows"),
        F.count_if(F.col("items").isNull()).alias("bare"),
        F.count_if(F.col("long_vector").isNull()).alias("blank"),
    )
    rows = lake.read(TRAINING_SET).groupBy("split").agg(*counts).collect()
    return {
        "rows": sum(row["rows"] for row in rows),
        "cases": {row["split"]: row["rows"] for row in sorted(rows, key=lambda row: str(row["split"]))},
        "without_features": sum(row["bare"] for row in rows),
        "without_intents": sum(row["blank"] for row in rows),
    }


def _write_manifest(
    settings: Settings, version: int, versions: Mapping[str, int], figures: Mapping[str, Any]
) -> None:
    body = {
        "table": TRAINING_SET,
        "version": version,
        "delta_versions": {**versions, TRAINING_SET: version},
        "feature_service": SERVICE,
        **figures,
        "read_again": "python -m spark_jobs training-set --pin "
        + ",".join(f"{table}={versions[table]}" for table in READ if table in versions),
    }
    replace_file(manifest_file(settings), json.dumps(body, indent=1) + "\n")
