"""The promoted model in memory, with the items that joined after its training, and its exchange while requests go on. A broken one never replaces a good."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from streaming.answers import score

if TYPE_CHECKING:
    from feature_repo.contract.settings import Settings
    from model.intent.types import SessionIntent
    from model.scorer import Scorer

LOG = logging.getLogger("intentstore.http")
CHECK_SECONDS = 2.0  # a promotion or a new item is seen within this; two stat calls each


class IntentReader(Protocol):
    """What infers the two intents of a session from its item ids, without an LLM call."""

    def infer(self, prefixes: Sequence[Sequence[str]]) -> list[SessionIntent]:
        """Give one pair of intents a prefix."""


class LoadedModel(NamedTuple):
    """A model folder in memory; exchanged as one, so that no request meets half of each."""

    scorer: Scorer
    intents: IntentReader | None
    path: Path


def load_model(settings: Settings, path: Path) -> LoadedModel:
    """Load a model folder with its intents, and the new items beside it.

    Parameters
    ----------
    settings : Settings
        For the encoder and the intent cache.
    path : Path
        Folder of one model version.

    Raises
    ------
    model.artifact.ArtifactError
        If the folder is no whole model.
    """
    from model import new_items
    from model.intent.live import LiveIntents

    scorer, intents = new_items.load(path), LiveIntents.load(settings, path)
    first: list[list[str]] = [[], scorer.item_ids[:2]]
    score(scorer, first, intents.infer(first), 1)  # the first call pays for what is built lazily
    return LoadedModel(scorer, intents, path)


class ModelWatch:
    """Holds the promoted model and picks up a newly promoted one, and new items of the catalogue.

    Parameters
    ----------
    find : callable
        Gives the promoted folder, or None.
    load : callable
        From a folder to a loaded model; may raise anything, which keeps the old model.

    Attributes
    ----------
    current : LoadedModel or None
        The model in use; read it once a request.
    problem : str
        Why there is none, or why the newest was refused; empty when all is well.
    """

    def __init__(self, find: Callable[[], Path | None], load: Callable[[Path], LoadedModel], seconds: float = CHECK_SECONDS) -> None:
        self._find, self._load, self._seconds = find, load, seconds
        self._seen: tuple[Path, int, tuple[int, int]] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-watch", daemon=True)
        self.current: LoadedModel | None = None
        self.problem = "no model is promoted yet"
        self.changed: Callable[[LoadedModel], object] = lambda model: None

    def check(self) -> bool:
        """Look once; load and exchange when another folder is promoted, or other new items stand beside it.

        Returns
        -------
        bool
            Whether the model was exchanged.
        """
        path = self._find()
        if path is None:
            self.problem = "no model is promoted; train one (`make demo`) or promote a version"
            return False
        from model import new_items

        manifest = path / "manifest.json"
        mark = (path.resolve(), manifest.stat().st_mtime_ns if manifest.is_file() else 0, new_items.stamp(path))
        if mark == self._seen:
            return False
        self._seen = mark  # a refused folder is tried again only when it changes
        try:
            model = self._load(path.resolve())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, the old model goes on answering
            self.problem = f"model folder '{path}' is refused: {error}"
            LOG.error("%s; %s", self.problem, "the model before goes on" if self.current else "train and promote another")
            return False
        self.current, self.problem = model, ""
        gc.collect()
        gc.freeze()  # the collector would walk the model's objects again and again, in the middle of requests
        LOG.info("model %s is in use", model.scorer.version)
        self.changed(model)
        return True

    def start(self, *, load_first: bool = True) -> None:
        """Keep watching in a thread.

        Parameters
        ----------
        load_first : bool
            Load what is promoted before this returns, so that no click is answered without it; False for a server, which comes up
            at once and says meanwhile that it is not ready.
        """
        if load_first:
            self._check()
        self._thread.start()

    def close(self) -> None:
        """End the watching."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while True:
            self._check()
            if self._stop.wait(self._seconds):
                return

    def _check(self) -> None:
        try:
            self.check()
        except OSError as error:
            self.problem = f"the folder of models cannot be read: {error}"
            LOG.error("%s", self.problem)
