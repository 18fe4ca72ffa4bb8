"""The command line of the batch jobs: ``python -m spark_jobs JOB``. Reads the settings, starts Spark, runs
one job, prints its result.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from feature_repo.contract import tables as columns
from feature_repo.contract.locks import only_writer
from feature_repo.contract.settings import Settings, SettingsError, load_settings
from spark_jobs.job import JobError, JobResult
from spark_jobs.lake.lake import Lake


@dataclass(frozen=True)
class Flag:
    """One flag of a job; `setting` = dotted setting it overrides, none = handed to the job's ``run`` by its
    name.
    """

    name: str
    help: str
    kind: Callable[[str], Any] = str
    setting: str | None = None


@dataclass(frozen=True)
class Job:
    """One word of the command line: the module with ``run``, its flags, the table that it writes, and whether
    it needs Spark.
    """

    module: str
    help: str
    flags: tuple[Flag, ...] = ()
    table: str | None = None
    spark: bool = True
    actions: tuple[str, ...] = ()  # a word behind the job, which does this alone


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no date; expected YYYY-MM-DD") from None


_UNTIL = Flag("until", "with --date: the last of several days, YYYY-MM-DD", _date)
_BROKER = Flag(
    "bootstrap-servers",
    "Kafka broker, host:port[,host:port]; none = the embedded one",
    setting="kafka.bootstrap_servers",
)
JOBS: dict[str, Job] = {
    "ingest": Job(
        "ingest.job",
        "clicks and items of a dataset folder, ML-100K or Kafka into Delta",
        (
            Flag("dataset", "dataset folder (clicks.*, items.*); none = ML-100K", Path, "dataset.path"),
            Flag("kafka", "read the clicks topic from where the table stops, instead of files", bool),
            Flag(
                "score-log", "commit what the consumer served (HOME/score_log) to the table score_log", bool
            ),
            Flag("max-offsets", "with --kafka: at most so many records of each partition", int),
            _BROKER,
            _UNTIL,
        ),
        columns.CLICKS,
    ),
    "quarantine": Job(
        "ingest.quarantine",
        "print the rows that ingest refused, by reason (starts no Spark)",
        (Flag("reason", "only rows whose reason holds this text", str),),
        spark=False,
    ),
    "sessionise": Job("sessions.cut", "sessions by the gap rule, split by time", (_UNTIL,), columns.SESSIONS),
    "item-vectors": Job("items.vectors", "title vectors of the text encoder", table=columns.ITEM_VECTORS),
    "session-text": Job(
        "sessions.text", "long and short prompts of each session", (_UNTIL,), columns.SESSION_TEXT
    ),
    "intents": Job(
        "intents.job",
        "long and short intents: LLM under a budget, cached, grounded on items",
        (
            Flag("max-calls", "at most so many sessions are sent to the LLM", int, "intents.max_calls"),
            Flag("source", "llm, endpoint, encoder or none", str, "intents.source"),
            Flag("explain", "print prompt, answer, grounding and cache key of one session", str),
            Flag("prune", "drop cached answers that no table refers to", bool),
            Flag(
                "misread",
                (
                    "drop cached answers that older versions misread (thinking, preambles, refusals); they "
                    "are asked again"
                ),
                bool,
            ),
            _UNTIL,
        ),
        columns.SESSION_INTENTS,
        actions=("prune",),
    ),
    "intents-report": Job("intents.report", "what the intents run did: calls, cached, grounded, copied"),
    "session-features": Job(
        "sessions.features", "features after each click, by the one fold", (_UNTIL,), columns.SESSION_FEATURES
    ),
    "item-popularity": Job(
        "items.popularity", "daily click counts and ranks of each item", table=columns.ITEM_POPULARITY
    ),
    "training-set": Job(
        "sessions.training_set",
        "cases with the features known at their time, through Feast",
        (Flag("pin", "TABLE=VERSION[,...]: Delta versions to read instead of the newest", str),),
        columns.TRAINING_SET,
    ),
    "replay": Job(
        "live.replay",
        "clicks to a Kafka topic in their original order",
        (
            Flag("topic", "topic to send to; none = kafka.clicks_topic", str),
            Flag("rate", "clicks a second; none = as fast as possible", float),
            Flag("limit", "at most so many clicks", int),
            Flag("held-out", "send the clicks that ingest held back, instead of the table's", bool),
            Flag("from-time", "first event time, ISO 8601", str),
            Flag("to-time", "first event time not sent any more, ISO 8601", str),
            Flag("pin", "Delta version of clicks to read", int),
            _BROKER,
        ),
    ),
    "parity": Job(
        "live.parity",
        "features served live against a batch recomputation",
        (Flag("no-online", "leave the online store out", bool),),
    ),
}


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; none = of this process.

    Returns
    -------
    int
        0 done; 1 the job failed, the input is bad (one line on stderr says which), or parity found a
        difference; 130 interrupted.
    """
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("py4j", "py4j.clientserver", "kafka", "feast", "feast.repo_config"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # of libraries, about their own future; ours are log lines and errors
    home = Path(".intentstore")
    try:
        settings = _settings(given)
        home = settings.home
        result = _run(given.job, settings, given)
    except (JobError, SettingsError) as error:
        return _fail(given.job, " ".join(str(error).split()))
    except KeyboardInterrupt:
        return _fail(
            given.job, "interrupted; every table is at its last whole version, run the job again", 130
        )
    except Exception as error:  # noqa: BLE001
        # the last resort of an entry point: one line for the user, the trace in a file
        return _fail(given.job, _unexpected(error, home))
    print(result.to_json() if given.json else _shown(given.job, result))
    return 1 if given.job == "parity" and result.refused else 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m spark_jobs",
        description="One batch job of IntentStore; each writes Delta tables and may be run again at will.",
    )
    words = parser.add_subparsers(dest="job", required=True, metavar="JOB", parser_class=_Parser)
    for word, job in JOBS.items():
        sub = words.add_parser(word, help=job.help, description=job.help)
        sub.add_argument("--config", type=Path, help="settings file; none = intentstore.toml of this folder")
        sub.add_argument("--date", type=_date, help="one day only, YYYY-MM-DD")
        sub.add_argument("--json", action="store_true", help="print the result as one line of JSON")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override one setting, e.g. session.gap_minutes=30",
        )
        if job.actions:
            sub.add_argument(
                "action",
                nargs="?",
                choices=job.actions,
                help="do this alone, without the job's run: " + ", ".join(job.actions),
            )
        for flag in job.flags:
            if flag.kind is bool:
                sub.add_argument(f"--{flag.name}", action="store_true", help=flag.help)
            else:
                sub.add_argument(f"--{flag.name}", type=flag.kind, help=flag.help)
    return parser


def _settings(given: argparse.Namespace) -> Settings:
    overrides: dict[str, Any] = {}
    for pair in given.set:
        key, separator, value = pair.partition("=")
        if not separator:
            raise SettingsError(f"--set '{pair}' is no KEY=VALUE; write e.g. --set session.gap_minutes=30")
        overrides[key.strip()] = value
    for flag in JOBS[given.job].flags:
        if flag.setting:
            overrides[flag.setting] = getattr(given, flag.name.replace("-", "_"))
    return load_settings(given.config, os.environ, overrides)


def _run(word: str, settings: Settings, given: argparse.Namespace) -> JobResult:
    job = JOBS[word]
    if (until := getattr(given, "until", None)) is not None and (given.date is None or until < given.date):
        raise JobError(
            f"--until {until} needs a --date before it, got {given.date}; give the first and the last day"
        )
    names = [flag.name.replace("-", "_") for flag in job.flags if not flag.setting] + ["action"] * bool(
        job.actions
    )
    module = importlib.import_module(f"spark_jobs.{job.module}")
    arguments = {name: getattr(given, name) for name in names}
    result: JobResult
    if not job.spark:
        result = module.run(settings, **arguments)
        return result
    if word == "ingest" and not (given.kafka or given.score_log):
        module.look(settings)  # before Spark, whose start takes seconds
        arguments["max_refused_share"] = settings.dataset.max_refused_share
    from spark_jobs.session import spark_session

    signal.signal(signal.SIGTERM, _interrupt)
    spark = spark_session(settings, f"intentstore {word}")
    try:
        with _only_writer(job, settings, given):
            result = module.run(Lake(spark, settings), date=given.date, **arguments)
    finally:
        spark.stop()
    return result


def _only_writer(job: Job, settings: Settings, given: argparse.Namespace) -> AbstractContextManager[None]:
    table = columns.SCORE_LOG if getattr(given, "score_log", False) else job.table
    return only_writer(settings, table) if table else nullcontext()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _fail(word: str, line: str, code: int = 1) -> int:
    print(f"spark_jobs {word}: {line}", file=sys.stderr)
    return code


def _unexpected(error: Exception, home: Path) -> str:
    from spark_jobs.lake.errors import one_line

    line = one_line(error)
    first = line if line.startswith(type(error).__name__) else f"{type(error).__name__}: {line}"
    place = home / "spark" / "error.log"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return first[:400]
    return f"{first[:400]}; the whole report is in {place}"


def _shown(word: str, result: JobResult) -> str:
    module = importlib.import_module(f"spark_jobs.{JOBS[word].module}")
    text: str = module.shown(result) if hasattr(module, "shown") else _table(result)
    return text


def _table(result: JobResult) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=result.table, show_header=False)
    rows = {
        "rows": f"{result.rows:,}",
        "inserted": f"{result.inserted:,}",
        "updated": f"{result.updated:,}",
        "refused": f"{result.refused:,}",
        "version": str(result.delta_version),
        "seconds": f"{result.seconds:.1f}",
    }
    for name, value in (rows | {name: str(value) for name, value in result.details.items()}).items():
        table.add_row(name, value)
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()


if __name__ == "__main__":
    raise SystemExit(main())
