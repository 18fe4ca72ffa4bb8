"""Which model the consumer answers from: a fixed folder, or the promoted one and its successors. A broken one
never replaces a good one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from feature_repo.contract.settings import Settings
from model.recommender.loaded_model import LoadedModel, load_model
from model.recommender.stock import Stocks, file_of
from streaming.clients import BROKER_WAIT_SECONDS
from streaming.errors import StreamingError
from streaming.intents.requests import KnownAnswers
from streaming.metrics import ConsumerMetrics
from streaming.serving.loaded_model import ModelWatch
from streaming.topics.items import ItemFeed


@dataclass
class Models:
    """The model in use, the shadow beside it, and what is available; none = as the lake knows it."""

    current: Callable[[], LoadedModel | None]
    shadow: LoadedModel | None = None
    close: Callable[[], None] = field(default=lambda: None)
    stocks: Stocks | None = None


def open_models(
    settings: Settings, model_dir: Path | None, shadow_dir: Path | None, metrics: ConsumerMetrics
) -> Models:
    """Load what is to be loaded, and watch for newly promoted models and for what the items topic says.

    Parameters
    ----------
    settings : Settings
        ``models_dir`` and what intents need; the topics must be there.
    model_dir, shadow_dir : Path, optional
        Fixed folders.
    metrics : ConsumerMetrics
        Tells the version in use, and how many items are live and withdrawn.

    Raises
    ------
    StreamingError
        A folder that was named is no model, or the items topic cannot be read to its end: nothing may be
        shown on a guess.
    """
    feed = ItemFeed(settings)
    stocks = Stocks(file_of(settings), feed.now)
    feed.start()
    watch: ModelWatch | None = None

    def close() -> None:
        if watch is not None:
            watch.close()
        feed.close()

    try:
        shadow = None if shadow_dir is None else _named(settings, shadow_dir, stocks)
        if not feed.wait(BROKER_WAIT_SECONDS):
            raise StreamingError(
                f"what is available is not known: {feed.problem}; check kafka.items_topic and the broker"
            )
        metrics.follow_items(lambda: len(feed.now().items), lambda: len(stocks.now().withdrawn))
        metrics.use_model("none")
        watch = ModelWatch(
            finder(settings, model_dir),
            lambda path: load_model(settings, path, stocks),
            lambda model: metrics.use_model(model.version),
            items=feed.now,
        )
        watch.start()
        if model_dir is not None and watch.current is None:
            raise StreamingError(_unusable(model_dir, watch.problem))
    except BaseException:
        close()
        raise
    return Models(_followed(settings, watch), shadow, close, stocks)


def _followed(settings: Settings, watch: ModelWatch) -> Callable[[], LoadedModel | None]:
    known = KnownAnswers(settings)

    def current() -> LoadedModel | None:
        model = watch.current
        known.refresh(model)
        return model

    return current


def finder(settings: Settings, model_dir: Path | None) -> Callable[[], Path | None]:
    """Give what finds the folder to answer from: a fixed one, or the promoted one where there is any."""
    if model_dir is not None:
        return lambda: model_dir

    def promoted() -> Path | None:
        from model.recommender import artifact

        return artifact.promoted_dir(settings.models_dir)

    return promoted


def _named(settings: Settings, folder: Path, stocks: Stocks) -> LoadedModel:
    from model.recommender.artifact import ArtifactError

    try:
        return load_model(settings, folder, stocks)
    except (ArtifactError, OSError) as error:
        raise StreamingError(_unusable(folder, error)) from None


def _unusable(folder: Path, why: object) -> str:
    return (
        f"model folder '{folder}' cannot be used ({why}); name a folder that `python -m model benchmark` or "
        "a promotion made"
    )
