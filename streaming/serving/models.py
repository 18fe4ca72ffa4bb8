"""Which model the consumer answers from: a fixed folder, or the promoted one and its successors. A broken one
never replaces a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from feature_repo.contract.settings import Settings
from model.recommender.loaded_model import LoadedModel, load_model
from streaming.errors import StreamingError
from streaming.intents.requests import KnownAnswers
from streaming.metrics import ConsumerMetrics
from streaming.serving.loaded_model import ModelWatch


@dataclass
class Models:
    """The model in use and the shadow beside it."""

    current: Callable[[], LoadedModel | None]
    shadow: LoadedModel | None = None
    close: Callable[[], None] = field(default=lambda: None)


def open_models(
    settings: Settings, model_dir: Path | None, shadow_dir: Path | None, metrics: ConsumerMetrics
) -> Models:
    """Load what is to be loaded, and watch for newly promoted models.

    Parameters
    ----------
    settings : Settings
        ``models_dir`` and what intents need.
    model_dir, shadow_dir : Path, optional
        Fixed folders.
    metrics : ConsumerMetrics
        Tells the version in use.

    Raises
    ------
    StreamingError
        A folder that was named is no model.
    """
    shadow = _named(settings, shadow_dir) if shadow_dir is not None else None
    if model_dir is not None:
        fixed = _named(settings, model_dir)
        metrics.use_model(fixed.version)
        return Models(lambda: fixed, shadow)

    def find() -> Path | None:
        from model.recommender import artifact

        return artifact.promoted_dir(settings.models_dir)

    watch = ModelWatch(
        find, lambda path: load_model(settings, path), lambda model: metrics.use_model(model.version)
    )
    known = KnownAnswers(settings)

    def current() -> LoadedModel | None:
        model = watch.current
        known.refresh(model)
        return model

    metrics.use_model("none")
    watch.start()
    return Models(current, shadow, watch.close)


def _named(settings: Settings, folder: Path) -> LoadedModel:
    from model.recommender.artifact import ArtifactError

    try:
        return load_model(settings, folder)
    except (ArtifactError, OSError) as error:
        raise StreamingError(
            f"model folder '{folder}' cannot be used ({error}); name a folder that `python -m model "
            "benchmark` or a promotion made"
        ) from None
