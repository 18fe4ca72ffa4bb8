"""The promoted model in memory and its exchange while requests go on. A broken one never replaces a good
one.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from feature_repo.contract.items.fold import NO_ITEMS, LiveItems
from feature_repo.contract.lazy import lazy
from model.recommender.loaded_model import LoadedModel

if TYPE_CHECKING:
    from model.recommender import live_items
else:
    live_items = lazy("model.recommender.live_items")

log = logging.getLogger("intentstore.http")
CHECK_SECONDS = 2.0  # a promotion or a new item is seen within this; two stat calls each
# A large catalogue takes seconds to grow; a shop that sends titles all the time must leave time for answers.
GROW_SHARE = 0.25
MOST_REST_SECONDS = 5.0


class ModelWatch:
    """Holds the promoted model and picks up a newly promoted one, and new items and titles of the catalogue.

    Parameters
    ----------
    find : callable
        Gives the promoted folder, or None.
    load : callable
        From a folder to a loaded model; may raise anything, which keeps the old model.
    on_change : callable, optional
        Called with each model that comes into use, the first one too.
    seconds : float
        Time between two looks.
    items : callable
        Gives what the items topic says now; its new items and titles are in the model at the next look.

    Attributes
    ----------
    current : LoadedModel or None
        The model in use; read it once a request.
    problem : str
        Why there is none, or why the newest was refused; empty when all is well.
    """

    def __init__(
        self,
        find: Callable[[], Path | None],
        load: Callable[[Path], LoadedModel],
        on_change: Callable[[LoadedModel], object] = lambda model: None,
        seconds: float = CHECK_SECONDS,
        items: Callable[[], LiveItems] = lambda: NO_ITEMS,
    ) -> None:
        self._find, self._load, self._on_change, self._seconds = find, load, on_change, seconds
        self._items = items
        self._base: LoadedModel | None = None  # as its folder has it
        self._texts, self._grow_at = 0, 0.0  # what of the topic is in it, and when it may be looked at again
        self._seen: tuple[Path, int, tuple[int, int]] | None = None
        self._said = False  # that there is no model: once, not every two seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-watch", daemon=True)
        self.current: LoadedModel | None = None
        self.problem = "the promoted model has not been looked at yet"

    def check(self) -> bool:
        """Look once; load and exchange when another folder is promoted, other new items stand beside it, or
        the items topic brought new items or titles.

        Returns
        -------
        bool
            Whether the model was exchanged.
        """
        path = self._find()
        if path is None:
            remedy = "train one (`make demo`) or promote a version"
            self.problem = f"no model is promoted, so clicks are answered by popularity; {remedy}"
            if self.current is None and not self._said:
                log.warning("%s; it is taken into use by itself", self.problem)
                self._said = True
            return False
        from model.recommender import new_items

        manifest = path / "manifest.json"
        mark = (
            path.resolve(),
            manifest.stat().st_mtime_ns if manifest.is_file() else 0,
            new_items.stamp(path),
        )
        items = self._items()
        if mark == self._seen:
            return self._grow(items)
        self._seen = mark  # a refused folder is tried again only when it changes
        try:
            model = self._load(path.resolve())
        except Exception as error:  # noqa: BLE001
            # whatever is wrong with the folder, the old model goes on answering
            self.problem = f"model folder '{path}' is refused: {error}"
            without = "clicks are answered by popularity; train and promote another"
            log.error("%s; %s", self.problem, "the model before goes on" if self.current else without)
            return False
        self._base, self.problem = model, ""
        self._use(self._grown(model, items))
        log.info("model %s is in use", model.version)
        return True

    def _grow(self, items: LiveItems) -> bool:
        """Exchange the model for one that knows what the topic brought since; gives whether it was."""
        if self._base is None or items.texts == self._texts or time.monotonic() < self._grow_at:
            return False
        model = self._grown(self._base, items)
        if model is self.current:
            return False
        self._use(model)
        return True

    def _grown(self, base: LoadedModel, items: LiveItems) -> LoadedModel:
        started, self._texts = time.monotonic(), items.texts
        if not items.items:
            return base
        try:
            return live_items.grown(base, items.items)
        except Exception as error:  # noqa: BLE001
            # whatever is wrong with a title, the model goes on answering as it did
            text = " ".join(str(error).split())[:300]
            log.error(
                "titles of the items topic are left out, model %s stays as it was: %s", base.version, text
            )
            return base if self.current is None or self.current.version != base.version else self.current
        finally:
            took = time.monotonic() - started
            self._grow_at = started + took + min(took / GROW_SHARE, MOST_REST_SECONDS)

    def _use(self, model: LoadedModel) -> None:
        self.current = model  # exchanged as one
        gc.collect()
        gc.freeze()  # the collector would walk the model's objects again and again, in the middle of requests
        self._on_change(model)

    def start(self, *, load_first: bool = True) -> None:
        """Keep watching in a thread.

        Parameters
        ----------
        load_first : bool
            Load what is promoted before this returns, so that no click is answered without it; False for a
            server, which comes up at once and says meanwhile that it is not ready.
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
            log.error("%s", self.problem)
