"""Datasets for the model: out of a dataset folder, or out of the lake's tables as Arrow. Knows nothing of
Spark or of networks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.folder import (
    CLICK_ROWS,
    DatasetFolderError,
    FolderClicks,
    FolderItems,
    left_aside,
    read_clicks,
    read_item_blocks,
)
from feature_repo.contract.dataset.refusals import Tally, too_many
from feature_repo.contract.dataset.rules import FolderRules, single_items
from feature_repo.contract.dataset.session_cut import gap_note, session_begins
from feature_repo.contract.dataset.settled import Settled
from feature_repo.contract.events.found import TypeCounts
from feature_repo.contract.events.rules import EventRules, RuledColumn, counted_clicks, ruled
from feature_repo.contract.settings import SessionSettings
from feature_repo.contract.spellings.ids import spelling_note
from feature_repo.contract.tables import CLICK_COLUMNS
from model.data.catalogue import Catalogue
from model.data.lake import from_tables
from model.data.sequences import Cases, Sequences, expand
from model.data.splits import PROTOCOLS, Dataset, Parts, Protocol, leave_one_out, next_item

__all__ = [
    "Cases",
    "Catalogue",
    "Dataset",
    "DatasetError",
    "Protocol",
    "Sequences",
    "expand",
    "from_tables",
    "load_folder",
]

DatasetError = DatasetFolderError
MINUTE_US = 60_000_000
log = logging.getLogger("intentstore.model.data")
MOST_KINDS = 5  # kinds of refused rows that are named one by one
_SPLIT = pa.dictionary(pa.int32(), pa.string())
_EMPTY = pa.schema(
    [*(CLICK_ROWS.field(name) for name in CLICK_COLUMNS), ("split", _SPLIT), ("again", pa.bool_())]
).empty_table()


def load_folder(
    path: Path | str,
    session: SessionSettings | None = None,
    *,
    protocol: Protocol | None = None,
    now_us: int | None = None,
    max_refused_share: float = 1.0,
) -> Dataset:
    """Read a dataset folder and split it.

    Parameters
    ----------
    path : Path or str
        Folder with ``clicks.*`` (and ``clicks_valid.*``, ``clicks_test.*``, ``items.*``) or ``sequences.txt``
        (and ``items.*``).
    session : SessionSettings, optional
        Gap rule, least length and what types of events count for; None = one session an id, any length, the
        usual types. The gap never applies to ``sequences.txt``.
    protocol : str, optional
        ``leave-one-out`` or ``next-item``; none = next-item where the folder has split files, else
        leave-one-out.
    now_us : int, optional
        The caller's clock; clicks more than a day ahead of it are refused.
    max_refused_share : float
        Of all rows; more refused ones stop here (``dataset.max_refused_share``).

    Returns
    -------
    Dataset
        Items of ``items.*`` first, in their order, then clicked items that it does not name.

    Raises
    ------
    DatasetError
        If the folder cannot be read, no click is valid, too many rows were refused, or there is nothing to
        train on; one line with the remedy.
    """
    _require_known(protocol)
    folder = Path(path)
    heard = Heard()
    tally = heard.refused
    clicks, settled = _read(folder, now_us, heard)
    _require_clicks(folder, clicks, tally)
    minutes = None if session is None or (folder / "sequences.txt").is_file() else session.gap_minutes
    gap_us = None if minutes is None else minutes * MINUTE_US
    types, taken = _types_of(folder, clicks, session), clicks.num_rows
    clicks = _counted(clicks, types.rules, gap_us)
    catalogue, spelling = _catalogue(folder, clicks, heard)
    if stop := too_many(str(folder), tally, taken, max_refused_share):
        raise DatasetError(stop)
    split_files = settled.own_split or bool(settled.empty)
    chosen = protocol or ("next-item" if split_files else "leave-one-out")
    notes = (
        *_notes(tally),
        *heard.notes,
        *settled.notes(),
        *types.notes(),
        *_about_split(clicks, chosen, split_files),
        *filter(
            None,
            [spelling, gap_note(settled.sessions, settled.rows.time, minutes), left_aside(folder)],
        ),
    )
    for note in notes:
        log.warning("%s: %s", folder, note)
    parts = _split(clicks, catalogue, chosen, gap_us, 1 if session is None else session.min_length)
    dataset = Dataset(
        folder.name,
        chosen,
        catalogue,
        parts.train,
        parts.valid,
        parts.test,
        validation_sequences=parts.validation_sequences,
        refused=tally.total,
        refused_by=tally.ranked(),
        # a split whose test file is missing or without clicks is not the user's where it matters
        own_split=chosen == "next-item" and settled.brings_test and not settled.empty,
        notes=notes,
    )
    return check_trainable(dataset)


def _require_known(protocol: Protocol | None) -> None:
    if protocol is not None and protocol not in PROTOCOLS:
        raise DatasetError(f"protocol '{protocol}' is unknown; use one of {', '.join(PROTOCOLS)}")


def _require_clicks(folder: Path, clicks: pa.Table, refused: Tally) -> None:
    if clicks.num_rows == 0:
        why = f" ({refused.total:,} rows refused: {refused.summary()})" if refused.total else ""
        raise DatasetError(f"dataset folder '{folder}' has no valid click{why}; add rows to clicks.*")


def _types_of(folder: Path, clicks: pa.Table, session: SessionSettings | None) -> TypeCounts:
    """Count the types of events; a ``DatasetError`` where none of them is a click."""
    types = TypeCounts(EventRules() if session is None else EventRules.from_settings(session.event_types))
    types.add(clicks.column("event_type"))
    if nothing := types.nothing_folded():
        raise DatasetError(f"dataset folder '{folder}': {nothing}")
    return types


@dataclass
class Heard:
    """What was heard while a folder was read: refused rows by reason, and the reader's notes."""

    refused: Tally = field(default_factory=Tally)
    notes: list[str] = field(default_factory=list)

    def add(self, block: FolderClicks | FolderItems) -> None:
        """Hear what one block says."""
        self.refused.add(row.reason for row in block.refused)
        self.notes += block.notes


def _read(folder: Path, now_us: int | None, heard: Heard) -> tuple[pa.Table, Settled]:
    """Return the clicks that the rules of the contract take, with ``split`` and ``again`` (stands in an
    earlier file of the split too).
    """
    rules = FolderRules()
    blocks: list[FolderClicks] = []
    for block in rules.watch(read_clicks(folder, now_us)):
        heard.add(block)
        blocks.append(replace(block, rows=block.rows.select(list(CLICK_COLUMNS))))
    settled = rules.settle()
    tables = [_EMPTY]
    for number, block in enumerate(blocks):
        taken = settled.apply(number, block, lake=False)
        heard.refused.add(row.reason for row in taken.refused)
        again = pa.array(settled.overlapping(number))
        split = pa.array([block.split] * taken.rows.num_rows, pa.string()).dictionary_encode().cast(_SPLIT)
        tables.append(taken.rows.append_column("split", split).append_column("again", again))
    return pa.concat_tables(tables).unify_dictionaries(), settled


def _counted(clicks: pa.Table, rules: EventRules, gap_us: float | None) -> pa.Table:
    """Return the events that are clicks, in the order of the files, with ``weight``: how much other events
    speak for their items.
    """
    types = ruled(clicks.column("event_type"), rules)
    session, item, split = (_codes(clicks.column(name))[0] for name in ("session_id", "item_id", "split"))
    session = session * (int(split.max(initial=0)) + 1) + split  # a test event says nothing of training
    times = clicks.column("event_time").cast(pa.int64()).to_numpy()
    order = np.lexsort((times, session))
    sorted_types = RuledColumn(types.folded[order], types.ends[order], types.weight[order])
    found = counted_clicks(session[order], item[order], times[order], sorted_types, gap_us)
    places = order[found.places]
    in_files = np.argsort(places, kind="stable")
    taken = clicks.take(pa.array(places[in_files]))
    return taken.append_column("weight", pa.array(found.weights[in_files]))


def _catalogue(folder: Path, clicks: pa.Table, heard: Heard) -> tuple[Catalogue, str | None]:
    rows: dict[str, tuple[str | None, str | None]] = {}
    for block in single_items(read_item_blocks(folder)):
        heard.add(block)
        for name, title, category in zip(
            *(block.rows.column(column).to_pylist() for column in ("item_id", "title", "category")),
            strict=True,
        ):
            rows[name] = (title, category)
    clicked = pc.unique(clicks.column("item_id")).to_pylist()
    spelling = spelling_note(clicked, rows)
    for name in clicked:
        rows.setdefault(name, (None, None))
    return Catalogue.build(
        list(rows), [title for title, _ in rows.values()], [category for _, category in rows.values()]
    ), spelling


def _notes(tally: Tally) -> Iterator[str]:
    kinds = list(tally.ranked().items())
    for kind, count in kinds[:MOST_KINDS]:
        yield f"{count:,} rows refused, such as {tally.examples[kind]}"
    if len(kinds) > 1:
        yield f"{tally.total:,} rows refused in all, for {len(kinds)} kinds of reason"


def _about_split(clicks: pa.Table, protocol: Protocol, split_files: bool) -> Iterator[str]:
    found = pc.unique(clicks.column("split").cast(pa.string())).to_pylist()
    if split_files and protocol == "leave-one-out":
        yield "leave-one-out: the clicks of all files are put together, the folder's own split is not used"
    elif split_files and "test" not in found:
        yield "there is no click in clicks_test.*: the newest sessions of clicks.* are the test"


def _split(
    clicks: pa.Table, catalogue: Catalogue, protocol: Protocol, gap_us: float | None, least: int
) -> Parts:
    if protocol == "leave-one-out":
        return leave_one_out(
            _sequences(clicks.filter(pc.invert(clicks.column("again"))), catalogue, gap_us, least)
        )
    splits = clicks.column("split").cast(pa.string())
    files = {name: clicks.filter(pc.equal(splits, name)) for name in ("train", "valid", "test")}
    made = {
        name: _sequences(table, catalogue, gap_us, least) if table.num_rows else None
        for name, table in files.items()
    }
    train = made["train"]
    if train is None:
        raise DatasetError("clicks.* has no valid click; training needs some")
    return next_item(train, made["valid"], made["test"])


def _sequences(clicks: pa.Table, catalogue: Catalogue, gap_us: float | None, least: int) -> Sequences:
    """Sort clicks by session and time (ties in file order), cut at gaps and at the least length."""
    codes, names = _codes(clicks.column("session_id"))
    times = clicks.column("event_time").cast(pa.int64()).to_numpy()
    order = np.lexsort((times, codes))  # stable: ties stay in file order
    codes, times = codes[order], times[order]
    items = _places(clicks.column("item_id"), catalogue)[order]
    weights = clicks.column("weight").to_numpy()[order]
    new_id = np.concatenate([[True], codes[1:] != codes[:-1]])
    first = np.flatnonzero(session_begins(new_id, times, gap_us))
    offsets = np.append(first, len(items)).astype(np.int64)
    history_start = np.flatnonzero(new_id)[np.cumsum(new_id)[first] - 1]
    made = Sequences(
        [names[code] for code in codes[first]],
        items,
        offsets,
        times,
        (first - history_start).astype(np.int64),
        weights if (weights != 1).any() else None,
    )
    return made.select(made.lengths >= least)


def _codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    encoded = column.combine_chunks()
    if not isinstance(encoded, pa.DictionaryArray):
        encoded = encoded.dictionary_encode()
    return np.asarray(
        encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64
    ), encoded.dictionary.to_pylist()


def _places(column: pa.ChunkedArray, catalogue: Catalogue) -> np.ndarray:
    codes, names = _codes(column)
    return np.asarray(np.array([catalogue.index[name] for name in names], dtype=np.int32)[codes])


def check_trainable(dataset: Dataset) -> Dataset:
    """Return the dataset; raise a ``DatasetError`` when no session has two clicks to learn from, or there are
    fewer than two items.
    """
    if len(dataset.catalogue) < 2:
        raise DatasetError(
            f"dataset '{dataset.name}' has {len(dataset.catalogue)} item; ranking needs two or more"
        )
    if not (dataset.train.lengths >= 2).any():
        raise DatasetError(
            f"dataset '{dataset.name}' has no session of two or more clicks to train on (sessions: "
            f"{len(dataset.train)}, protocol {dataset.protocol}); give longer sessions, or a wider "
            "session.gap_minutes"
        )
    return dataset
