"""Failed reads and writes of Delta tables, reported in one line that names the table and the remedy."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from feature_repo.contract.settings import Settings
from spark_jobs.job import JobError
from spark_jobs.lake.log import DeltaLog

LONGEST_CAUSE: Final = 400  # characters


@contextlib.contextmanager
def as_job_error(table: str, settings: Settings) -> Iterator[None]:
    """Turn what Spark throws into a `JobError` of one line that names the table and the remedy.

    Raises
    ------
    JobError
        Instead of any Spark or Py4J exception.
    """
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, OSError) as error:
        raise JobError(explain(str(error), table, settings)) from error


def explain(text: str, table: str, settings: Settings) -> str:
    """Say in one line why a read or write of a table failed, and what to do.

    Parameters
    ----------
    text : str
        Text of the exception, stack trace included.
    table : str
        The table.
    settings : Settings
        The home whose lake it is.

    Returns
    -------
    str
        One line.
    """
    path = settings.table(table)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        free = shutil.disk_usage(settings.home).free // 2**20 if settings.home.exists() else 0
        version = DeltaLog(path).version()
        state = f"still at version {version}" if version >= 0 else "not created"
        return (
            f"disk full ({free} MiB free) while writing table '{table}' at {path}; the table is {state}: "
            "free some space and run the job again"
        )
    if "Permission denied" in text:
        return (
            f"no permission to write table '{table}' at {path}; let this user write there, or set "
            "INTENTSTORE_HOME to another folder"
        )
    if "OutOfMemoryError" in text:
        return (
            f"out of memory while computing table '{table}'; raise spark.driver_memory (now "
            f"{settings.spark.driver_memory})"
        )
    if "FileNotFoundException" in text or "DELTA_FILE_NOT_FOUND" in text:
        return (
            f"files of table '{table}' at {path} are gone (vacuumed or removed by hand); pin a newer "
            "version, or remove the table and run its job again"
        )
    named = re.search(r"(?:JobError|ClickError|DatasetError): ([^\n]+)", text)
    if named:
        return named.group(1)
    worker = worker_cause(text)
    if worker:
        return f"table '{table}' at {path}: {worker}; the whole report is in {newest_log(settings.home)}"
    coded = re.search(r"\[DELTA_[A-Z_.]+\] [^\n]+", text) or re.search(r"\[[A-Z_.]{6,}\] [^\n]+", text)
    lines = (line.strip(" :") for line in text.splitlines())
    first = (
        coded.group(0)
        if coded
        else next(
            (line for line in lines if line and not line.startswith("An error occurred while")),
            "no reason given",
        )
    )
    return f"table '{table}' at {path}: {first[:400]}; the whole report is in {newest_log(settings.home)}"


def newest_log(home: Path) -> Path:
    """Return what the newest Spark of a home wrote to; the link ``driver.log`` will point elsewhere after the
    next start.
    """
    link = home / "spark" / "driver.log"
    return link.resolve() if link.is_symlink() else link


def worker_cause(text: str) -> str:
    r"""Return why a Python worker of Spark failed, out of an exception's text: the last line of the worker's
    own error.

    Parameters
    ----------
    text : str
        Of the exception, with the traces of worker and JVM.

    Returns
    -------
    str
        One line with type and message; empty where no worker failed.

    Examples
    --------
    >>> trace = (
    ...     'Traceback (most recent call last):\n  File "w.py", line 1, in f\n    g()\n'
    ...     "ValueError: item 7 has no title\n\n\tat org.apache.spark.X"
    ... )
    >>> worker_cause(
    ...     f"An exception was thrown from the Python worker. Please see the stack trace below.\n{trace}"
    ... )
    'a Python worker failed: ValueError: item 7 has no title'
    """
    _, found, trace = text.rpartition("Traceback (most recent call last):\n")
    if found and ("Python worker" in text or "PythonException" in text or "pyspark" in text):
        said = _last_error(trace.splitlines())
        if said:
            return f"a Python worker failed: {said[:LONGEST_CAUSE]}"
    if re.search(
        r"Python worker exited unexpectedly|Python worker failed to connect|EOFException.{0,200}Python",
        text,
        re.DOTALL,
    ):
        return (
            "a Python worker died without a word (killed, most often for lack of memory); give it more, or "
            "set spark.master to fewer workers (local[1])"
        )
    return ""


def _last_error(lines: list[str]) -> str:
    """Return the error behind the frames of a trace: its line, and the last line of a message of several."""
    said: list[str] = []
    for line in lines:
        if line.startswith(("\tat ", "Driver stacktrace", "Caused by:", "JVM stacktrace")) or (
            said and not line.strip()
        ):
            break
        if said or (line and not line[0].isspace()):
            said.append(" ".join(line.split()))
    return " ... ".join(dict.fromkeys([said[0], said[-1]])) if said else ""


def one_line(error: BaseException) -> str:
    r"""Return an error in one line: why a Python worker failed, else the first line of the text, else the
    type.

    Examples
    --------
    >>> one_line(ValueError("bad\nworse")), one_line(KeyError())
    ('bad', 'KeyError')
    """
    text = str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return worker_cause(text) or first
