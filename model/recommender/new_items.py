"""Items that joined the catalogue after training: one file beside the model folders, and a model that ranks
them too. Knows nothing of tables.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from model.data.catalogue import Catalogue

if TYPE_CHECKING:
    from model.recommender.recommender import Scorer

FILE = "new_items.safetensors"
FORMAT_VERSION = "1"
log = logging.getLogger("intentstore.model.new_items")


class NewItemsError(RuntimeError):
    """A file of new items that cannot be used; the text says why and the remedy."""


class NewItems(NamedTuple):
    """What the file holds.

    Attributes
    ----------
    catalogue : Catalogue
        With titles and vectors.
    encoder : str
        Name of the text encoder that made the vectors.
    """

    catalogue: Catalogue
    encoder: str


def file_of(folder: Path) -> Path:
    """Return where new items of a model folder (or of a link to one) are looked for: beside it, so that every
    version finds the same file.
    """
    return folder.resolve().parent / FILE


def stamp(folder: Path) -> tuple[int, int]:
    """Return what changes whenever the new items of a model folder do (time of writing and inode); zeros
    without a file.
    """
    try:
        found = file_of(folder).stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_ino


def write(models_dir: Path, items: NewItems) -> bool:
    """Replace the file at once, or take it away when there are no new items.

    Parameters
    ----------
    models_dir : Path
        Folder of the model folders.
    items : NewItems
        Each with a title and a vector.

    Returns
    -------
    bool
        False when the file said the same already; it is then left alone, so that no model is loaded again for
        nothing.

    Raises
    ------
    NewItemsError
        An item has no title, or there are no vectors.
    """
    file = models_dir / FILE
    if not len(items.catalogue):
        existed = file.exists()
        file.unlink(missing_ok=True)
        return existed
    _check(items.catalogue, file)
    vectors = np.ascontiguousarray(items.catalogue.vectors, dtype=np.float32)
    listed = {
        "item_ids": items.catalogue.item_ids,
        "titles": items.catalogue.titles,
        "categories": items.catalogue.categories,
    }
    text = json.dumps(listed, ensure_ascii=False)
    about = {
        "format": FORMAT_VERSION,
        "encoder": items.encoder,
        "items": text,
        "sha256": _digest(items.encoder, text, vectors),
    }
    if _written(file) == about["sha256"]:
        return False
    models_dir.mkdir(parents=True, exist_ok=True)
    part = models_dir / f".{FILE}.{os.getpid()}.part"
    try:
        save_file({"vectors": vectors}, part, metadata=about)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return True


def read(file: Path) -> NewItems:
    """Read what ``write`` wrote.

    Raises
    ------
    NewItemsError
        Cut off, altered, of another format, without titles or with NaN.
    """
    try:
        with safe_open(file, framework="np") as opened:
            about, vectors = opened.metadata() or {}, opened.get_tensor("vectors")
        if about.get("format") != FORMAT_VERSION:
            raise NewItemsError(
                f"'{file}' has format {about.get('format')!r}, this code reads {FORMAT_VERSION!r}; "
                "materialise `new_items` again"
            )
        if about["sha256"] != _digest(about["encoder"], about["items"], vectors):
            raise NewItemsError(f"'{file}' was altered; materialise `new_items` again")
        listed = json.loads(about["items"])
        catalogue = Catalogue(listed["item_ids"], listed["titles"], listed["categories"], vectors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise NewItemsError(f"'{file}' cannot be read ({error}); materialise `new_items` again") from None
    _check(catalogue, file)
    return NewItems(catalogue, about["encoder"])


def load(folder: Path) -> Scorer:
    """Read a model folder, and let the model rank the new items beside it as well.

    Parameters
    ----------
    folder : Path
        A model folder, or a link to one.

    Returns
    -------
    Scorer
        Of the model's own version. New items that cannot be used are left out, with one line in the log: they
        never cost the model.

    Raises
    ------
    model.recommender.artifact.ArtifactError
        If the folder itself is no whole model.
    """
    from model.recommender import artifact

    scorer, file = artifact.load(folder), file_of(folder)
    if not file.is_file():
        return scorer
    try:
        grown = _with(scorer, read(file), str(artifact.read_manifest(folder).get("encoder", "")))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, the model answers without it
        log.error(
            "new items are left out, model %s answers without them: %s",
            scorer.version,
            " ".join(str(error).split())[:500],
        )
        return scorer
    if grown is not scorer:
        log.info(
            "model %s ranks %d items that joined after its training, from their titles",
            scorer.version,
            len(grown.item_ids) - len(scorer.item_ids),
        )
    return grown


def _with(scorer: Scorer, new: NewItems, encoder: str) -> Scorer:
    from model.recommender.recommender import ScoreRequest

    if scorer.text_dim is None:
        raise NewItemsError("this model reads no titles; train one on items with titles")
    if encoder and new.encoder and encoder != new.encoder:
        raise NewItemsError(
            f"their vectors are of encoder '{new.encoder}', the model's of '{encoder}'; materialise "
            "`new_items` again, or train anew"
        )
    grown = scorer.with_items(new.catalogue)
    if grown is not scorer:
        # what cannot answer is found here, not at a click
        grown.score([ScoreRequest([scorer.item_ids[0], grown.item_ids[-1]])], 1)
    return grown


def _check(catalogue: Catalogue, file: Path) -> None:
    if catalogue.vectors is None:
        raise NewItemsError(f"'{file}': the items have no vectors; run the job `item-vectors`")
    bare = next(
        (name for name, title in zip(catalogue.item_ids, catalogue.titles, strict=True) if not title), None
    )
    if bare is not None:
        raise NewItemsError(
            f"'{file}': item '{bare}' has no title, by which alone it could be ranked; leave it out"
        )


def _digest(encoder: str, listed: str, vectors: np.ndarray) -> str:
    digest = hashlib.sha256(f"{encoder}\0{vectors.shape}\0{listed}".encode("utf-8", "surrogatepass"))
    digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()


def _written(file: Path) -> str:
    try:
        with safe_open(file, framework="np") as opened:
            return str((opened.metadata() or {}).get("sha256", ""))
    except (SafetensorError, OSError):
        return ""  # none, or damaged: it is written anew
