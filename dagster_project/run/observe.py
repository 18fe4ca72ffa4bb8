"""What sensors look at: new files, the state of the live half, the quality of what serves. Plain data, no
Dagster.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass

from dagster_project.live import replay as live_run
from dagster_project.models import gates, promotion
from dagster_project.models import train as training_run
from dagster_project.run.inputs import input_files
from feature_repo.contract.settings import Settings
from streaming.topics import watch as kafka_watch

MAX_LAG = 10_000  # clicks; about 20 s of work of one consumer
MAX_DEAD_SHARE = 0.05
QUALITY_DROP = 0.10  # relative to the model that served before
RECENT = 500  # records of each partition that latency is taken over


def files_cursor(settings: Settings) -> str:
    """Return a hash of the dataset folder's names, sizes and times; empty when there is no folder of one's
    own.
    """
    listed = input_files(settings)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest() if listed else ""


@dataclass(frozen=True)
class LiveState:
    """The live half at one moment.

    Parameters
    ----------
    at : float
        Seconds since 1970 UTC.
    group : GroupState
        Offsets.
    model_version : str or None
        What is promoted.
    """

    at: float
    group: kafka_watch.GroupState
    model_version: str | None

    def cursor(self) -> str:
        """Return what the next look needs to know of this one."""
        return json.dumps(
            {
                "at": self.at,
                "end": sum(self.group.ends.values()),
                "answers": self.group.answers,
                "dead": self.group.dead_letters,
            }
        )


def live_state(settings: Settings) -> LiveState | None:
    """Look at broker and group; none when no broker answers."""
    group = kafka_watch.group_state(settings)
    return None if group is None else LiveState(time.time(), group, training_run.promoted_version(settings))


def rates(state: LiveState, cursor: str | None) -> dict[str, float]:
    """Return clicks, answers and dead letters a second since the last look; empty on the first look.

    Parameters
    ----------
    state : LiveState
        Now.
    cursor : str, optional
        Of the last look.

    Returns
    -------
    dict
        ``clicks_per_second``, ``answers_per_second``, ``dead_letters_per_second``.
    """
    before = json.loads(cursor) if cursor else None
    if not before or state.at <= before["at"]:
        return {}
    seconds = state.at - before["at"]
    now = {
        "clicks": sum(state.group.ends.values()),
        "answers": state.group.answers,
        "dead_letters": state.group.dead_letters,
    }
    then = {"clicks": before["end"], "answers": before["answers"], "dead_letters": before["dead"]}
    return {f"{name}_per_second": round(max(0, now[name] - then[name]) / seconds, 3) for name in now}


def troubles(state: LiveState) -> list[str]:
    """List what a person should know of: lag, dead letters; one line each with the remedy."""
    found = []
    if state.group.lag > MAX_LAG:
        found.append(
            f"{state.group.lag:,} clicks wait for an answer; start another `python -m streaming consume`, "
            "up to one a partition"
        )
    total = sum(state.group.ends.values())
    if total and state.group.dead_letters / total > MAX_DEAD_SHARE:
        found.append(
            f"{state.group.dead_letters:,} of {total:,} clicks are dead letters; see `python -m streaming "
            "dlq list`"
        )
    return found


def quality_dropped(settings: Settings) -> str | None:
    """Say in one line that the serving model is clearly worse than the one before it; none when all is
    well.
    """
    served = [entry["version"] for entry in promotion.history(settings)]
    values = []
    for version in served[-2:]:
        rows = training_run.manifest(settings, version).get("metrics", {}).get("rows", [])
        found = training_run.Candidate(version, "", 0, {}, 0.0, {"rows": rows}, 0.0).metric(
            gates.CANDIDATE, gates.METRIC
        )
        values.append(found["mean"] if found else 0.0)
    if len(values) < 2 or values[1] >= values[0] * (1 - QUALITY_DROP):
        return None
    return (
        f"{gates.METRIC} fell from {values[0]:.4f} ({served[-2]}) to {values[1]:.4f} ({served[-1]}); the "
        "job `rollback` goes back"
    )


def latency(settings: Settings) -> dict[str, float]:
    """Return p50 and p99 from click to answer, in milliseconds, of the most recent answers; empty when there
    is none.
    """
    found = live_run.measure(settings, live_run.Ends.before_now(settings, RECENT))
    return {name: found[name] for name in ("p50_ms", "p99_ms") if found[name] is not None}
