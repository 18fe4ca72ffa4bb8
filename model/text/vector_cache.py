"""Text vectors of a catalogue, kept on disk under the hash of what was encoded, so that a second run encodes
nothing.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from feature_repo.contract.files import replacing
from model.data.catalogue import Catalogue, Encoder

log = logging.getLogger("intentstore.model.vectors")


class NamedEncoder(Encoder, Protocol):
    """An encoder with an identity."""

    @property
    def name(self) -> str:
        """Model, digest and number type."""
        ...


def encoded(catalogue: Catalogue, encoder: NamedEncoder, folder: Path) -> Catalogue:
    """Return the catalogue with text vectors, from the cache where it has them.

    Parameters
    ----------
    catalogue : Catalogue
    encoder : NamedEncoder
    folder : Path
        Cache folder; made when missing. A damaged file is encoded again.

    Returns
    -------
    Catalogue
        Unchanged when no item has text.
    """
    if not catalogue.has_text:
        return catalogue
    digest = hashlib.sha256(
        "\0".join([encoder.name, *catalogue.texts]).encode("utf-8", "surrogatepass")
    ).hexdigest()[:32]
    file = folder / f"{digest}.safetensors"
    if file.exists():
        try:
            return replace(catalogue, vectors=load_file(file)["vectors"])
        except (SafetensorError, KeyError, OSError) as error:
            log.warning("cached vectors '%s' cannot be read (%s); encoding again", file, error)
    named = sum(1 for text in catalogue.texts if text)
    log.info("encoding %d item texts with %s", named, encoder.name)
    done = catalogue.encoded(encoder)
    if done.vectors is not None:
        with replacing(file) as part:
            save_file({"vectors": np.ascontiguousarray(done.vectors)}, part)
    return done
