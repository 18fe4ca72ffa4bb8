"""Files of answers, one JSON line each: a killed run loses none, and what is damaged is put aside."""

from __future__ import annotations

import datetime
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from feature_repo.contract.files import replace_file
from model.intent.answer.reasoning import whole
from model.intent.ask.answers import Answer
from model.intent.recipe import Recipe

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings

log = logging.getLogger("intentstore.intents")
DAMAGED: Final = "damaged"  # folder beside the files, for what could not be read
# of `intent_cache`, as an asker fills them
ANSWER_COLUMNS: Final = ("cache_key", *Answer.__dataclass_fields__)
_LARGEST: Final = 2**63 - 1
_TEXTS: Final = ("long_text", "short_text")
_MORE_TEXTS: Final = ("source", "model", "prompt_version", "created")


def spool_folder(settings: Settings) -> Path:
    """Return the folder where every process writes answers before the `intents` job commits them."""
    return settings.home / "intents" / "spool"


def cache_row(answered: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return the row of `intent_cache` of an answer; ``created`` as ISO 8601 text.

    Parameters
    ----------
    answered : mapping
        ``cache_key``, ``items`` and the fields of an ``Answer``; whatever else it holds is left out.
    recipe : Recipe
        How it was made.
    """
    return {
        **{name: answered[name] for name in ANSWER_COLUMNS},
        "items": list(answered["items"]),
        "source": recipe.source,
        "model": recipe.model,
        "prompt_version": recipe.prompt_version,
        "created": datetime.datetime.now(datetime.UTC).isoformat(),
    }


class Spool:
    """Appends rows to a file of its own.

    Parameters
    ----------
    folder : Path
        Shared by all workers of a run; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        self._stream = self._path.open("a", encoding="utf-8")

    def append(self, row: dict[str, Any]) -> None:
        """Write one row through to the operating system: it outlives this process, not the machine."""
        self._stream.write(json.dumps(row, ensure_ascii=True) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file; it stays until its rows are committed."""
        self._stream.close()


def any_row(row: Any) -> dict[str, Any]:
    """Return a line of the spool as a row with a key, whatever else it holds.

    Raises
    ------
    ValueError, KeyError, TypeError
        It is no object with a ``cache_key``.
    """
    clean = whole_values(row)
    if not isinstance(clean, dict) or not isinstance(clean["cache_key"], str) or not clean["cache_key"]:
        raise ValueError("no object with a cache_key")
    return clean


def spooled(
    folder: Path, row_of: Callable[[Any], dict[str, Any]] = any_row
) -> tuple[list[dict[str, Any]], list[Path]]:
    """Return every whole row left in a spool, and the files they are in.

    Parameters
    ----------
    folder : Path
        Of the spool.
    row_of : callable
        Which rows are whole, see ``whole_rows``: ``answer_row`` = those that the table takes.

    Returns
    -------
    rows, files
        A last line cut off by a kill is left out: its call did not finish. A file with other damage is put
        aside; its whole rows count.
    """
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    read = {file: whole_rows(file, row_of) for file in files}
    return [row for rows in read.values() for row in rows], [file for file in files if file.exists()]


def clear(files: list[Path]) -> None:
    """Remove spool files whose rows are committed."""
    for file in files:
        file.unlink(missing_ok=True)


def answer_row(row: Any) -> dict[str, Any]:
    """Return a line of the spool as a row that the cache can hold.

    Raises
    ------
    ValueError, KeyError, TypeError
        A column is missing or of another type.
    """
    clean = any_row(row)
    if not all(isinstance(clean[name], str) for name in _TEXTS):
        raise ValueError("no answer with long_text and short_text")
    for name in _MORE_TEXTS:
        clean[name] = "" if clean.get(name) is None else clean[name]
        if not isinstance(clean[name], str):
            raise ValueError(f"'{name}' is no text")
    clean["created"] = clean["created"] or datetime.datetime.now(datetime.UTC).isoformat()
    moment = datetime.datetime.fromisoformat(clean["created"])
    if not 1970 <= moment.year <= 9000:
        raise ValueError(f"'created' is {clean['created']}")
    items = clean.get("items") or []
    if not isinstance(items, list):
        raise ValueError("'items' is no list")
    clean["items"] = [str(item) for item in items if item is not None]
    for name in ("input_tokens", "output_tokens"):
        clean[name] = min(max(0, int(clean.get(name) or 0)), _LARGEST)
    clean["seconds"] = float(clean.get("seconds") or 0.0)
    return clean


def whole_values(value: Any) -> Any:
    """Return a JSON value with every text in it as files and tables can hold it."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [whole_values(part) for part in value]
    return (
        {whole(name): whole_values(part) for name, part in value.items()}
        if isinstance(value, dict)
        else value
    )


def whole_rows(file: Path, row_of: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of a file of answers that are whole.

    Damage beyond a last line without its end puts the file aside, with one line in the log: into the folder
    ``damaged`` beside it, as it was. The whole rows then stand in a file of its name again, so that nothing
    is lost and nothing is in the way of the next run.

    Parameters
    ----------
    file : Path
        One JSON object a line.
    row_of : callable
        Gives the row of an object, or raises ValueError, KeyError, TypeError or OverflowError.
    """
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        put_aside(file, f"cannot be read ({error.strerror or error})")
        return []
    rows, damage, unfinished = [], "", lines.pop()
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                rows.append(row_of(json.loads(line.decode("utf-8"))))
        except (ValueError, KeyError, TypeError, OverflowError, AttributeError, RecursionError) as error:
            damage = damage or f"line {number} is no answer ({' '.join(str(error).split())[:120]})"
    if unfinished.strip():
        rows += _rescued(unfinished, row_of)
        log.info(
            "intents: the last line in %s was cut off by a kill; its call is made again if it is not whole",
            file.name,
        )
    if damage:
        put_aside(file, damage, rows)
    return rows


def _rescued(line: bytes, row_of: Callable[[Any], dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the row of a last line that lacks nothing but its end."""
    try:
        yield row_of(json.loads(line.decode("utf-8")))
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError, RecursionError):
        return  # cut off: the call that it belongs to did not finish


def put_aside(file: Path, reason: str, kept: list[dict[str, Any]] | None = None) -> None:
    """Move a file that cannot be used into the folder ``damaged`` beside it, with one line; never raises.

    Parameters
    ----------
    file : Path
        What is in the way: a file, a folder of that name, a broken link.
    reason : str
        For the line.
    kept : list of dict, optional
        Rows to leave in its place.
    """
    folder = file.parent / DAMAGED
    target = folder / f"{file.name}.{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if kept:
            shutil.copy2(file, target)
            rows = (json.dumps(row, ensure_ascii=True, default=str) + "\n" for row in kept)
            replace_file(file, "".join(rows))
        else:
            file.rename(target)
    except OSError as error:
        log.warning(
            "intents: %s %s, and it cannot be put aside (%s); remove it by hand",
            file,
            reason,
            error.strerror or error,
        )
        return
    rest = f"; {len(kept)} whole answers of it are kept" if kept else "; what it held is asked again"
    log.warning("intents: %s %s; it was put aside as %s%s", file, reason, target, rest)
