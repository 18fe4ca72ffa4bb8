"""Model folders: what is in one, how it is written and read, and which one is in use. No pickle anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from model.config import ConfigError, ModelConfig, make_config
from model.data.catalogue import Catalogue
from model.network.compiled import CompiledNetwork
from model.network.text_space import TextSpace
from model.recommender.recommender import Scorer

if TYPE_CHECKING:
    from model.recommender.train import Trained

FORMAT_VERSION = 1
TENSORS, MANIFEST, ITEMS, INTENT, PROMOTED = (
    "model.safetensors",
    "manifest.json",
    "items.json",
    "intent",
    "promoted",
)


MEASURED = "measured"  # folder of the model whose figures the manifest holds, where another serves
FIGURES_OF = {
    True: (
        "measured on held-out sessions by the model in 'measured'; this one is the same recipe fitted on "
        "all sessions, the held-out ones included"
    ),
    False: "measured by this model, on sessions that it has not seen",
}


class ArtifactError(RuntimeError):
    """A model folder that cannot be used; the text names the folder, what is wrong and the remedy."""


def save(
    trained: Trained,
    folder: Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    delta_versions: Mapping[str, int] | None = None,
    code_commit: str = "",
    feature_list: Sequence[str] = ("items",),
    without_seen: bool = True,
    encoder: str = "",
    intent: Callable[[Path], None] | None = None,
    measured: Trained | None = None,
) -> Path:
    """Write a model folder; it appears whole or not at all.

    Parameters
    ----------
    trained : Trained
    folder : Path
        The model folder itself; one of that name is replaced.
    metrics : mapping, optional
        With intervals, for the manifest.
    delta_versions : mapping, optional
        Table name to the version that was read.
    code_commit : str
    feature_list : sequence of str
        What the model reads of a session, by name.
    without_seen : bool
        Whether answers leave out a session's own items.
    encoder : str
        Name of the text encoder whose vectors were used.
    intent : callable, optional
        Writes what live intents need into the folder it is given (``intent/``).
    measured : Trained, optional
        The model whose figures ``metrics`` are, where another is saved: the same recipe before the held-out
        sessions were put back. It is kept in the folder ``measured``, so that the next candidate can be
        compared with it on sessions that neither has seen.

    Returns
    -------
    Path
        The folder.
    """
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        tensors, hybrid = _tensors(trained)
        save_file(tensors, part / TENSORS)
        catalogue = trained.catalogue
        items = {
            "item_ids": catalogue.item_ids,
            "titles": catalogue.titles,
            "categories": catalogue.categories,
        }
        (part / ITEMS).write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
        if intent is not None:
            (part / INTENT).mkdir()
            intent(part / INTENT)
        if measured is not None:
            save(
                measured,
                part / MEASURED,
                metrics=metrics,
                without_seen=without_seen,
                encoder=encoder,
                delta_versions=delta_versions,
            )
        digests = {name: _digest(part / name) for name in (TENSORS, ITEMS)}
        manifest = {
            "format": FORMAT_VERSION,
            "version": f"{trained.config.backbone}-{digests[TENSORS][:12]}",
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": trained.config.model_dump(),
            "feature_list": list(feature_list),
            "items": ITEMS,
            "n_items": len(catalogue),
            "encoder": encoder,
            "delta_versions": dict(delta_versions or {}),
            "code_commit": code_commit,
            "metrics": dict(metrics or {}),
            "history": trained.history,
            "best_epoch": trained.best_epoch,
            "train_seconds": round(trained.seconds, 1),
            "refitted": trained.refitted,
            "figures": FIGURES_OF[measured is not None],
            "without_seen": without_seen,
            "hybrid": hybrid,
            "sha256": digests,
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False), encoding="utf-8")
        _put_in_place(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder


def save_version(trained: Trained, models_dir: Path, **options: Any) -> Path:
    """Write a model to ``models_dir / <its version>``; options as of ``save``. The version comes from the
    weights.
    """
    waiting = save(trained, models_dir / f"new-{os.getpid()}", **options)
    folder = models_dir / str(json.loads((waiting / MANIFEST).read_text(encoding="utf-8"))["version"])
    _put_in_place(waiting, folder)
    return folder


def _put_in_place(part: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _tensors(trained: Trained) -> tuple[dict[str, NDArray[Any]], dict[str, Any] | None]:
    found: dict[str, NDArray[Any] | None] = {
        f"network.{name}": value for name, value in trained.weights().items()
    }
    found |= {
        "counts": trained.counts,
        "vectors": trained.catalogue.vectors,
        "cold_map": trained.cold_map,
    }
    if trained.space is not None:
        found |= {"space.centre": trained.space.centre, "space.directions": trained.space.directions}
    settings = None
    if trained.hybrid is not None:
        settings, parts = trained.hybrid.state()
        found |= {f"hybrid.{name}": value for name, value in parts.items()}
    return {
        name: np.asarray(value, order="C") for name, value in found.items() if value is not None
    }, settings


def load(folder: Path) -> Scorer:
    """Read a model folder.

    Parameters
    ----------
    folder : Path
        As ``save`` wrote it, or a link to one.

    Returns
    -------
    Scorer

    Raises
    ------
    ArtifactError
        Another format version, a missing or altered file, NaN in a vector, tensors that do not fit the
        config.
    """
    manifest = read_manifest(folder)
    config = _config(folder, manifest)
    tensors, items = _files(folder, manifest)
    for name, value in tensors.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ArtifactError(
                f"model folder '{folder}': tensor '{name}' holds NaN or infinity; train again or promote "
                "another version"
            )
    try:
        return _scorer(manifest, config, tensors, items)
    except (KeyError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())[:300]
        raise ArtifactError(
            f"model folder '{folder}' does not fit together ({text}); train and save the model again"
        ) from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return a model folder's manifest; raises ``ArtifactError`` when it is missing, unreadable or of another
    format.
    """
    if not folder.is_dir():
        raise ArtifactError(
            f"model folder '{folder}' does not exist; train one with `python -m model benchmark`, or "
            "promote a version"
        )
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"model folder '{folder}' has no {MANIFEST}; it is no model folder, or was copied in part"
        ) from None
    except ValueError as error:
        raise ArtifactError(
            f"model folder '{folder}': {MANIFEST} is no JSON ({error}); copy the folder again"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ArtifactError(
            f"model folder '{folder}' has format {found!r}, this code reads {FORMAT_VERSION}; train again "
            "with this version"
        )
    return manifest


def _config(folder: Path, manifest: dict[str, Any]) -> ModelConfig:
    try:
        return make_config({**manifest["config"], "device": "cpu"})
    except (ConfigError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"model folder '{folder}': config of another version ({error}); train again with this version"
        ) from None


def _files(folder: Path, manifest: dict[str, Any]) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    for name, digest in manifest.get("sha256", {}).items():
        if not (folder / name).is_file():
            raise ArtifactError(
                f"model folder '{folder}': file '{name}' is missing; copy the folder again or promote "
                "another version"
            )
        if _digest(folder / name) != digest:
            raise ArtifactError(
                f"model folder '{folder}': file '{name}' was altered or cut off; copy the folder again"
            )
    try:
        return load_file(folder / TENSORS), json.loads((folder / ITEMS).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise ArtifactError(
            f"model folder '{folder}' cannot be read ({error}); copy the folder again"
        ) from None


def _scorer(
    manifest: dict[str, Any], config: ModelConfig, tensors: dict[str, NDArray[Any]], items: dict[str, Any]
) -> Scorer:
    vectors = tensors.get("vectors")
    catalogue = Catalogue(items["item_ids"], items["titles"], items["categories"], vectors)
    space = (
        TextSpace(tensors["space.centre"], tensors["space.directions"]) if "space.centre" in tensors else None
    )
    network = CompiledNetwork.of(config, _under(tensors, "network."), space, vectors)
    if len(network.raw) != len(catalogue):
        raise ValueError(f"{len(network.raw)} item vectors for {len(catalogue)} items")
    hybrid = None
    if manifest["hybrid"] is not None:
        from model.mix.hybrid import Hybrid

        hybrid = Hybrid.restore(
            manifest["hybrid"],
            _under(tensors, "hybrid."),
            catalogue,
        )
    return Scorer(
        manifest["version"],
        config,
        catalogue,
        network,
        hybrid,
        tensors["counts"],
        space,
        tensors.get("cold_map"),
        manifest["without_seen"],
    )


def _under(tensors: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def promote(models_dir: Path, version: str) -> Path:
    """Put a version into use by one atomic switch of the link ``models_dir / promoted``.

    Parameters
    ----------
    models_dir : Path
    version : str
        Name of a folder in ``models_dir``.

    Returns
    -------
    Path
        The folder now in use.

    Raises
    ------
    ArtifactError
        If the folder is not a model of this format; the link then stays as it was.
    """
    folder = models_dir / version
    if Path(version).name != version or version == PROMOTED:
        raise ArtifactError(f"model version '{version}' is no folder name; name a folder of '{models_dir}'")
    read_manifest(folder)
    link = models_dir / f".{PROMOTED}.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(version, target_is_directory=True)
    link.replace(models_dir / PROMOTED)
    return folder


def promoted_dir(models_dir: Path) -> Path | None:
    """Return the folder that is in use, resolved, or none when nothing was promoted."""
    link = models_dir / PROMOTED
    return link.resolve() if link.exists() else None
