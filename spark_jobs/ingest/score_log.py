"""What the consumer served, from its Arrow files into the table `score_log`, each answer once."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

from feature_repo.contract.tables import SCORE_LOG, SCORE_LOG_SCHEMA, TABLES
from spark_jobs.job import JobResult
from spark_jobs.lake.lake import Lake

log = logging.getLogger("intentstore.ingest")
KEY = TABLES[SCORE_LOG].key
FILES_PER_COMMIT = 500  # bounds the driver's memory: a file holds one flush of the consumer


def run(lake: Lake) -> JobResult:
    """Commit the files under ``home/score_log`` by topic, partition, offset and event, then remove them.

    The event is part of the key since a topic made anew gives its offsets again.

    Parameters
    ----------
    lake : Lake
        Its tables; of its settings `home`.

    Returns
    -------
    JobResult
        Of `score_log`; `refused` counts files that cannot be read, which stay where they are. `details`:
        ``files``, ``unreadable``.

    Raises
    ------
    JobError
        The commit failed; the files stay and the next run commits them.
    """
    # A crash between commit and removal only means that the next run finds every key known, and removes the
    # files.
    started = time.monotonic()
    folder = lake.settings.home / "score_log"
    files = sorted(folder.glob("*.arrow"))
    lake.create(SCORE_LOG)
    lake.add_new_columns(SCORE_LOG)
    inserted, unreadable = 0, []
    for first in range(0, len(files), FILES_PER_COMMIT):
        read = {file: read_score_log(file) for file in files[first : first + FILES_PER_COMMIT]}
        unreadable += [file.name for file, table in read.items() if table is None]
        tables = {file: table for file, table in read.items() if table is not None}
        if tables:
            every = pa.concat_tables(tables.values())
            frame = lake.spark.createDataFrame(every).dropDuplicates(list(KEY))
            inserted += lake.merge(SCORE_LOG, frame, update_changed=False).inserted
            for file in tables:
                file.unlink()
    rows = lake.read(SCORE_LOG).count()
    details = {"files": len(files) - len(unreadable), "unreadable": unreadable}
    version = lake.version(SCORE_LOG)
    return JobResult(
        SCORE_LOG, rows, inserted, 0, len(unreadable), version, time.monotonic() - started, details
    )


def read_score_log(file: Path) -> pa.Table | None:
    """Read one file of the consumer.

    Parameters
    ----------
    file : Path
        Arrow IPC, as file or as stream.

    Returns
    -------
    pa.Table or None
        Schema ``SCORE_LOG_SCHEMA``; None, after a warning, when the file is cut off or another kind of file.
    """
    try:
        with pa.OSFile(str(file)) as source:
            reader = pyarrow.ipc.open_file(source) if source.read(6) == b"ARROW1" else _stream(source)
            table: pa.Table = reader.read_all()
        for field in SCORE_LOG_SCHEMA:  # columns that came since the consumer wrote the file
            if field.nullable and field.name not in table.column_names:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
        return table.select(SCORE_LOG_SCHEMA.names).cast(SCORE_LOG_SCHEMA)
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        log.warning(
            "ingest: %s is no whole score log (%s); left where it is, remove it once you have looked at it",
            file,
            str(error).splitlines()[0],
        )
        return None


def _stream(source: pa.NativeFile) -> pa.ipc.RecordBatchStreamReader:
    source.seek(0)
    return pyarrow.ipc.open_stream(source)
