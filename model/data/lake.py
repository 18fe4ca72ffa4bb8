"""A dataset out of the lake's tables, given as Arrow: the pinned training set, sessions, items and item
vectors. Knows nothing of Spark or Delta.
"""

from __future__ import annotations

from itertools import chain

import numpy as np
import pyarrow as pa

from feature_repo.contract.dataset.folder import DatasetFolderError
from model.data.catalogue import Catalogue
from model.data.sequences import Cases, Sequences
from model.data.splits import Dataset


def from_tables(
    training_set: pa.Table,
    sessions: pa.Table,
    items: pa.Table | None = None,
    item_vectors: pa.Table | None = None,
    *,
    name: str = "lake",
) -> Dataset:
    """Make a dataset of tables with the schemas of ``feature_repo.contract.tables``.

    Parameters
    ----------
    training_set : pa.Table
        One row a case; its ``split`` says train, valid or test.
    sessions : pa.Table
        Those of split ``train`` are learned from; a click that is the target of a validation or test case,
        and all after it, is cut off.
    items, item_vectors : pa.Table, optional
    name : str

    Returns
    -------
    Dataset
        Intent vectors of the training set are with ``valid``, ``test`` and ``train_cases``.

    Raises
    ------
    DatasetFolderError
        If a table lacks a column or there are no sessions to learn from.
    """
    for table, label, columns in (
        (
            training_set,
            "training_set",
            ("session_id", "position", "target", "split", "items", "event_timestamp"),
        ),
        (sessions, "sessions", ("session_id", "items", "times", "first_position", "split")),
    ):
        missing = [column for column in columns if column not in table.column_names]
        if missing:
            raise DatasetFolderError(
                f"table {label}: column '{missing[0]}' is missing; run the jobs again with this version"
            )
    catalogue = _catalogue(sessions, training_set, items, item_vectors)
    splits = np.array(training_set.column("split").to_pylist(), dtype=object)
    everything = _cases(training_set, catalogue)
    valid, test = everything.select(splits == "valid"), everything.select(splits == "test")
    train, before = _train(sessions, catalogue, valid, test)
    if not (train.lengths >= 2).any():
        raise DatasetFolderError(
            "table sessions: no training session has two clicks or more; check session.min_length and the "
            "split"
        )
    known = _sessions(sessions, catalogue)
    return Dataset(
        name,
        "tables",
        catalogue,
        train,
        valid,
        test,
        everything.select(splits == "train"),
        before,
        all_sequences=known.select(known.lengths > 0),
    )


def joined(items: pa.Table, item_vectors: pa.Table) -> Catalogue:
    """Make a catalogue of the items that have both a title and a vector, ordered by id.

    Parameters
    ----------
    items : pa.Table
        With ``item_id``, ``title``, ``category``.
    item_vectors : pa.Table
        With ``item_id``, ``vector``, all of one encoder.

    Returns
    -------
    Catalogue
        Empty, and without vectors, where nothing has both.

    Raises
    ------
    DatasetFolderError
        If vectors differ in length.
    """
    ids, titles, categories = (items[name].to_pylist() for name in ("item_id", "title", "category"))
    named = {
        item: (title, category)
        for item, title, category in zip(ids, titles, categories, strict=True)
        if title
    }
    matrix = _vectors(item_vectors["vector"]) if item_vectors.num_rows else None
    places = (
        {item: row for row, item in enumerate(item_vectors["item_id"].to_pylist()) if item in named}
        if matrix is not None
        else {}
    )
    ids = sorted(places)
    catalogue = Catalogue.build(ids, [named[item][0] for item in ids], [named[item][1] for item in ids])
    if matrix is None or not ids:
        return catalogue
    return Catalogue(
        catalogue.item_ids, catalogue.titles, catalogue.categories, matrix[[places[item] for item in ids]]
    )


def _catalogue(
    sessions: pa.Table, training_set: pa.Table, items: pa.Table | None, item_vectors: pa.Table | None
) -> Catalogue:
    rows: dict[str, tuple[str | None, str | None]] = {}
    if items is not None:
        listed = zip(
            *(items.column(column).to_pylist() for column in ("item_id", "title", "category")), strict=True
        )
        rows = {item: (title, category) for item, title, category in listed}
    lists = [table.column("items").combine_chunks().flatten() for table in (sessions, training_set)]
    clicked = [*lists, training_set.column("target").combine_chunks()]
    for column in clicked:
        for item in column.unique().to_pylist():
            if item is not None:
                rows.setdefault(item, (None, None))
    catalogue = Catalogue.build(
        list(rows), [title for title, _ in rows.values()], [category for _, category in rows.values()]
    )
    if item_vectors is None or item_vectors.num_rows == 0:
        return catalogue
    matrix = _vectors(item_vectors.column("vector"))
    if matrix is None:
        return catalogue
    vectors = np.zeros((len(catalogue), matrix.shape[1]), dtype=np.float32)
    for row, item in enumerate(item_vectors.column("item_id").to_pylist()):
        if item in catalogue.index:
            vectors[catalogue.index[item]] = matrix[row]
    return Catalogue(catalogue.item_ids, catalogue.titles, catalogue.categories, vectors)


def _vectors(column: pa.ChunkedArray) -> np.ndarray | None:
    """Return a list column as rows, a zero row for null or empty; None when every row is."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    lengths = np.asarray(array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    dim = int(lengths.max(initial=0))
    if dim == 0:
        return None
    if not np.isin(lengths, (0, dim)).all():
        raise DatasetFolderError(
            f"vectors of {sorted(set(lengths.tolist()) - {0})} dimensions in one column; encode all with "
            "one encoder"
        )
    matrix = np.zeros((len(array), dim), dtype=np.float32)
    matrix[lengths == dim] = np.asarray(
        array.flatten().to_numpy(zero_copy_only=False), dtype=np.float32
    ).reshape(-1, dim)
    return matrix


def _cases(table: pa.Table, catalogue: Catalogue) -> Cases:
    prefixes = [catalogue.known(items or []) for items in table.column("items").to_pylist()]
    targets = np.array([catalogue.index[item] for item in table.column("target").to_pylist()], dtype=np.int32)
    positions = np.asarray(table.column("position").to_numpy(), dtype=np.int64)
    lengths = np.array([len(prefix) for prefix in prefixes], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    moments = table.column("event_timestamp").cast(pa.int64()).to_numpy()
    flat = np.array(list(chain.from_iterable(prefixes)), dtype=np.int32)
    # The prefix is the last clicks before the target, all stamped with the instant at which they were known
    # together.
    ids = table.column("session_id").to_pylist()
    made = Cases(
        Sequences(ids, flat, offsets, np.repeat(moments, lengths), positions - lengths),
        targets,
        positions,
        *_intents(table),
    )
    return made.select(lengths > 0)


def _intents(table: pa.Table) -> tuple[np.ndarray | None, np.ndarray | None]:
    if not {"long_vector", "short_vector"} <= set(table.column_names):
        return None, None
    found = {name: _vectors(table.column(name)) for name in ("long_vector", "short_vector")}
    for name, vectors in found.items():
        broken = (
            np.zeros(0, dtype=np.int64)
            if vectors is None
            else np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        )
        if len(broken):
            case = ":".join(
                str(table.column(column)[int(broken[0])].as_py()) for column in ("session_id", "position")
            )
            raise DatasetFolderError(
                f"table training_set: {name} of case {case} holds NaN or infinity; infer the intents again"
            )
    return found["long_vector"], found["short_vector"]


def _train(table: pa.Table, catalogue: Catalogue, valid: Cases, test: Cases) -> tuple[Sequences, Sequences]:
    """Return the training sessions without any held-out click, and the same with validation put back."""
    every = _sessions(table, catalogue)
    splits = np.array(table.column("split").to_pylist(), dtype=object)
    before = every.select((splits == "train") | (splits == "valid"))
    before = before.cut(_first_held_out(before, test))
    train = every.select(splits == "train")
    train = train.cut(np.minimum(_first_held_out(train, test), _first_held_out(train, valid)))
    return train.select(train.lengths > 0), before.select(before.lengths > 0)


def _sessions(table: pa.Table, catalogue: Catalogue) -> Sequences:
    lists, times = table.column("items").combine_chunks(), table.column("times").combine_chunks()
    lengths = np.asarray(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    encoded = lists.flatten().dictionary_encode()
    places = np.array([catalogue.index[item] for item in encoded.dictionary.to_pylist()], dtype=np.int32)
    items = (
        places[np.asarray(encoded.indices.to_numpy(zero_copy_only=False))]
        if len(places)
        else np.array([], dtype=np.int32)
    )
    moments = np.asarray(times.flatten().cast(pa.int64()).to_numpy(zero_copy_only=False))
    first = np.asarray(table.column("first_position").to_numpy(), dtype=np.int64)
    return Sequences(
        table.column("session_id").to_pylist(), items, offsets, moments, first, _weights(table, len(items))
    )


def _weights(table: pa.Table, clicks: int) -> np.ndarray | None:
    """Return how much each click's item is spoken for; None where nothing says, or all are alike."""
    if "weights" not in table.column_names or table.column("weights").null_count:
        return None
    flat = table.column("weights").combine_chunks().flatten()
    weights = np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float32)
    return weights if len(weights) == clicks and (weights != 1).any() else None


def _first_held_out(sessions: Sequences, cases: Cases) -> np.ndarray:
    """Return how many clicks of each session come before its first held-out target; all where it has none."""
    earliest: dict[str, list[int]] = {}
    for name, position in zip(cases.prefixes.session_ids, cases.positions.tolist(), strict=True):
        earliest.setdefault(name, []).append(position)
    keep = sessions.lengths.copy()
    for place, name in enumerate(sessions.session_ids):
        start = int(sessions.first_position[place])
        inside = [
            position - start for position in earliest.get(name, ()) if start <= position < start + keep[place]
        ]
        if inside:
            keep[place] = min(inside)
    return keep
