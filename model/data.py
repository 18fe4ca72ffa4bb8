"""Datasets for the model: out of a dataset folder, or out of the lake's tables as Arrow. Knows nothing of Spark or of networks."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset_folder import CLICK_ROWS, DatasetFolderError, read_clicks, read_items
from feature_repo.contract.id_spellings import spelling_note
from feature_repo.contract.settings import SessionSettings
from model.items import Catalogue
from model.sequences import Cases, Sequences, expand, last_steps
from model.splits import PROTOCOLS, Dataset, Parts, Protocol, leave_one_out, next_item
from model.tables import from_tables

__all__ = ["Cases", "Catalogue", "Dataset", "DatasetError", "Protocol", "Sequences", "expand", "from_tables", "last_steps", "load_folder"]

DatasetError = DatasetFolderError
MINUTE_US = 60_000_000
_log = logging.getLogger("intentstore.model.data")
_CLICK_COLUMNS = ["event_id", "session_id", "item_id", "event_time"]


def load_folder(path: Path | str, session: SessionSettings | None = None, *, protocol: Protocol | None = None, now_us: int | None = None) -> Dataset:
    """Read a dataset folder and split it.

    Parameters
    ----------
    path : Path or str
        Folder with ``clicks.*`` (and ``clicks_valid.*``, ``clicks_test.*``, ``items.*``) or ``sequences.txt`` (and ``items.*``).
    session : SessionSettings, optional
        Gap rule and least length; None = one session an id, any length. The gap never applies to ``sequences.txt``.
    protocol : str, optional
        ``leave-one-out`` or ``next-item``; none = next-item where the folder has ``clicks_test``, else leave-one-out.
    now_us : int, optional
        The caller's clock; clicks more than a day ahead of it are refused.

    Returns
    -------
    Dataset
        Items of ``items.*`` first, in their order, then clicked items that it does not name.

    Raises
    ------
    DatasetError
        If the folder cannot be read, no click is valid, or there is nothing to train on; one line with the remedy.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise DatasetError(f"protocol '{protocol}' is unknown; use one of {', '.join(PROTOCOLS)}")
    folder = Path(path)
    clicks, reasons = _read(folder, now_us)
    if clicks.num_rows == 0:
        first = f" (first reason: {reasons[0]})" if reasons else ""
        raise DatasetError(f"dataset folder '{folder}' has no valid click{first}; add rows to clicks.*")
    catalogue, item_reasons, spellings = _catalogue(folder, clicks)
    reasons += item_reasons
    notes = _notes(reasons) + spellings
    for note in notes:
        _log.warning("%s: %s", folder, note)
    gap = None if session is None or session.gap_minutes is None or (folder / "sequences.txt").is_file() else session.gap_minutes * MINUTE_US
    least = 1 if session is None else session.min_length
    chosen = protocol or ("next-item" if "test" in clicks.column("split").unique().to_pylist() else "leave-one-out")
    parts = _split(clicks, catalogue, chosen, gap, least)
    dataset = Dataset(folder.name, chosen, catalogue, parts.train, parts.valid, parts.test, validation_sequences=parts.validation_sequences)
    return check_trainable(replace(dataset, refused=len(reasons), notes=notes))


def _read(folder: Path, now_us: int | None) -> tuple[pa.Table, list[str]]:
    blocks: list[pa.Table] = []
    reasons: list[str] = []
    for block in read_clicks(folder, now_us):
        split = pa.array([block.split] * block.rows.num_rows, pa.string()).dictionary_encode()
        blocks.append(block.rows.select(_CLICK_COLUMNS).append_column("split", split.cast(pa.dictionary(pa.int32(), pa.string()))))
        reasons += [refused.reason for refused in block.refused]
    if not blocks:  # a header alone
        return CLICK_ROWS.empty_table(), reasons
    return pa.concat_tables(blocks).unify_dictionaries(), reasons


def _catalogue(folder: Path, clicks: pa.Table) -> tuple[Catalogue, list[str], tuple[str, ...]]:
    reasons: list[str] = []
    rows: dict[str, tuple[str | None, str | None]] = {}
    twice = 0
    for table, refused in read_items(folder):
        reasons += [row.reason for row in refused]
        for name, title, category in zip(*(table.column(column).to_pylist() for column in ("item_id", "title", "category")), strict=True):
            twice += name in rows
            rows[name] = (title, category)
    if twice:
        reasons.append(f"items: {twice} rows name an item id that stands twice; the last row of each was taken")
    clicked = pc.unique(clicks.column("item_id")).to_pylist()
    note = spelling_note(clicked, rows)
    for name in clicked:
        rows.setdefault(name, (None, None))
    catalogue = Catalogue.build(list(rows), [title for title, _ in rows.values()], [category for _, category in rows.values()])
    return catalogue, reasons, () if note is None else (note,)


def _notes(reasons: list[str]) -> tuple[str, ...]:
    shown = tuple(reasons[:5])
    return shown + ((f"... {len(reasons)} rows refused in all",) if len(reasons) > len(shown) else ())


def _split(clicks: pa.Table, catalogue: Catalogue, protocol: Protocol, gap_us: float | None, least: int) -> Parts:
    splits = clicks.column("split").cast(pa.string())
    if protocol == "leave-one-out":
        return leave_one_out(_sequences(clicks, catalogue, gap_us, least))
    files = {name: clicks.filter(pc.equal(splits, name)) for name in ("train", "valid", "test")}
    made = {name: _sequences(table, catalogue, gap_us, least) if table.num_rows else None for name, table in files.items()}
    train = made["train"]
    if train is None:
        raise DatasetError("clicks.* has no valid click; training needs some")
    return next_item(train, made["valid"], made["test"])


def _sequences(clicks: pa.Table, catalogue: Catalogue, gap_us: float | None, least: int) -> Sequences:
    """Sort clicks by session and time (ties in file order), drop repeated event ids, cut at gaps and at the least length."""
    first_of = np.unique(_codes(clicks.column("event_id"))[0], return_index=True)[1]
    clicks = clicks.take(np.sort(first_of))
    codes, names = _codes(clicks.column("session_id"))
    times = clicks.column("event_time").cast(pa.int64()).to_numpy()
    order = np.lexsort((times, codes))  # stable: ties stay in file order
    codes, times = codes[order], times[order]
    items = _places(clicks.column("item_id"), catalogue)[order]
    new_id = np.concatenate([[True], codes[1:] != codes[:-1]])
    starts = new_id.copy()
    if gap_us is not None:
        starts[1:] |= np.diff(times) > gap_us
    first = np.flatnonzero(starts)
    offsets = np.append(first, len(items)).astype(np.int64)
    history_start = np.flatnonzero(new_id)[np.cumsum(new_id)[first] - 1]
    made = Sequences([names[code] for code in codes[first]], items, offsets, times, (first - history_start).astype(np.int64))
    return made.select(made.lengths >= least)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    encoded = column.combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64), encoded.dictionary.to_pylist()


def _places(column: pa.ChunkedArray, catalogue: Catalogue) -> np.ndarray:
    codes, names = _codes(column)
    return np.asarray(np.array([catalogue.index[name] for name in names], dtype=np.int32)[codes])


def check_trainable(dataset: Dataset) -> Dataset:
    """Return the dataset; raise a ``DatasetError`` when no session has two clicks to learn from, or there are fewer than two items."""
    if len(dataset.catalogue) < 2:
        raise DatasetError(f"dataset '{dataset.name}' has {len(dataset.catalogue)} item; ranking needs two or more")
    if not (dataset.train.lengths >= 2).any():
        raise DatasetError(
            f"dataset '{dataset.name}' has no session of two or more clicks to train on (sessions: {len(dataset.train)}, protocol "
            f"{dataset.protocol}); give longer sessions, or a wider session.gap_minutes"
        )
    return dataset
