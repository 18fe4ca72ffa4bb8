"""Failed reads and writes of Delta tables, told in one line that names the table and the remedy."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator

from feature_repo.contract.settings import Settings
from spark_jobs.delta_log import newest_version
from spark_jobs.job import JobError


@contextlib.contextmanager
def told(table: str, settings: Settings) -> Iterator[None]:
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
        For the lake's folder.

    Returns
    -------
    str
        One line.
    """
    path = settings.table(table)
    if "No space left on device" in text or "Disk quota exceeded" in text:
        free = shutil.disk_usage(settings.home).free // 2**20 if settings.home.exists() else 0
        state = f"still at version {newest_version(path)}" if newest_version(path) >= 0 else "not created"
        return f"disk full ({free} MiB free) while writing table '{table}' at {path}; the table is {state}: free some space and run the job again"
    if "Permission denied" in text:
        return f"no permission to write table '{table}' at {path}; let this user write there, or set INTENTSTORE_HOME to another folder"
    if "OutOfMemoryError" in text:
        return f"out of memory while computing table '{table}'; raise spark.driver_memory (now {settings.spark.driver_memory})"
    if "FileNotFoundException" in text or "DELTA_FILE_NOT_FOUND" in text:
        return f"files of table '{table}' at {path} are gone (vacuumed or removed by hand); pin a newer version, or remove the table and run its job again"
    named = re.search(r"(?:JobError|ClickError|DatasetError): ([^\n]+)", text)
    if named:
        return named.group(1)
    coded = re.search(r"\[DELTA_[A-Z_.]+\] [^\n]+", text) or re.search(r"\[[A-Z_.]{6,}\] [^\n]+", text)
    lines = (line.strip(" :") for line in text.splitlines())
    first = coded.group(0) if coded else next((line for line in lines if line and not line.startswith("An error occurred while")), "no reason given")
    return f"table '{table}' at {path}: {first[:400]}; the whole report is in {settings.home / 'spark' / 'driver.log'}"
