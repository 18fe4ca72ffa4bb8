"""The `quarantine` job: prints the rows that ingest refused, by reason. Reads the table without Spark and
writes nothing.
"""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.refusals import Tally
from feature_repo.contract.settings import Settings
from feature_repo.contract.tables import QUARANTINE
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.log import DeltaLog, LakeError

SHOWN = 20  # rows printed without --json


def rows(settings: Settings, reason: str | None = None) -> pa.Table:
    """Read refused rows, in the order of ingests and lines.

    Parameters
    ----------
    settings : Settings
        The home whose lake it is.
    reason : str, optional
        Only rows whose reason holds this text, in any case.

    Returns
    -------
    pa.Table
        Columns of ``columns.QUARANTINE_SCHEMA``.

    Raises
    ------
    JobError
        There is no such table yet, or it cannot be read.
    """
    log = DeltaLog(settings.table(QUARANTINE))
    if not log.exists():
        raise JobError(
            f"table '{QUARANTINE}' does not exist at {settings.table(QUARANTINE)}; run `python -m "
            "spark_jobs ingest` first"
        )
    try:
        found = log.read()
    except LakeError as error:
        raise JobError(str(error)) from None
    if reason:
        found = found.filter(pc.match_substring(found.column("reason"), reason, ignore_case=True))
    return found.sort_by([("ingest_time", "ascending"), ("line", "ascending")])


def run(settings: Settings, *, reason: str | None = None) -> JobResult:
    """Count refused rows by reason.

    Parameters
    ----------
    settings : Settings
    reason : str, optional
        As in `rows`.

    Returns
    -------
    JobResult
        `rows` of the table that were chosen. `details`: ``refused_by`` (kind of reason to rows), ``examples``
        (kind to the first whole
        reason), ``refused`` (the rows themselves: source, line, reason, raw, ingest_time).
    """
    started = time.monotonic()
    chosen = rows(settings, reason)
    tally = Tally()
    tally.add(chosen.column("reason").to_pylist())
    listed: list[dict[str, Any]] = chosen.to_pylist()
    details = {"refused_by": tally.ranked(), "examples": tally.examples, "refused": listed}
    return JobResult(
        QUARANTINE,
        chosen.num_rows,
        0,
        0,
        chosen.num_rows,
        DeltaLog(settings.table(QUARANTINE)).version(),
        time.monotonic() - started,
        details,
    )


def shown(result: JobResult) -> str:
    """Return what is printed for people: the kinds of reason with an example each, then the first rows."""
    details = result.details
    lines = [f"{result.rows:,} rows refused"]
    lines += [
        f"{count:>9,}  {kind}: {' '.join(details['examples'][kind].split())[:300]}"
        for kind, count in details["refused_by"].items()
    ]
    for row in details["refused"][:SHOWN]:
        lines.append(f"{row['source']}: {' '.join(str(row['reason']).split())[:300]}")
    if result.rows > SHOWN:
        lines.append(f"... and {result.rows - SHOWN:,} more; --json prints all, --reason TEXT some of them")
    return "\n".join(lines)
