"""Everything that can be set about a model: one frozen object, the same for a benchmark, Dagster and the
shell.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from feature_repo.contract.texts import TextError, put

# One a module of the folder, so that a new backbone is one new file; named without importing it, since this
# is read without torch.
BACKBONES: tuple[str, ...] = tuple(
    sorted(
        module.name
        for module in pkgutil.iter_modules([str(Path(__file__).parent / "network" / "backbones")])
        if module.name != "base"
    )
)
if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings

    Backbone = str
else:
    Backbone = Literal[BACKBONES]
Fusion = Literal["none", "paper", "intent"]
Views = Literal["both", "long", "short"]

FUSIONS: tuple[Fusion, ...] = ("none", "paper", "intent")


class ConfigError(ValueError):
    """A model setting that cannot be used; the text names the key, the value and the remedy."""


class ModelConfig(BaseModel):
    """Settings of network, training and hybrid score.

    Examples
    --------
    >>> ModelConfig(backbone="srgnn", seed=3).dim
    128
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    # network
    backbone: Backbone = "sasrec"
    fusion: Fusion = Field(
        "intent",
        description=(
            "none = the backbone; paper = LLM4SBR's gates; intent = intents retrieve items at score level."
        ),
    )
    dim: int = Field(128, ge=4, le=4096, description="Width of item and session vectors.")
    layers: int = Field(
        1,
        ge=1,
        le=16,
        description="Blocks (SASRec), GRU layers, propagation steps (SR-GNN) or hypergraph convolutions.",
    )
    heads: int = Field(1, ge=1, description="Attention heads (SASRec); must divide dim.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Inside the network.")
    embedding_dropout: float = Field(
        0.4, ge=0, lt=1, description="On the item vectors that enter the network."
    )
    max_length: int = Field(50, ge=1, le=1000, description="Most recent clicks that the network reads.")
    score: Literal["dot", "cosine"] = Field(
        "dot", description="cosine = both sides normalised, times `temperature` (NISER)."
    )
    temperature: float = Field(16.0, gt=0, description="Scale of cosine scores.")

    # item representation
    text: bool | None = Field(
        None,
        description=(
            "Item vectors begin at the catalogue's text vectors; false = trained ids only; none = at texts, "
            "unless they rank validation far worse than co-clicks do."
        ),
    )
    text_power: float = Field(
        0.5, ge=0, le=1, description="Singular values of the centred text vectors are raised to this power."
    )
    text_scale: float = Field(
        0.1,
        gt=0,
        description="Root mean square of the text part of an item vector (per coordinate) at the start.",
    )
    start: Literal["cooccurrence", "random"] = Field(
        "cooccurrence", description="Where item vectors begin without any text: at co-clicks or by chance."
    )
    residual_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description=(
            "Share of items whose learned residual is left out in a step, so that text alone must do."
        ),
    )

    # paper fusion
    align: bool = Field(True, description="paper: alignment loss.")
    uniform: bool = Field(True, description="paper: uniformity loss.")
    auxiliary_weight: float = Field(0.1, ge=0, description="paper: tau, weight of alignment + uniformity.")
    view_reduction: Literal["mean", "sum"] = Field(
        "mean", description="mean = as printed in the paper; sum = as its published code does."
    )
    views: Views = Field("both", description="Which intents are used, by either fusion.")
    recency_half_life: float = Field(
        3.0,
        gt=0,
        description=(
            "paper: clicks after which a title's weight halves in the network's own short intent; none = "
            "intents.recency_half_life."
        ),
    )

    # training
    epochs: int = Field(40, ge=1)
    patience: int = Field(
        3, ge=1, description="Epochs without a better validation NDCG@10 before training stops."
    )
    batch_size: int = Field(128, ge=1, description="Sequences a step.")
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    averaging: float = Field(
        0.0,
        ge=0,
        lt=1,
        description=(
            "Share that a running mean of the weights keeps a step (say 0.995); it is then used. 0 = none."
        ),
    )
    tune: float = Field(
        0.0,
        ge=0,
        description="Seconds for trying other settings on validation first (successive halving); 0 = none.",
    )
    clip_norm: float = Field(5.0, gt=0, description="Largest norm of a step's gradient.")
    loss: Literal["full", "sampled"] | None = Field(
        None,
        description="none = full softmax up to `full_softmax_items`, sampled with log-q correction above.",
    )
    full_softmax_items: int = Field(500_000, ge=1)
    negatives: int = Field(8_192, ge=1, description="Sampled softmax: shared negatives a step.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of products with the catalogue; auto = bfloat16 where it is fast."
    )
    seed: int = Field(1, ge=0)
    device: str = Field("cpu", description="cpu, cuda, cuda:1, mps.")
    threads: int = Field(
        1, ge=1, description="CPU threads of torch; more than one is slower on a shared two-core machine."
    )
    refit: bool = Field(
        False,
        description="After validation: train once more on train + validation for the best number of epochs.",
    )
    refit_before_serving: bool = Field(
        True,
        description="What serves has learned everything: fitted once more on all sessions after the figures.",
    )

    # hybrid score
    hybrid: bool = Field(
        True, description="Mix transitions and retrieval into the score, with weights by validation."
    )
    parts: tuple[str, ...] | None = Field(
        None, description="Parts beside the network (see model.mix.hybrid); none = all that apply."
    )
    remove_seen: bool | None = Field(
        None,
        description="Choose epochs and weights with seen items removed; none = by protocol (see evaluate).",
    )

    @model_validator(mode="after")
    def _consistent(self) -> ModelConfig:
        if self.backbone == "sasrec" and self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide dim = {self.dim}; choose a divisor")
        return self


def base_values(settings: Settings) -> dict[str, Any]:
    """Return the values that settings give a model, before flags: the ``[model]`` section, and what other
    sections say that a model needs too.
    """
    return {"recency_half_life": settings.intents.recency_half_life, **settings.model}


def make_config(values: Mapping[str, Any]) -> ModelConfig:
    """Build a config from plain values (the ``[model]`` section of the settings, a manifest, flags).

    Parameters
    ----------
    values : mapping
        Key to value; ``None`` values mean the default. Texts, as variables and flags give them, are read by
        the type of their key.

    Returns
    -------
    ModelConfig
        Checked and frozen.

    Raises
    ------
    ConfigError
        Unknown key or a value out of range; names it.

    Examples
    --------
    >>> make_config({"dim": "64", "seed": None}).dim
    64
    """
    read: dict[str, Any] = {}
    for key, value in values.items():
        try:
            put(read, ModelConfig, [key], value)
        except TextError as error:
            raise ConfigError(
                f"model setting '{key}' = {value!r} {error}; see model/config.py for names and ranges"
            ) from None
    try:
        return ModelConfig.model_validate({key: value for key, value in read.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "model"
        shown = "" if not first["loc"] else f" = {first.get('input')!r}"
        raise ConfigError(
            f"model setting '{name}'{shown}: {first['msg']}; see model/config.py for names and ranges"
        ) from None
