"""A first look at a dataset folder: is every file there and a table with its columns? Reads no more than the
beginning of each file.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from feature_repo.contract.dataset.folder import (
    SEQUENCES,
    DatasetFolderError,
    click_files,
    find_table,
    parse_items,
    read_blocks,
    read_sequences,
)
from feature_repo.contract.dataset.rows.clicks import OPTIONAL, REQUIRED, sort_rows
from feature_repo.contract.spellings.columns import ITEM_COLUMNS, with_our_names


def look_at(folder: Path) -> None:
    """Raise at once what would stop a reader of the folder later.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    DatasetFolderError
        The folder does not exist or holds no clicks, a file is empty or no table, or a column is missing; one
        line with the remedy.
    """
    for split, path in click_files(folder):
        if path.name == SEQUENCES:
            next(read_sequences(path))
            continue
        holds = False
        for block in read_blocks(path):
            table, _ = with_our_names(block.rows, (*REQUIRED, *OPTIONAL), block.file)
            sort_rows(table, file=block.file, lines=block.lines)
            if holds := bool(table.num_rows or block.refused):
                break  # the first parts of a folder may be empty, as Spark writes them
        if split == "train" and not holds:
            raise DatasetFolderError(f"{path.name}: there is a header and no click; add a row a click")
    items = find_table(folder, "items")
    for block in islice(read_blocks(items), 1) if items is not None else ():
        table, _ = with_our_names(block.rows, ITEM_COLUMNS, block.file)
        parse_items(table, file=block.file, lines=block.lines)
