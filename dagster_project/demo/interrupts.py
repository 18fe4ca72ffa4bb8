"""Ctrl-C for a run inside this process: it reaches us alone, and ends the run as an interruption rather than
as a failure.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

INTERRUPTED = "DagsterExecutionInterruptedError"


@contextlib.contextmanager
def shielded_children() -> Iterator[None]:
    """Keep the terminal's Ctrl-C from what this thread starts in the block; this process still hears it.

    A terminal sends Ctrl-C to every process of its foreground group. Dagster's small helpers would answer
    with their stack traces; they end with us anyway. A blocked signal is inherited, an installed handler is
    not: so the signal is blocked in this thread, and a thread that does not block it receives it for the
    process. Python runs the handler in the main thread as ever.
    """
    done = threading.Event()
    # inherits the mask as it still is
    receiver = threading.Thread(target=done.wait, name="receives-signals", daemon=True)
    receiver.start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        done.set()
        receiver.join()


def raise_if_interrupted(result: dg.ExecuteInProcessResult) -> None:
    """Turn a run that Ctrl-C ended back into the interruption that it was.

    Parameters
    ----------
    result : ExecuteInProcessResult
        Of a run that does not raise its errors.

    Raises
    ------
    KeyboardInterrupt
        A step ended by an interruption.
    """
    for event in result.all_events:
        if (
            event.event_type_value == "STEP_FAILURE"
            and (error := event.step_failure_data.error) is not None
            and error.cls_name == INTERRUPTED
        ):
            raise KeyboardInterrupt
