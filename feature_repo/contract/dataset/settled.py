"""What was decided about the blocks of a folder, and how it is carried out block by block. Decides nothing
itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.folder import FolderClicks, Refused
from feature_repo.contract.dataset.hashes import GIVEN, RowHashes
from feature_repo.contract.dataset.repeats import CONFLICT, KEYED, OVERLAP, REPEAT, Repeats
from feature_repo.contract.dataset.rows.clicks import content_ids
from feature_repo.contract.dataset.sessions import FIRST_OWN, SPLITS, Parts

MAX_RAW = 10_000  # characters of a refused row that are kept
_COLUMNS = {
    "user": ("user_id",),
    "session": ("session_id",),
    "row": GIVEN,
    "": GIVEN,
}  # what makes an id unique, by the scope of the event ids


@dataclass(frozen=True)
class Settled:
    """What was decided about the blocks of a folder.

    Attributes
    ----------
    rows : RowHashes
    files : list of str
        Of each block.
    sessions : ndarray uint64
        A number a session of each row, before any gap rule.
    repeats : Repeats
    parts : Parts
        Of the user's own split.
    shared : ndarray int64, optional
        Two rows of one session id and different users, where session ids restart per user; a session is then
        (user, session).
    empty : tuple of str
        Files of the user's own split of which no click was taken.
    """

    rows: RowHashes
    files: list[str]
    sessions: np.ndarray
    repeats: Repeats
    parts: Parts
    shared: np.ndarray | None
    empty: tuple[str, ...] = ()

    @property
    def own_split(self) -> bool:
        """Whether the folder brings validation or test clicks of its own; they are kept as they are."""
        return self.parts.own

    @property
    def brings_test(self) -> bool:
        """Whether clicks of ``clicks_test.*`` were taken."""
        return bool(self.parts.test)

    @property
    def session_key(self) -> str:
        """What names a session: ``session`` or ``user/session``."""
        return "session" if self.shared is None else "user/session"

    @property
    def changes(self) -> bool:
        """Whether ``apply`` changes any row for the lake."""
        return bool(len(self.repeats.rows) or self.shared is not None or len(self.parts.apart))

    def kept(self) -> np.ndarray:
        """Tell which rows ``apply`` keeps; bool, shape (rows,)."""
        found = np.ones(len(self.rows), dtype=bool)
        found[self.repeats.rows[np.isin(self.repeats.action, (REPEAT, CONFLICT))]] = False
        return np.asarray(found)

    def notes(self) -> tuple[str, ...]:
        """Say what was found about the ids and the split, a line each."""
        return (*self._about_ids(), *self._about_split())

    def _about_ids(self) -> Iterator[str]:
        if self.shared is not None:
            one, other = (self._place(row) for row in self.shared.tolist())
            yield (
                f"session_id restarts per user: {one} and {other} are of two users; a session is (user_id, "
                "session_id), written user_id/session_id"
            )
        if self.repeats.scope:
            at = int(np.flatnonzero(self.repeats.action == KEYED)[0])
            places = (
                f"{self._place(int(self.repeats.rows[at]))} and {self._place(int(self.repeats.first[at]))}"
            )
            how = (
                f"event_id restarts per {self.repeats.scope}"
                if self.repeats.scope != "row"
                else "event_id does not tell clicks apart"
            )
            by = f"the {self.repeats.scope}" if self.repeats.scope != "row" else "the whole row"
            yield (
                f"{how}: {self.repeats.restarted:,} of {len(self.rows):,} clicks have another one's, such "
                f"as {places}; made unique by {by}"
            )

    def _about_split(self) -> Iterator[str]:
        for file in self.empty:
            yield f"{file}: no click of it was taken, so it is no part of the split"
        twice = np.flatnonzero(self.repeats.action == OVERLAP)
        doubled = np.unique(self.sessions[self.repeats.rows[twice]])
        if len(twice):
            places = (
                f"{self._place(int(self.repeats.rows[twice[0]]))} and "
                f"{self._place(int(self.repeats.first[twice[0]]))}"
            )
            yield (
                f"{len(twice):,} clicks of {len(doubled):,} sessions stand in two files of the split, such "
                f"as {places}; each file is kept as it is, so what is learned from holds what is tested on"
            )
        crossing = np.setdiff1d(self.parts.crossing, doubled)
        if len(crossing):
            own = np.flatnonzero(self.sessions == crossing[0])
            places = f"{self._place(int(own[0]))} and {self._place(int(own[-1]))}"
            yield (
                f"{len(crossing):,} session ids have clicks in two files of the split, such as that of "
                f"{places}; they are cut at the border"
            )

    def _place(self, row: int) -> str:
        return f"{self.files[self.rows.block[row]]} line {self.rows.line[row]}"

    def overlapping(self, number: int) -> np.ndarray:
        """Tell which clicks that ``apply`` keeps of a block stand in an earlier file of the split too; bool,
        shape (kept rows,).
        """
        own = self._inside(number)
        return np.asarray(own[(own != REPEAT) & (own != CONFLICT)] == OVERLAP)

    def apply(self, number: int, block: FolderClicks, *, lake: bool) -> FolderClicks:
        """Return a block with its repeats refused and its ids made unique.

        Parameters
        ----------
        number : int
            Place of the block among those that went by.
        block : FolderClicks
            As ``watch`` gave it.
        lake : bool
            Whether event ids are made unique too, and the later part of a session gets a name of its own
            (``session_id/test``) where its
            times overlap the earlier one's: a table knows a click by its event id, a session by id and start.
            A reader that keeps the
            files apart needs neither; its rows may lack columns.

        Returns
        -------
        FolderClicks
            Its `refused` are the fresh ones only.
        """
        action, start = self._inside(number), int(np.searchsorted(self.rows.block, number))
        out = (action == REPEAT) | (action == CONFLICT)
        refused = [self._refused(block, place, start + place) for place in np.flatnonzero(out).tolist()]
        rows = self._with_event_ids(block, action, start) if lake else block.rows
        rows = self._with_sessions(rows, block.split, self.sessions[start : start + len(action)], lake)
        if not out.any():
            return replace(block, rows=rows, refused=refused)
        return replace(block, rows=rows.filter(pa.array(~out)), lines=block.lines[~out], refused=refused)

    def _inside(self, number: int) -> np.ndarray:
        start, stop = np.searchsorted(self.rows.block, [number, number + 1])
        found = np.zeros(stop - start, dtype=np.int8)
        here = slice(*np.searchsorted(self.repeats.rows, [start, stop]))
        found[self.repeats.rows[here] - start] = self.repeats.action[here]
        return found

    def _refused(self, block: FolderClicks, place: int, row: int) -> Refused:
        at = int(np.searchsorted(self.repeats.rows, row))
        first, line = int(self.repeats.first[at]), int(block.lines[place])
        origin = (
            f"line {self.rows.line[first]}"
            if self.files[self.rows.block[first]] == block.file
            else self._place(first)
        )
        values = block.rows.slice(place, 1).to_pylist()[0]
        if self.repeats.action[at] == CONFLICT:
            text = (
                f"event_id '{values['event_id'][:64]}' was seen before at {origin}; give every click its "
                "own event_id"
            )
        elif self.rows.given[row]:
            text = (
                f"event_id '{values['event_id'][:64]}' was seen before at {origin}, with the same values; "
                "remove one of the two rows"
            )
        else:
            text = (
                f"every value is as at {origin}; remove one of the two rows, or give every click its own "
                "event_id"
            )
        return Refused(
            line,
            f"{block.file} line {line}: {text}",
            json.dumps(values, ensure_ascii=False, default=str)[:MAX_RAW],
        )

    def _with_event_ids(self, block: FolderClicks, action: np.ndarray, start: int) -> pa.Table:
        given = self.rows.given[start : start + len(action)]
        scope = _COLUMNS[self.repeats.scope] + (("user_id",) if self.shared is not None else ())
        rows = block.rows
        for chosen, columns, word in (
            ((action == KEYED) & given, scope, ""),
            ((action == KEYED) & ~given, GIVEN, ""),
            (action == OVERLAP, GIVEN, str(block.split)),
        ):
            if chosen.any():
                mask = pa.array(chosen)
                fresh = content_ids(rows.filter(mask), ("event_id", *columns), word)
                ids = pc.replace_with_mask(rows.column("event_id").combine_chunks(), mask, fresh)
                rows = rows.set_column(
                    rows.schema.get_field_index("event_id"), rows.schema.field("event_id"), ids
                )
        return rows

    def _with_sessions(self, rows: pa.Table, split: str | None, keys: np.ndarray, lake: bool) -> pa.Table:
        ids = rows.column("session_id")
        if self.shared is not None:
            user = pc.fill_null(rows.column("user_id"), "")
            safe = pc.replace_substring(
                pc.replace_substring(user, "%", "%25"), "/", "%2F"
            )  # so that no two pairs have one name
            ids = pc.if_else(pc.equal(user, ""), ids, pc.binary_join_element_wise(safe, ids, "/"))
        if lake and SPLITS.index(split) >= FIRST_OWN and len(self.parts.apart):
            ids = pc.if_else(
                pa.array(np.isin(keys, self.parts.apart)),
                pc.binary_join_element_wise(ids, str(split), "/"),
                ids,
            )
        if ids is rows.column("session_id"):
            return rows
        return rows.set_column(
            rows.schema.get_field_index("session_id"), rows.schema.field("session_id"), ids
        )
