"""What the readers of a dataset folder hand on: blocks of rows with their lines, refused rows, and the one
error. Reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

BLOCK_BYTES = 32 << 20  # a row longer than this (a 32 MB title) cannot be read
ROWS_PER_BLOCK = 1 << 18
MAX_RAW_CHARACTERS = 200


class DatasetFolderError(ValueError):
    """A dataset folder or file that cannot be used; one line that names it and says the remedy."""


@dataclass(frozen=True)
class Refused:
    """A row that was not taken: its line (row for Parquet), the whole reason in one line, and the row as it
    came.
    """

    line: int
    reason: str
    raw: str


@dataclass(frozen=True)
class Block:
    """Rows of one file with their line numbers, and the lines that could not be split into columns.

    Attributes
    ----------
    rows : pa.Table
        Text columns of a text file; of a Parquet file as they come.
    lines : ndarray int64, shape (rows,)
        The line of the file where each row begins, from 1 (Parquet: the row).
    refused : list of Refused
    file : str
        Name for messages: the file's, or of a folder of parts ``clicks.parquet/day=1/part-0.parquet``.
    notes : tuple of str
        Choices that the reader made, one line each, such as the separator that it saw.
    """

    rows: pa.Table
    lines: np.ndarray
    refused: list[Refused]
    file: str = ""
    notes: tuple[str, ...] = ()
