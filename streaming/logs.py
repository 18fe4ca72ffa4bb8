"""The form of log lines, the same in every process of the live half."""

from __future__ import annotations

import logging
import sys


def configure_logging(level: int) -> None:
    """Write log lines of this process to standard error.

    Parameters
    ----------
    level : int
        Of our own loggers; libraries that repeat what we say are held back.
    """
    logging.basicConfig(
        level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("intentstore.assets").setLevel(logging.INFO)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
