"""The command line of the batch jobs: ``python -m spark_jobs JOB``; `intentstore` has the jobs that are a
step of a user's day as its own verbs, all others as ``intentstore job JOB``. Reads the settings, starts
Spark, runs one job, prints its result.
"""

from __future__ import annotations

import datetime
import importlib
import inspect
import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.contract import cli
from model.kernels.store import keep_under

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from spark_jobs.job import JobResult


@dataclass(frozen=True)
class Flag:
    """One flag of a job; `setting` = dotted setting it overrides, none = handed to the job's ``run`` by its
    name.
    """

    name: str
    help: str
    kind: Callable[[str], Any] = str  # str, int, float, bool, Path, or `_date`
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


def _date(text: str | None) -> datetime.date | None:
    try:
        return None if text is None else datetime.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no date; expected YYYY-MM-DD") from None


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
        "clicks",
    ),
    "quarantine": Job(
        "ingest.quarantine",
        "print the rows that ingest refused, by reason (starts no Spark)",
        (Flag("reason", "only rows whose reason holds this text", str),),
        spark=False,
    ),
    "sessionise": Job("sessions.cut", "sessions by the gap rule, split by time", (_UNTIL,), "sessions"),
    "item-vectors": Job("items.vectors", "title vectors of the text encoder", table="item_vectors"),
    "session-text": Job("sessions.text", "long and short prompts of each session", (_UNTIL,), "session_text"),
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
        "session_intents",
        actions=("prune",),
    ),
    "intents-report": Job("intents.report", "what the intents run did: calls, cached, grounded, copied"),
    "session-features": Job(
        "sessions.features", "features after each click, by the one fold", (_UNTIL,), "session_features"
    ),
    "item-popularity": Job(
        "items.popularity", "daily click counts and ranks of each item", table="item_popularity"
    ),
    "training-set": Job(
        "sessions.training_set",
        "cases with the features known at their time, through Feast",
        (Flag("pin", "TABLE=VERSION[,...]: Delta versions to read instead of the newest", str),),
        "training_set",
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


# Where a job stands in a user's day, by example; the others are known by their names.
EXAMPLES = {
    "ingest": "intentstore ingest --dataset data/shop",
    "intents": "intentstore intents --source llm --max-calls 500",
    "replay": "intentstore replay --held-out --rate 50",
    "parity": "intentstore parity --json",
}

app = cli.program("One batch job of IntentStore; each writes Delta tables and may be run again at will.")
Date = Annotated[
    str | None,
    typer.Option("--date", metavar="YYYY-MM-DD", callback=_date, help="one day only, YYYY-MM-DD"),
]


def _verb(word: str, job: Job) -> Callable[..., int]:
    """Make the verb of a job: its flags as typer reads them from a function's signature."""

    def run(**given: Any) -> int:
        return _guarded(word, SimpleNamespace(job=word, **given))

    options: dict[str, tuple[Any, Any]] = {"config": (cli.Config, None)}
    if job.actions:
        words = ", ".join(job.actions)
        text = "do this alone, without the job's run: " + words
        argument = typer.Argument(help=text, callback=_one_of(job.actions), metavar=words)
        options["action"] = (Annotated[str | None, argument], None)
    options |= {flag.name.replace("-", "_"): _option(flag) for flag in job.flags}
    options |= {"date": (Date, None), "set": (cli.Set, None), "json": (cli.Json, False)}
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for name, (kind, default) in options.items()
        ]
    )
    run.__annotations__ = {name: kind for name, (kind, _) in options.items()}
    return run


def _option(flag: Flag) -> tuple[Any, Any]:
    """Give annotation and default of a flag."""
    if flag.kind is bool:
        return Annotated[bool, typer.Option(f"--{flag.name}", help=flag.help)], False
    kind, callback = (str, _date) if flag.kind is _date else (flag.kind, None)
    option = typer.Option(f"--{flag.name}", help=flag.help, callback=callback)
    return Annotated[kind | None, option], None  # type: ignore[valid-type, operator]


def _one_of(words: tuple[str, ...]) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in words:
            raise typer.BadParameter(f"'{value}' is none of: {', '.join(words)}")
        return value

    return check


for _word, _job in JOBS.items():
    _example = EXAMPLES.get(_word, f"intentstore job {_word} --json")
    app.command(_word, help=_job.help, epilog=f"Example: {_example}")(_verb(_word, _job))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one job.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; none = of this process.

    Returns
    -------
    int
        See `feature_repo.contract.cli`; 1 also where parity found a difference.
    """
    words = sys.argv[1:] if arguments is None else arguments
    return cli.run(cli.command_of(app), words, "python -m spark_jobs", "spark_jobs {verb}")


def _guarded(word: str, given: SimpleNamespace) -> int:
    from feature_repo.contract.settings import SettingsError
    from spark_jobs.job import JobError

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("py4j", "py4j.clientserver", "kafka", "feast", "feast.repo_config"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # of libraries, about their own future; ours are log lines and errors
    home = Path(".intentstore")
    try:
        settings = _settings(word, given)
        home = settings.home
        keep_under(home)
        result = _run(word, settings, given)
    except SettingsError:
        raise
    except ModuleNotFoundError as error:
        raise cli.VerbError(cli.missing(error)) from None
    except JobError as error:
        raise cli.VerbError(" ".join(str(error).split())) from None
    except KeyboardInterrupt:
        line = "interrupted; every table is at its last whole version, run the job again"
        raise cli.VerbError(line, cli.INTERRUPTED) from None
    except Exception as error:  # noqa: BLE001
        # the last resort of an entry point: one line for the user, the trace in a file
        raise cli.VerbError(_unexpected(error, home)) from None
    print(result.to_json() if given.json else _shown(word, result))
    return cli.FAILED if word == "parity" and result.refused else cli.DONE


def _settings(word: str, given: SimpleNamespace) -> Settings:
    flags = [flag for flag in JOBS[word].flags if flag.setting]
    values = {str(flag.setting): getattr(given, flag.name.replace("-", "_")) for flag in flags}
    return cli.settings_of(given.config, pairs=given.set, **values)


def _run(word: str, settings: Settings, given: SimpleNamespace) -> JobResult:
    from spark_jobs.job import JobError

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
    from spark_jobs.lake.lake import Lake
    from spark_jobs.session import spark_session

    signal.signal(signal.SIGTERM, _interrupt)
    spark = spark_session(settings, f"intentstore {word}")
    try:
        with _only_writer(job, settings, given):
            result = module.run(Lake(spark, settings), date=given.date, **arguments)
    finally:
        spark.stop()
    return result


def _only_writer(job: Job, settings: Settings, given: SimpleNamespace) -> AbstractContextManager[None]:
    from feature_repo.contract import tables
    from feature_repo.contract.files import only_writer

    table = tables.SCORE_LOG if getattr(given, "score_log", False) else job.table
    return only_writer(settings, table) if table else nullcontext()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


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
