"""A first look at a dataset folder: is every file there and a table with its columns? Reads no more than the
beginning of each file.
"""

from __future__ import annotations

from pathlib import Path

from feature_repo.contract.dataset_folder import (
    CLICK_STEMS,
    find_table,
    read_blocks,
    read_clicks,
    read_item_blocks,
)
from feature_repo.contract.folder_rows import REQUIRED, require_columns


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
    next(read_clicks(folder), None)
    for split, stem in CLICK_STEMS.items():
        path = find_table(folder, stem) if split != "train" else None
        block = next(read_blocks(path, multiline=False), None) if path is not None else None
        if path is not None and block is not None:
            require_columns(path.name, block.rows.column_names, REQUIRED)
    next(read_item_blocks(folder), None)
