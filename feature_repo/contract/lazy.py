"""Modules that are imported when one of their names is first used. Until `lazy import` of PEP 810 is there.

One way for all of ours that bring torch, pyspark, Feast, Dagster or the like into a process that may never
need them. The checker reads the true import, the process gets a stand-in; both stand at the top of the file:

    if TYPE_CHECKING:
        from model.recommender import artifact
    else:
        artifact = lazy("model.recommender.artifact")
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """Stands for a module by its full name; every name that is asked of it is that module's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what tools ask of every object is no reason to import
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


def lazy(module: str) -> Any:
    """Stand for a module until it is used.

    Parameters
    ----------
    module : str
        Full name.

    Returns
    -------
    LazyModule
        Its names are always the module's own, so that what a test puts there is found.

    Raises
    ------
    ModuleNotFoundError
        At the first use, when it or what it imports is not installed.

    Examples
    --------
    >>> text = lazy("textwrap")
    >>> text.dedent("  a")
    'a'
    """
    return LazyModule(module)
