"""Finds the LLM's weights and brings them into a folder that loads at once: a GGUF file is converted to
safetensors one time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_repo.contract.assets import fetch as assets
from feature_repo.contract.files import only_one
from feature_repo.contract.lazy import lazy
from model.text.encoder import cpu_has_bfloat16

if TYPE_CHECKING:
    from feature_repo.contract.settings import LlmSettings
    from model.intent.llm import precision
else:
    precision = lazy("model.intent.llm.precision")

log = logging.getLogger("intentstore.intents")
HEAD_BYTES = 1 << 20  # of each weights file; with its size enough to tell two models apart


class ModelMissingError(RuntimeError):
    """No usable LLM where the settings say; the text names the place and the remedy."""


def prepare(settings: LlmSettings, assets_dir: Path) -> Path:
    """Return a local Hugging Face folder of the LLM, fetching or converting it where needed.

    Parameters
    ----------
    settings : LlmSettings
        ``model``: a folder, a ``*.gguf`` file, the id of a model in the local Hugging Face cache, or none for
        SmolLM2.
    assets_dir : Path
        Where SmolLM2 and converted models are kept.

    Returns
    -------
    Path
        Folder with ``config.json``, weights and ``tokenizer.json``.

    Raises
    ------
    ModelMissingError
        If there is no such folder, file or cached id, or the file cannot be read.
    """
    if settings.model is None:
        return _converted(Path(assets.fetch("smollm2", assets_dir)), assets_dir)
    path = Path(settings.model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelMissingError(
                f"llm.model '{path}' does not exist; name a GGUF file, a local folder, or leave it out for "
                "SmolLM2"
            )
        return _converted(path, assets_dir)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelMissingError(
                f"llm.model folder '{path}' has no config.json; name a Hugging Face model folder"
            )
        return path
    if path.is_absolute() or settings.model.startswith((".", "~")) or settings.model.count("/") != 1:
        raise ModelMissingError(
            f"llm.model '{settings.model}' does not exist; name a local folder, a GGUF file, or leave it "
            "out for SmolLM2"
        )
    return _cached(settings.model, settings.revision)


def _cached(name: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError):
        raise ModelMissingError(
            f"llm.model '{name}' (revision '{revision}') is not in the local Hugging Face cache, and "
            "nothing is downloaded at run time; set llm.model to a local folder that holds it, or leave it "
            "out for SmolLM2"
        ) from None


def _converted(file: Path, assets_dir: Path) -> Path:
    """Convert one GGUF file; several processes may ask at once, one works, a crash leaves nothing that looks
    finished.
    """
    folder = assets_dir / "converted" / f"{file.stem}-{digest_of([file])[:12]}"
    if (folder / "config.json").is_file():
        return folder
    with only_one(folder.parent / f".{folder.name}.lock"):
        if not (folder / "config.json").is_file():
            log.info("converting %s to safetensors, once (about 30 seconds)", file.name)
            part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
            shutil.rmtree(part, ignore_errors=True)
            _convert(file, part)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
    return folder


def _convert(file: Path, folder: Path) -> None:
    # transformers de-quantises a GGUF file at every load and refuses to save the result, so the values go
    # into a plain model.
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise ModelMissingError(
            f"reading '{file}' needs the package 'gguf'; run `make setup`, or set llm.model to a Hugging "
            "Face folder"
        ) from None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    silence()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        loaded = AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, dtype=torch.float32
        )
    except (OSError, ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise ModelMissingError(
            f"'{file}' cannot be read as GGUF ({_first_line(error)}); fetch it again or name another model"
        ) from None
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def identity(folder: Path) -> str:
    """Return the LLM's name for cache keys: folder name and a digest of its configuration, tokenizer and
    weights.

    Returns
    -------
    str
        The same for the same files, wherever they lie.
    """
    files = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in {".safetensors", ".bin"} or path.name in {"config.json", "tokenizer.json"}
    ]
    name = _recorded_name(folder) or folder.name
    return f"{name}@{digest_of(files)[:16]}"


def _recorded_name(folder: Path) -> str:
    """In the Hugging Face cache the folder's own name is a commit; the model's stands two levels up."""
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return ""


def digest_of(files: list[Path]) -> str:
    """Return a digest of files: name, size, first MiB and last MiB of each, as hexadecimal text."""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}:".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(HEAD_BYTES))
            stream.seek(max(0, size - HEAD_BYTES))
            digest.update(stream.read(HEAD_BYTES))
    return digest.hexdigest()


def load_network(folder: Path, dtype: str, device: str) -> Any:
    """Load the LLM for generation.

    Parameters
    ----------
    folder : Path
        From ``prepare``.
    dtype : str
        ``float32`` or ``bfloat16``; the latter means bfloat16 products on a processor that has them, float32
        on one that has not.
    device : str
        A torch device.

    Returns
    -------
    torch module
        In evaluation mode, without gradients.

    Raises
    ------
    ModelMissingError
        If the folder is no causal language model that transformers can read.
    """
    import torch
    from transformers import AutoModelForCausalLM

    silence()
    mixed = dtype == "bfloat16" and device == "cpu"
    kind = torch.float32 if mixed else getattr(torch, dtype)
    try:
        network = AutoModelForCausalLM.from_pretrained(
            str(folder), local_files_only=True, dtype=kind, attn_implementation="sdpa"
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelMissingError(
            f"llm.model folder '{folder}' cannot be loaded ({_first_line(error)}); name a causal language "
            "model"
        ) from None
    network.requires_grad_(False)
    return (precision.halve_products(network) if mixed and cpu_has_bfloat16() else network).eval().to(device)


def silence() -> None:
    """Stop transformers from drawing a progress bar for every load."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()


def read_config(folder: Path) -> dict[str, Any]:
    """Return the model's ``config.json``."""
    content: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return content


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
