"""`python -m model.prepare SRC DST`: other people's click logs to a dataset folder, by renaming columns. Changes no value."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from feature_repo.contract.dataset_folder import CLICK_STEMS, DatasetFolderError, read_blocks
from feature_repo.contract.folder_files import Block, open_delimited

# Names that the columns have in public data sets; a flag wins over this list. A suffix as in `user_id:token` is left out.
KNOWN_NAMES = {
    "session_id": ("session_id", "SessionId", "sessionId", "session", "visitorid", "user_id", "userId"),
    "item_id": ("item_id", "ItemId", "itemId", "itemid", "sku", "movieId"),
    "event_time": ("event_time", "Time", "timestamp", "time", "eventdate", "ts"),
    "title": ("title", "movie_title", "name", "product_name"),
    "category": ("category", "class", "genres", "category_name"),
}
CLICK_COLUMNS = ("session_id", "item_id", "event_time")
ITEM_COLUMNS = ("item_id", "title", "category")
STEMS = {"train": ("clicks", "train"), "valid": ("clicks_valid", "valid", "validation"), "test": ("clicks_test", "test")}
SUFFIXES = (".csv", ".tsv", ".parquet", ".inter", ".item", ".txt", ".dat")
_CLICK_SUFFIX, _ITEM_SUFFIX = ".inter", ".item"


def prepare(source: Path, target: Path, renamed: dict[str, str] | None = None, *, separator: str | None = None) -> dict[str, int]:
    """Write a dataset folder of a folder of tables.

    Parameters
    ----------
    source : Path
        Folder with ``train``, ``valid``, ``test`` or ``clicks`` tables (csv, tsv, parquet, or RecBole's ``.inter`` and ``.item``), and ``items``.
    target : Path
        Made if missing; its files of the same names are written anew.
    renamed : dict, optional
        Column of ours to column of the source, where ``KNOWN_NAMES`` does not hold it.
    separator : str, optional
        Of text files; none = by the extension.

    Returns
    -------
    dict
        Written file name to rows.

    Raises
    ------
    DatasetFolderError
        If the folder holds no clicks or a column cannot be found; names the flag that helps.
    """
    if not source.is_dir():
        raise DatasetFolderError(f"folder '{source}' does not exist; name the folder that holds train.tsv, clicks.csv or *.inter")
    names = renamed or {}
    target.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for split, stems in STEMS.items():
        path = _find(source, stems, _CLICK_SUFFIX if split == "train" else None)
        if path is not None:
            written |= _convert(path, target / f"{CLICK_STEMS[split]}.parquet", CLICK_COLUMNS, names, separator)
    if "clicks.parquet" not in written:
        raise DatasetFolderError(f"folder '{source}' holds no clicks; expected train.*, clicks.* or *.inter ({', '.join(SUFFIXES)})")
    path = _find(source, ("items",), _ITEM_SUFFIX)
    if path is not None:
        written |= _convert(path, target / "items.parquet", ITEM_COLUMNS, names, separator)
    return written


def _find(folder: Path, stems: Sequence[str], suffix: str | None) -> Path | None:
    named = [folder / f"{stem}{ending}" for stem in stems for ending in SUFFIXES]
    found = [path for path in named if path.is_file()] or ([] if suffix is None else sorted(folder.glob(f"*{suffix}")))
    return found[0] if found else None


def _convert(path: Path, target: Path, columns: Sequence[str], names: dict[str, str], separator: str | None) -> dict[str, int]:
    tables = [_renamed(block, path, columns, names) for block in _blocks(path, separator)]
    if not tables:
        raise DatasetFolderError(f"{path.name} holds no row; nothing to prepare")
    whole = pa.concat_tables(tables)
    part = target.with_suffix(".part")
    pyarrow.parquet.write_table(whole, part)
    part.replace(target)  # a killed run leaves no half file under the real name
    return {target.name: whole.num_rows}


def _blocks(path: Path, separator: str | None) -> Iterator[Block]:
    if path.suffix == ".parquet":
        return read_blocks(path, multiline=False)
    return open_delimited(path, separator or ("," if path.suffix == ".csv" else "\t"), quoted=path.suffix == ".csv")


def _renamed(block: Block, path: Path, columns: Sequence[str], names: dict[str, str]) -> pa.Table:
    if block.refused:
        raise DatasetFolderError(block.refused[0].reason)
    plain = block.rows.rename_columns([name.split(":")[0] for name in block.rows.column_names])
    chosen = {ours: theirs for ours in columns if (theirs := _column(plain, ours, names)) is not None}
    for name in columns if columns is CLICK_COLUMNS else columns[:1]:
        if name not in chosen:
            found = ", ".join(repr(column) for column in plain.column_names)
            raise DatasetFolderError(f"{path.name}: no column for {name} (found {found}); name it with --{name.replace('_', '-')}")
    return pa.table({ours: plain.column(theirs).cast(pa.string()) for ours, theirs in chosen.items()})


def _column(table: pa.Table, ours: str, names: dict[str, str]) -> str | None:
    candidates = (names[ours],) if ours in names else KNOWN_NAMES[ours]
    return next((name for name in candidates if name in table.column_names), None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.prepare", description="Turn click logs with other column names into a dataset folder.")
    parser.add_argument("source", type=Path, help="folder with train/valid/test or clicks tables, and items")
    parser.add_argument("target", type=Path, help="dataset folder to write")
    for name in KNOWN_NAMES:
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"source column of {name} (found by itself: {', '.join(KNOWN_NAMES[name])})")
    parser.add_argument("--separator", help="of text files; none = comma for .csv, tab for the rest")
    given = vars(parser.parse_args(arguments))
    try:
        written = prepare(given["source"], given["target"], {name: given[name] for name in KNOWN_NAMES if given[name]}, separator=given["separator"])
    except DatasetFolderError as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    for name, rows in written.items():
        print(f"{given['target'] / name}: {rows:,} rows")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
