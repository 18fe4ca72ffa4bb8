"""Starts the one Spark session of the batch jobs: Delta and Kafka jars, UTC, quiet, and gone when its parent
is gone.
"""

from __future__ import annotations

import datetime
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from feature_repo.contract.settings import Settings
from spark_jobs.gateway import launch
from spark_jobs.job import JobError

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

log = logging.getLogger("intentstore.spark")
PROJECT_ROOT = Path(__file__).resolve().parent.parent
# names of settings that hold secrets, as `spark.redaction.regex` has them
_SECRET = re.compile(r"secret|password|passphrase|token|access\.?key|credential|api\.?key", re.IGNORECASE)
KEPT_LOGS = 50  # newest logs of the JVM, each of one start and rarely above 100 KB
_LOG4J = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
"""


def spark_session(settings: Settings, app: str = "intentstore") -> SparkSession:
    """Return the Spark session of this process, starting it when there is none.

    Parameters
    ----------
    settings : Settings
        `spark` section, `home` (log and scratch files under ``home/spark``) and `assets_dir` (jars).
    app : str
        Name shown in Spark's UI.

    Returns
    -------
    SparkSession
        With Delta and the Kafka source, session time zone UTC. Everything that the JVM prints goes to a file
        of this start in ``home/spark/logs``; the link ``home/spark/driver.log`` leads to the newest.

    Raises
    ------
    JobError
        Java missing or too old, jars not to be had, or a JVM that does not start; says where its log is.
    """
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    if SparkContext._active_spark_context is not None:
        return SparkSession.builder.getOrCreate()
    _check_java()
    scratch = settings.home / "spark"
    scratch.mkdir(parents=True, exist_ok=True)
    _remove_stale_scratch(scratch)
    conf = _configuration(settings, app, scratch)
    log.info("starting Spark (%s, %s of memory)", settings.spark.master, settings.spark.driver_memory)
    # Spark's workers take it from here only
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    file = _new_log(scratch, app)
    with file.open("wb") as stream:
        return _start(conf, stream, file)


def _new_log(scratch: Path, app: str) -> Path:
    """Return the log file of this start, named by time, application and process, and point ``driver.log`` to
    it; the oldest go.
    """
    folder = scratch / "logs"
    folder.mkdir(exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", app).strip("-")[:80]
    file = folder / f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S.%f}-{name}-{os.getpid()}.log"
    link, fresh = scratch / "driver.log", scratch / f".driver.log.{os.getpid()}"
    if link.is_file() and not link.is_symlink():  # of an older version, which had one log
        link.replace(folder / f"00000000T000000-{link.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(file.relative_to(scratch))
    fresh.replace(link)
    for old in sorted(folder.glob("*.log"))[: -(KEPT_LOGS - 1)]:
        old.unlink(missing_ok=True)
    return file


def _check_java() -> None:
    from feature_repo.contract.assets.java import JavaError, find_java

    try:
        find_java(os.environ.get("JAVA_HOME"))  # the variable that Spark's own launcher obeys
    except JavaError as error:
        raise JobError(str(error)) from None


def _start(conf: SparkConf, stream: IO[bytes], file: Path) -> SparkSession:
    # The gateway is launched here rather than by the builder, so that the JVM's own output can go to a file
    # and no secret is on its command line, which every user of the machine may read: the context hands them
    # over later.
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    try:
        shown = SparkConf(loadDefaults=False)
        shown.setAll([(name, text) for name, text in conf.getAll() if not _SECRET.search(name)])
        gateway = launch(shown, stream)
        SparkContext(conf=conf, gateway=gateway)
        return SparkSession.builder.getOrCreate()
    except (PySparkException, Py4JError, OSError) as error:
        last = [line for line in file.read_text(errors="replace").splitlines() if line.strip()][-1:] or [
            str(error).splitlines()[0]
        ]
        raise JobError(f"Spark does not start ({last[0][:300]}); its log is {file}") from None


def _configuration(settings: Settings, app: str, scratch: Path) -> SparkConf:
    from pyspark import SparkConf

    log4j = scratch / "log4j2.properties"
    log4j.write_text(_LOG4J, encoding="utf-8")
    local = scratch / f"local-{os.getpid()}"
    local.mkdir(exist_ok=True)
    partitions = str(settings.spark.shuffle_partitions)
    options = (
        f"-Duser.timezone=UTC -Dlog4j2.configurationFile={log4j.as_uri()} -Djava.io.tmpdir={local} "
        f"-XX:+UseParallelGC {_java_options(settings)}"
    )
    values = {
        "spark.master": settings.spark.master,
        "spark.app.name": app,
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.driver.extraJavaOptions": options,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(local),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.executorEnv.PYTHONPATH": str(PROJECT_ROOT),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": partitions,
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        # Delta's default of 50 costs seconds a read on one machine.
        "spark.databricks.delta.snapshotPartitions": "2",
        # Rows are rewritten rather than marked: any reader of Parquet can follow the log, Feast's and
        # Dagster's without a JVM too.
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
        # Tables are pinned and read again by version, so old files are kept as long as their log is.
        "spark.databricks.delta.properties.defaults.deletedFileRetentionDuration": "interval 30 days",
        **_jars(settings),
        **settings.spark.conf,
    }
    conf = SparkConf(loadDefaults=False)
    conf.setAll(list(values.items()))
    return conf


def _java_options(settings: Settings) -> str:
    # ML-100K is through before the second compiler has paid for itself: it would take as much processor time
    # as all jobs together.
    quick = settings.dataset.path is None and settings.spark.master.startswith("local")
    return settings.spark.java_options or ("-XX:TieredStopAtLevel=1" if quick else "")


def _jars(settings: Settings) -> dict[str, str]:
    import pyspark

    from feature_repo.contract.assets import fetch as assets

    folder = assets.fetch("delta", settings.assets_dir)
    own = {_artifact(path) for path in (Path(pyspark.__file__).parent / "jars").glob("*.jar")}

    # Ivy brings older copies of what Spark has itself (jackson, log4j, hadoop); in front of Spark's they
    # would break it.
    def is_sparks(name: str) -> bool:
        return any(name.startswith(artifact) or f"_{artifact}" in name for artifact in own)

    jars = sorted(str(path) for path in folder.rglob("*.jar") if not is_sparks(path.name))
    if not jars:
        raise JobError(f"no jars under {folder}; remove that folder, it is fetched again")
    if settings.spark.master.startswith("local"):
        return {"spark.driver.extraClassPath": ":".join(jars)}  # one JVM: nothing to ship, nothing to copy
    return {"spark.jars": ",".join(jars)}


def _artifact(jar: Path) -> str:
    """Return the name of a jar up to its version, with the dash: ``jackson-core-2.20.0.jar`` gives
    ``jackson-core-``.
    """
    return re.split(r"-(?=\d)", jar.name, maxsplit=1)[0] + "-"


def _remove_stale_scratch(scratch: Path) -> None:
    """Remove the scratch folders of processes that are no more (a killed JVM leaves them)."""
    for folder in scratch.glob("local-*"):
        pid = folder.name.removeprefix("local-")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
