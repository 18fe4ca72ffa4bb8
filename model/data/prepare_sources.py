"""Where the tables of a public click log lie, under the names that it is published with: files, separators,
lines of names. Knows nothing of what becomes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from feature_repo.contract.dataset.files.blocks import Block
from feature_repo.contract.dataset.files.lines import COMPRESSIONS
from feature_repo.contract.dataset.folder import DatasetFolderError, read_blocks
from feature_repo.contract.dataset.rows.clicks import REQUIRED as CLICKS_NEED
from feature_repo.contract.spellings.columns import ITEM_COLUMNS, matched
from feature_repo.contract.tables import CLICK_COLUMNS

REQUIRED = {CLICK_COLUMNS: CLICKS_NEED, ITEM_COLUMNS: ITEM_COLUMNS[:1]}
STEMS = {
    "train": (
        "clicks",
        "train",
        "events",
        "interactions",
        "ratings",
        "yoochoose-clicks",
        "train-item-views",
        "UserBehavior",
        "u",
    ),
    "valid": ("clicks_valid", "valid", "validation"),
    "test": ("clicks_test", "test", "yoochoose-test"),
}
ITEM_STEMS = ("items", "movies", "products", "articles")
SUFFIXES = (".csv", ".tsv", ".parquet", ".inter", ".item", ".txt", ".dat", ".data")
PACKED = ("", *COMPRESSIONS)
_CLICK_SUFFIX, _ITEM_SUFFIX = ".inter", ".item"
# Files that are published without a line of names.
_YOOCHOOSE = ("session_id", "event_time", "item_id", "category")
HEADLESS = {
    "yoochoose-clicks": _YOOCHOOSE, "yoochoose-test": _YOOCHOOSE,
    "UserBehavior": ("user_id", "item_id", "category_id", "event_type", "event_time"),
    "u": ("user_id", "item_id", "rating", "event_time"),
    "yoochoose-buys": ("session_id", "event_time", "item_id", "price", "quantity"),
}  # fmt: skip
# Purchases that are published in a file of their own: its stem to the type of its events.
BUYS = {"yoochoose-buys": "buys"}
_SEPARATORS = dict.fromkeys(HEADLESS, ",") | {"u": "\t"}


@dataclass(frozen=True)
class Choices:
    """What the user says of the source: columns by our names, separator and unit of times; and who hears of
    every other choice.
    """

    renamed: dict[str, str] = field(default_factory=dict)
    separator: str | None = None
    unit: str | None = None
    say: Callable[[str], None] = lambda line: None


def tables_of(source: Path, choices: Choices) -> dict[str, Path]:
    """Find the tables of a source: ``train``, ``valid``, ``test`` and ``items`` to their files.

    Raises
    ------
    DatasetFolderError
        If it holds no clicks.
    """
    if source.is_file():
        return {"train": source}
    suffixes = {"train": _CLICK_SUFFIX}
    found = {
        split: path
        for split, stems in STEMS.items()
        if (path := _find(source, stems, suffixes.get(split))) is not None
    }
    items = _find(source, ITEM_STEMS, _ITEM_SUFFIX)
    if items is not None:
        found["items"] = items
    if "train" not in found:
        others = [
            path for path in _readable(source) if path not in found.values() and _holds_clicks(path, choices)
        ]
        if len(others) != 1:
            names = ", ".join(path.name for path in (others or sorted(source.iterdir()))[:5]) or "nothing"
            raise DatasetFolderError(
                f"folder '{source}' holds no clicks; expected train.*, clicks.* or *.inter "
                f"({', '.join(SUFFIXES)}, also .gz and .zst), found {names}; name the file itself, or "
                "rename it"
            )
        found["train"] = others[0]
    return found


def bought_in(source: Path) -> list[tuple[Path, str]]:
    """Find the files of a source that hold purchases alone, each with the type of its events."""
    if source.is_file():
        return []
    found = ((_find(source, (stem,), None), name) for stem, name in BUYS.items())
    return [(path, name) for path, name in found if path is not None]


def _holds_clicks(path: Path, choices: Choices) -> bool:
    try:
        block = next(iter(read_blocks(path, separator=choices.separator)))
        return all(
            name in matched(block.rows.column_names, CLICK_COLUMNS, choices.renamed)
            for name in REQUIRED[CLICK_COLUMNS]
        )
    except DatasetFolderError:
        return False


def _find(folder: Path, stems: Sequence[str], suffix: str | None) -> Path | None:
    named = [folder / "".join(parts) for parts in product(stems, SUFFIXES, PACKED)]
    found = [path for path in named if path.exists()] or (
        [] if suffix is None else sorted(folder.glob(f"*{suffix}"))
    )
    return found[0] if found else None


def _readable(folder: Path) -> list[Path]:
    endings = tuple(map("".join, product(SUFFIXES, PACKED)))
    return sorted(path for path in folder.iterdir() if path.name.endswith(endings))


def say_left_aside(source: Path, read: set[Path], choices: Choices) -> None:
    """Say which tables of a source are not read."""
    left = [] if source.is_file() else [path.name for path in _readable(source) if path not in read]
    if left:
        choices.say(f"left aside: {', '.join(left)}")


def blocks_of(path: Path, choices: Choices) -> Iterator[Block]:
    """Read a table; where it is published without a line of names, by its published columns."""
    stem = path.name.split(".")[0]
    names = HEADLESS.get(stem) if path.suffix != ".parquet" and not _has_names(path, stem) else None
    if names is not None:
        choices.say(f"{path.name} has no line of names; its columns are {', '.join(names)}, as published")
    return read_blocks(
        path, separator=choices.separator or (_SEPARATORS[stem] if names else None), names=names
    )


def _has_names(path: Path, stem: str) -> bool:
    """Tell whether the first line of a file that is published without names holds some all the same."""
    if stem not in HEADLESS:
        return True
    first = next(iter(read_blocks(path, separator=_SEPARATORS[stem], names=HEADLESS[stem])))
    return not (
        first.rows.num_rows and str(first.rows.column(0)[0]).isdigit()
    )  # all of them begin with the number of a session or user
