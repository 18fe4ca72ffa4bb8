"""The command line of the batch jobs: ``python -m spark_jobs JOB``; `intentstore` has the jobs that are a
step of a user's day as its own verbs, all others as ``intentstore job JOB``. Reads the settings, starts
Spark, runs one job, prints its result.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.contract import cli
from feature_repo.contract.lazy import lazy
from model.kernels.store import keep_under
from spark_jobs.jobs import EXAMPLES, JOBS, Flag, Job, date_of

if TYPE_CHECKING:
    from feature_repo.contract import files, tables
    from feature_repo.contract import settings as settings_module
    from feature_repo.contract.settings import Settings
    from spark_jobs import job as jobs
    from spark_jobs import session
    from spark_jobs.job import JobResult
    from spark_jobs.lake import errors
    from spark_jobs.lake import lake as lakes
else:
    files = lazy("feature_repo.contract.files")
    settings_module = lazy("feature_repo.contract.settings")
    tables = lazy("feature_repo.contract.tables")
    jobs = lazy("spark_jobs.job")
    session = lazy("spark_jobs.session")
    errors = lazy("spark_jobs.lake.errors")
    lakes = lazy("spark_jobs.lake.lake")


app = cli.program("One batch job of IntentStore; each writes Delta tables and may be run again at will.")
Date = Annotated[
    str | None,
    typer.Option("--date", metavar="YYYY-MM-DD", callback=date_of, help="one day only, YYYY-MM-DD"),
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
    kind, callback = (str, date_of) if flag.kind is date_of else (flag.kind, None)
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
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("py4j", "py4j.clientserver", "kafka", "feast", "feast.repo_config"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    for handler in logging.root.handlers:
        handler.addFilter(_not_of_the_gateway)
    warnings.simplefilter("ignore")  # of libraries, about their own future; ours are log lines and errors
    home = Path(".intentstore")
    try:
        settings = _settings(word, given)
        home = settings.home
        keep_under(home)
        result = _run(word, settings, given)
    except settings_module.SettingsError:
        raise
    except ModuleNotFoundError as error:
        raise cli.VerbError(cli.missing(error)) from None
    except jobs.JobError as error:
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
    job = JOBS[word]
    if (until := getattr(given, "until", None)) is not None and (given.date is None or until < given.date):
        raise jobs.JobError(
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
    if word == "ingest" and not (given.kafka or given.items or given.score_log):
        module.look(settings)  # before Spark, whose start takes seconds
        arguments["max_refused_share"] = settings.dataset.max_refused_share

    signal.signal(signal.SIGTERM, _interrupt)
    spark = session.spark_session(settings, f"intentstore {word}")
    try:
        with _only_writer(job, settings, given):
            result = module.run(lakes.Lake(spark, settings), date=given.date, **arguments)
    except KeyboardInterrupt:
        with suppress(Exception):  # a signal to the whole group has ended the JVM too
            spark.stop()
        raise
    except Exception:
        spark.stop()
        raise
    spark.stop()
    return result


def _only_writer(job: Job, settings: Settings, given: SimpleNamespace) -> AbstractContextManager[None]:
    table = tables.SCORE_LOG if getattr(given, "score_log", False) else job.table
    table = tables.ITEMS if getattr(given, "items", False) else table
    return files.only_writer(settings, table) if table else nullcontext()


def _not_of_the_gateway(record: logging.LogRecord) -> bool:
    """Keep out what py4j logs of a call that was broken off (a traceback, on the root logger): the caller has
    the exception.
    """
    return Path(record.pathname).parent.name != "py4j"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _unexpected(error: Exception, home: Path) -> str:
    line = errors.one_line(error)
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
