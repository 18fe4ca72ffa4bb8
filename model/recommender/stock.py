"""Which items may be shown now, and what they cost and are: one small file that `ingest` writes, and what the
items topic says since. Knows nothing of models.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from feature_repo.contract.files import replace_file
from feature_repo.contract.items.fold import NO_ITEMS, LiveItems
from feature_repo.contract.items.messages import Attributes
from feature_repo.contract.settings import Settings

LOOK_SECONDS = 0.5  # a change of the file is in the answers after this; one stat call
log = logging.getLogger("intentstore.model.stock")


@dataclass(frozen=True)
class Stock:
    """What may be shown at one moment; never changed, always replaced.

    Attributes
    ----------
    withdrawn : frozenset of str
        Items that are not available.
    attributes : mapping of str to attributes
        By item; of those that have any.
    """

    withdrawn: frozenset[str] = frozenset()
    attributes: Mapping[str, Attributes] = field(default_factory=dict)


EVERYTHING = Stock()


def file_of(settings: Settings) -> Path:
    """Return the file of what the lake knows."""
    return settings.home / "catalogue" / "stock.json"


def write(settings: Settings, withdrawn: Iterable[str], attributes: Mapping[str, Attributes]) -> bool:
    """Replace the file at once where it says something else; returns whether it did."""
    content = {"withdrawn": sorted(set(withdrawn)), "attributes": dict(sorted(attributes.items()))}
    file, text = file_of(settings), json.dumps(content, ensure_ascii=False) + "\n"
    try:
        if file.read_text(encoding="utf-8") == text:
            return False
    except FileNotFoundError:
        if not content["withdrawn"] and not content["attributes"]:
            return False
    replace_file(file, text)
    return True


class Stocks:
    """Follows the file and the topic; where the topic has a record of an item, that record counts.

    Parameters
    ----------
    file : Path
        Need not exist: then everything is available.
    live : callable, optional
        Gives what the topic says now.
    seconds : float
        Between two looks at the file.
    """

    def __init__(
        self, file: Path, live: Callable[[], LiveItems] = lambda: NO_ITEMS, seconds: float = LOOK_SECONDS
    ) -> None:
        self._file, self._live, self._seconds = file, live, seconds
        self._stamp: tuple[int, int] | None = None
        self._look_at = 0.0
        self._stored = EVERYTHING
        self._made: tuple[Stock, LiveItems, Stock] = EVERYTHING, NO_ITEMS, EVERYTHING

    def now(self) -> Stock:
        """Return what may be shown; the very same object while nothing changed. A file that cannot be read
        leaves what was known, and is said once.
        """
        self._look()
        stored, live = self._stored, self._live()
        made_of, with_live, made = self._made
        if stored is not made_of or live is not with_live:
            made = _together(stored, live, made)
            self._made = stored, live, made
        return made

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + self._seconds
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._stamp, self._stored = None, EVERYTHING
            return
        stamp = (found.st_mtime_ns, found.st_ino)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            self._stored = Stock(frozenset(content["withdrawn"]), dict(content["attributes"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning(
                "%s cannot be read (%s); availability stays as it was, run `python -m spark_jobs ingest`",
                self._file,
                error,
            )


def _together(stored: Stock, live: LiveItems, before: Stock) -> Stock:
    gone = frozenset(item for item, update in live.items.items() if not update.available)
    withdrawn = frozenset(item for item in stored.withdrawn if item not in live.items) | gone
    said = {item: update.attributes for item, update in live.items.items() if update.attributes is not None}
    attributes: Mapping[str, Attributes] = {**stored.attributes, **said}
    if attributes == before.attributes:
        attributes = before.attributes  # so that what was made of them is kept
    if withdrawn == before.withdrawn and attributes is before.attributes:
        return before
    return Stock(withdrawn, attributes)
