"""The lake's tables without a JVM, as `spark_jobs.lake.rows` reads them; what this package calls them."""

from __future__ import annotations

from spark_jobs.lake.rows import LakeError, Snapshot, latest_version, read, snapshot, stored_schema

__all__ = ["LakeError", "Snapshot", "latest_version", "read", "snapshot", "stored_schema"]
