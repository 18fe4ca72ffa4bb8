"""A look at a user's dataset folder by the reader that `ingest` uses, and the settings file that fits it.
Writes nothing but that file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.contract.dataset.folder import (
    SEQUENCES,
    click_files,
    find_table,
    read_blocks,
    read_clicks,
    read_item_blocks,
)
from feature_repo.contract.dataset.refusals import Tally
from feature_repo.contract.dataset.rules import FolderRules, single_items
from feature_repo.contract.events.found import TypeCounts
from feature_repo.contract.events.rules import EventRules

USUAL_RULES = EventRules()
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # TOML allows none in a comment


@dataclass
class Found:
    """What a dataset folder holds.

    Attributes
    ----------
    folder : Path
    columns : dict of str to list of str
        File to the columns of its header.
    clicks, repeats, sessions, items, titles : int
        Rows taken, rows that repeat another one, session ids, clicked items, titles of the catalogue.
    first, last : datetime or None
        Range of the times, UTC.
    event_types : dict of str to int
        Each kind of event and how often; empty where the files do not say.
    counted : tuple of str
        What the types count for by `session.event_types`, a line each.
    refused : Tally
        Rows that cannot be used, by kind of reason.
    notes : list of str
        Choices of the reader, a line each.
    own_split : bool
        Whether the folder brings validation or test clicks.
    """

    folder: Path
    columns: dict[str, list[str]] = field(default_factory=dict)
    clicks: int = 0
    repeats: int = 0
    sessions: int = 0
    items: int = 0
    titles: int = 0
    first: datetime | None = None
    last: datetime | None = None
    event_types: dict[str, int] = field(default_factory=dict)
    counted: tuple[str, ...] = ()
    refused: Tally = field(default_factory=Tally)
    notes: list[str] = field(default_factory=list)
    own_split: bool = False

    def refused_share(self) -> float:
        """Share of all rows that is refused, repeats too."""
        lost = self.refused.total + self.repeats
        return lost / max(1, lost + self.clicks)

    def lines(self) -> list[str]:
        """Say what was found, a line a fact."""
        said = [f"{name}: columns {', '.join(columns)}" for name, columns in self.columns.items()]
        said.append(
            f"{self.clicks:,} clicks of {self.sessions:,} session ids on {self.items:,} items"
            + (f", from {_day(self.first)} to {_day(self.last)} (UTC)" if self.first else "")
        )
        said += self.counted
        said.append(
            f"titles: {self.titles:,}" if self.titles else "no titles (items.*): behaviour alone, no intents"
        )
        if self.own_split:
            said.append("the folder's own split into training, validation and test is kept")
        if self.repeats:
            said.append(f"{self.repeats:,} rows repeat another one and are refused")
        said.append(
            f"{self.refused.total:,} rows will be refused: {self.refused.summary()}"
            if self.refused.total
            else "no row will be refused"
        )
        return said + [f"note: {note}" for note in self.notes]

    def to_dict(self) -> dict[str, Any]:
        """Give the same as JSON has it."""
        return {
            "folder": str(self.folder),
            "columns": self.columns,
            "clicks": self.clicks,
            "sessions": self.sessions,
            "items": self.items,
            "titles": self.titles,
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "event_types": self.event_types,
            "repeats": self.repeats,
            "refused": self.refused.total,
            "refused_by": self.refused.ranked(),
            "notes": self.notes,
            "own_split": self.own_split,
        }


def look(folder: Path, now: datetime, events: EventRules = USUAL_RULES) -> Found:
    """Read a whole dataset folder as `ingest` would, and count.

    Parameters
    ----------
    folder : Path
    now : datetime
        Clicks more than a day ahead of it are refused.
    events : EventRules
        What each type of event counts for.

    Raises
    ------
    DatasetFolderError
        The folder cannot be read; one line with the remedy.
    """
    found = Found(folder)
    for _, path in click_files(folder):
        if path.name != SEQUENCES:
            _note_columns(found, path)
    rules, items, types = FolderRules(), set[str](), TypeCounts(events)
    times: list[tuple[int, int]] = []
    now_us = int(now.timestamp() * 1_000_000)
    for block in rules.watch(read_clicks(folder, now_us)):
        found.refused.add(row.reason for row in block.refused)
        found.notes += block.notes
        if block.rows.num_rows:
            items.update(pc.unique(block.rows.column("item_id")).to_pylist())
            types.add(block.rows.column("event_type"))
            span = pc.min_max(block.rows.column("event_time").cast(pa.int64())).as_py()
            times.append((span["min"], span["max"]))
    settled = rules.settle()
    kept = settled.kept()
    found.notes += settled.notes()
    found.clicks, found.repeats = int(kept.sum()), int((~kept).sum())
    found.sessions, found.items, found.own_split = (
        len(np.unique(settled.sessions)),
        len(items),
        settled.own_split,
    )
    named = [(name, count) for name, count in types.counts.items() if name is not None]
    found.event_types = dict(sorted(named, key=lambda pair: -pair[1]))
    found.counted = tuple(types.notes())
    found.notes += filter(None, [types.nothing_folded()])
    if times:
        found.first, found.last = _moment(min(times)[0]), _moment(max(high for _, high in times))
    _look_at_items(found, folder)
    return found


def _look_at_items(found: Found, folder: Path) -> None:
    path = find_table(folder, "items")
    if path is None:
        return
    _note_columns(found, path)
    for block in single_items(read_item_blocks(folder)):
        found.refused.add(row.reason for row in block.refused)
        found.notes += block.notes
        found.titles += block.rows.num_rows - block.rows.column("title").null_count


def _note_columns(found: Found, path: Path) -> None:
    block = next(iter(read_blocks(path)), None)
    if block is not None:
        found.columns[path.name] = list(block.rows.column_names)


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def _day(moment: datetime | None) -> str:
    return "?" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def settings_text(found: Found, home: str) -> str:
    """Write the settings file of a folder: every key with its default, commented out, and this folder's own.

    Parameters
    ----------
    found : Found
    home : str
        Folder of everything made at run time; a lake holds one dataset.

    Returns
    -------
    str
        TOML that `load_settings` takes.
    """
    text = resources.files("intentstore").joinpath("defaults.toml").read_text(encoding="utf-8")
    said = [f"What `intentstore init` saw on {datetime.now(UTC):%Y-%m-%d}:", *found.lines()]
    seen = "\n".join(f"# {_CONTROL.sub('?', line)}" for line in said)
    own = f"{seen}\npath = {_quoted(str(found.folder.absolute()))}"
    text = re.sub(r"(?m)^#home = .*$", lambda _: f"home = {_quoted(home)}", text, count=1)
    text = re.sub(r"(?m)^#path = .*$", lambda _: own, text, count=1)
    if not found.titles:
        intents = '# no titles, so there is nothing to ask an LLM about\nsource = "none"'
        text = re.sub(r"(?m)^#source = .*$", lambda _: intents, text, count=1)
    return text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
