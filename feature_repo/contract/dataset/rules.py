"""The rules of a whole folder: which rows are repeats, what an id names, where the user's split overlaps. One
code path for lake and loader.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from feature_repo.contract.dataset.folder import FolderClicks, FolderItems, Refused
from feature_repo.contract.dataset.hashes import HashCollector
from feature_repo.contract.dataset.repeats import find_repeats
from feature_repo.contract.dataset.rows.clicks import fill_event_ids
from feature_repo.contract.dataset.sessions import (
    FIRST_OWN,
    SPLITS,
    restarts_per_user,
    session_keys,
    split_parts,
)
from feature_repo.contract.dataset.settled import MAX_RAW, Settled


class FolderRules:
    """Watches the blocks of a folder go by, and then decides about the folder as a whole.

    In this order: pass every block through ``watch`` and keep it; ``settle`` once; then ``Settled.apply`` to
    every kept block.
    """

    def __init__(self) -> None:
        self._hashes = HashCollector()
        self._files: list[str] = []
        self._splits: list[int] = []

    def watch(self, blocks: Iterable[FolderClicks]) -> Iterator[FolderClicks]:
        """Yield the blocks with every missing event id derived from session, item and time; see
        ``derive_event_id``.
        """
        for block in blocks:
            rows, given = fill_event_ids(block.rows)
            self._hashes.add(rows, block.lines, given)
            self._files.append(block.file)
            self._splits.append(SPLITS.index(block.split))
            yield replace(block, rows=rows)

    def settle(self) -> Settled:
        """Decide about all blocks that went by."""
        rows = self._hashes.joined()
        splits = (
            np.array(self._splits, dtype=np.int8)[rows.block] if len(rows) else np.zeros(0, dtype=np.int8)
        )
        shared = restarts_per_user(rows)
        keys = session_keys(rows, shared is not None)
        return Settled(
            rows,
            self._files,
            keys,
            find_repeats(rows, splits, by_user=shared is not None),
            split_parts(keys, rows.time, splits),
            shared,
            self._without_clicks(splits),
        )

    def _without_clicks(self, splits: np.ndarray) -> tuple[str, ...]:
        found = set(np.unique(splits).tolist())
        return tuple(
            dict.fromkeys(
                file.split("/")[0]
                for file, split in zip(self._files, self._splits, strict=True)
                if split >= FIRST_OWN and split not in found
            )
        )


def single_items(blocks: Iterable[FolderItems]) -> Iterator[FolderItems]:
    """Yield blocks of items without the second and further rows of an item, which are refused with both
    lines.
    """
    seen: dict[str, int] = {}
    for block in blocks:
        first = np.ones(block.rows.num_rows, dtype=bool)
        refused = list(block.refused)
        for row, (item, line) in enumerate(
            zip(block.rows.column("item_id").to_pylist(), block.lines.tolist(), strict=True)
        ):
            if item in seen:
                first[row] = False
                reason = (
                    f"{block.file} line {line}: item_id '{item[:64]}' stands at line {seen[item]} already; "
                    "keep one of them"
                )
                refused.append(
                    Refused(
                        line,
                        reason,
                        json.dumps(block.rows.slice(row, 1).to_pylist()[0], ensure_ascii=False)[:MAX_RAW],
                    )
                )
            seen.setdefault(item, line)
        yield replace(
            block, rows=block.rows.filter(pa.array(first)), refused=refused, lines=block.lines[first]
        )
