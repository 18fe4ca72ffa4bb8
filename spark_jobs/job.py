"""What every batch job returns and raises. Knows nothing of Spark."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any


class JobError(RuntimeError):
    """A job that cannot go on; the text is one line that names the thing, the value and the remedy."""


@dataclass(frozen=True)
class JobResult:
    """What one run of a job did.

    Parameters
    ----------
    table : str
        Delta table (or topic, for `replay`) that was written or checked.
    rows : int
        Rows that the table holds, or rows looked at where nothing is written.
    inserted, updated, refused : int
        Rows that this run added, changed, or sent to `quarantine`.
    delta_version : int
        Version of the table after the run; -1 where there is no table.
    seconds : float
        Wall time of the run without the start of Spark.
    details : dict
        Further figures, by name; every value is plain JSON.

    Examples
    --------
    >>> JobResult("clicks", rows=2, inserted=2).changed
    True
    """

    table: str
    rows: int = 0
    inserted: int = 0
    updated: int = 0
    refused: int = 0
    delta_version: int = -1
    seconds: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether the run wrote anything."""
        return self.inserted > 0 or self.updated > 0

    def to_json(self) -> str:
        """Return the result as one line of JSON.

        Returns
        -------
        str
            Keys as the fields of this class; values that JSON does not know become text.
        """
        return json.dumps(dataclasses.asdict(self), default=str, ensure_ascii=False)
