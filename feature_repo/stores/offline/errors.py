"""What a historical read refuses, and what it warns of; free of Spark, so that every engine says the same."""

from __future__ import annotations

from collections.abc import Mapping


class FeatureTableError(RuntimeError):
    """A feature table is missing, or the version asked for is gone; names table, version and remedy."""


class EntityFrameError(ValueError):
    """Entity rows that cannot be joined; names the column, what it holds and the remedy."""


class FutureRowsWarning(UserWarning):
    """Entity rows of a time that is yet to come."""


class NullKeyWarning(UserWarning):
    """Entity rows without the key of a view: they come back without its features."""


class OnlySparkError(RuntimeError):
    """A read that is answered by Spark only; the text says why."""


def vacuumed(versions: Mapping[str, int | None], said: str) -> FeatureTableError:
    """Return the error of a data file that is gone, from what the engine said of it."""
    return FeatureTableError(
        f"a data file of {dict(versions)} is gone: the table was vacuumed past the pinned version; pin a "
        "later version (DESCRIBE HISTORY shows them) or raise delta.deletedFileRetentionDuration before the "
        f"next VACUUM ({said})"
    )


def no_table(name: str, path: str, said: str) -> FeatureTableError:
    """Return the error of a table that was never written."""
    return FeatureTableError(
        f"table '{name}' is no Delta table yet ({path}); run the Spark job that writes it (python -m "
        f"spark_jobs --help): {said}"
    )


def no_version(name: str, path: str, options: Mapping[str, object], said: str) -> FeatureTableError:
    """Return the error of a pinned version that cannot be read."""
    return FeatureTableError(
        f"table '{name}' ({path}) cannot be read at {dict(options)}: {said}; that version was never written "
        "or its log is cleaned, pin another"
    )


def no_version_then(path: str, timestamp: object) -> FeatureTableError:
    """Return the error of a time before the table's history."""
    return FeatureTableError(
        f"Delta table {path} has no version as of {timestamp}; its history starts later, pin a later time"
    )
