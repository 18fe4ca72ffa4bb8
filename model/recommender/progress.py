"""How a training run is shown: a bar on a terminal, lines in a log. Knows nothing of training but its
steps.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.recommender.train import ProgressCall, Step

LINE_SECONDS = 15.0  # between two lines inside an epoch
log = logging.getLogger("intentstore.model.train")


def describe(step: Step) -> str:
    """Return a step as one line.

    Examples
    --------
    >>> from model.recommender.train import Step
    >>> describe(Step("train", 2, 40, 5, 10, 7.5, {"ndcg10": 0.061, "seconds": 12.0}))
    'train epoch 2/40: loss 7.500, validation NDCG@10 0.0610, 12.0 s'
    """
    head = f"{step.phase} epoch {step.epoch}/{step.epochs}"
    if step.record is None:
        return f"{head}: step {step.step}/{step.steps}, loss {step.loss:.3f}"
    value = step.record.get("ndcg10", 0.0)
    judged = f", validation NDCG@10 {value:.4f}" if value else ""
    return f"{head}: loss {step.loss:.3f}{judged}, {step.record['seconds']:.1f} s"


@contextmanager
def shown() -> Iterator[ProgressCall]:
    """Give the call that a training run reports to; a bar where standard error is a terminal, log lines
    otherwise.
    """
    if sys.stderr.isatty():
        with _bar() as call:
            yield call
    else:
        yield _lines()


def _lines() -> ProgressCall:
    last = time.monotonic()

    def call(step: Step) -> None:
        nonlocal last
        if step.record is not None or time.monotonic() - last > LINE_SECONDS:
            last = time.monotonic()
            log.info("%s", describe(step))

    return call


@contextmanager
def _bar() -> Iterator[ProgressCall]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task("training", total=None)

        def call(step: Step) -> None:
            display.update(
                task,
                description=f"{step.phase} epoch {step.epoch}/{step.epochs}, loss {step.loss:.3f}",
                completed=step.step,
                total=step.steps,
            )
            if step.record is not None:
                display.console.print(describe(step))

        yield call
