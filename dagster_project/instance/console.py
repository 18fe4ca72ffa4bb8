"""The console logger of every run: one short line for what a person waits for, nothing of Dagster's inner
life.
"""

from __future__ import annotations

import logging
import sys
import time

import dagster as dg

SHOWN_EVENTS = {
    "ASSET_MATERIALIZATION",
    "ASSET_CHECK_EVALUATION",
    "STEP_FAILURE",
    "RUN_FAILURE",
    "STEP_START",
}


class ShortLines(logging.Formatter):
    """Formats a record as ``   12.3 s  text``, the time being that since the run began."""

    def __init__(self) -> None:
        super().__init__()
        self._started = time.perf_counter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line.

        Parameters
        ----------
        record : LogRecord
            Of Dagster or of a step.

        Returns
        -------
        str
            Without a trace: that is in the run's log.
        """
        return f"{time.perf_counter() - self._started:7.1f} s  {short(record)}"


def short(record: logging.LogRecord) -> str:
    """Return the words of a record without run, process and step ids."""
    meta = getattr(record, "dagster_meta", None) or {}
    text = meta.get("orig_message") if isinstance(meta, dict) else getattr(meta, "orig_message", None)
    event = event_of(record)
    said = str(text or record.getMessage())
    if event is None:
        return said.split("\nTraceback", 1)[0].rstrip()  # the trace is in the run's log
    if event.event_type_value == "ASSET_MATERIALIZATION":
        done = event.step_materialization_data.materialization
        rows = done.metadata.get("dagster/row_count")
        seconds, same = done.metadata.get("seconds"), done.metadata.get("unchanged")
        tail = (
            " (unchanged)"
            if same is not None and same.value
            else f" in {seconds.value:.1f} s"
            if seconds is not None and isinstance(seconds.value, int | float)
            else ""
        )
        return (
            "done   "
            f"{'/'.join(done.asset_key.path)}{f': {rows.value:,} rows' if rows is not None else ''}{tail}"
        )
    if event.event_type_value == "ASSET_CHECK_EVALUATION":
        data = event.asset_check_evaluation_data
        mark = (
            "ok    "
            if data.passed
            else "FAILED"
            if data.severity == dg.AssetCheckSeverity.ERROR
            else "warns "
        )
        return f"{mark} {'/'.join(data.asset_key.path)} {data.check_name}: {data.description or ''}"
    return said.splitlines()[0] if said else event.event_type_value


def event_of(record: logging.LogRecord) -> dg.DagsterEvent | None:
    """Return the Dagster event that a record carries, none for plain messages."""
    meta = getattr(record, "dagster_meta", None) or {}
    found = meta.get("dagster_event") if isinstance(meta, dict) else getattr(meta, "dagster_event", None)
    return found if isinstance(found, dg.DagsterEvent) else None


class WhatMatters(logging.Filter):
    """Lets through the project's own messages, materialisations, checks and failures."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide on one record."""
        event = event_of(record)
        if event is None:
            return (
                record.levelno >= logging.INFO
                and "[pipes]" not in record.getMessage()
                and "Not executing" not in record.getMessage()
            )
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            # passed checks are many; they are in the graph
            return not event.asset_check_evaluation_data.passed
        return event.event_type_value in SHOWN_EVENTS and event.event_type_value != "STEP_START"


@dg.logger(None, description="Short lines for a person who waits.")
def short_console(init_context: dg.InitLoggerContext) -> logging.Logger:
    """Build the console logger of a run."""
    logger = logging.Logger("intentstore.console", logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ShortLines())
    handler.addFilter(WhatMatters())
    logger.addHandler(handler)
    return logger
