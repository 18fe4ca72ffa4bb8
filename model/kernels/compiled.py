"""How loops are compiled, and how the machine code is kept between processes. Knows no kernel.

The code is kept where an entry point has said (`model.kernels.store`), else beside the sources or in the
user's cache folder, as numba does. Whatever is wrong with a kept file (cut off, altered, of
another version, not readable, not writable) costs a compilation and one line in the log, never an answer.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

from model.kernels.store import PLACE, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("intentstore.kernels")
_said: set[str] = set()


class NamedFolder(_CacheLocator):  # type: ignore[misc]
    """The folder that an entry point named. Unlike numba's own locators it goes by the kernels' sources and
    not by the place where they lie: a wheel, a clone and a worktree of one version share their code.

    Parameters
    ----------
    function : callable
        The loop in Python.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._name = function.__module__

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> NamedFolder | None:
        """Return the folder where one was named that can be written, else none: numba then looks further."""
        found = cls(py_func)
        try:
            if os.environ.get(PLACE):
                found.ensure_cache_path()
                return found
        except OSError:
            pass
        return None

    def get_cache_path(self) -> str:
        """Return the folder."""
        return os.environ[PLACE]

    def get_source_stamp(self) -> str:
        """Return what kept code must have been made of."""
        return digest()

    def get_disambiguator(self) -> str:
        """Return the module's name."""
        return self._name


class _Kept(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (NamedFolder, *CompileResultCacheImpl._locator_classes)


class _Files(FunctionCache):  # type: ignore[misc]
    _impl_class = _Kept


class KernelCache:
    """Kept machine code of one kernel, in the form that numba's dispatcher asks for; made at the first use,
    so that an entry point may name the folder before it.

    Parameters
    ----------
    function : callable
        The loop in Python.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._files: FunctionCache | None = None
        self._opened = False

    def _open(self) -> FunctionCache | None:
        if not self._opened:
            self._opened = True
            # the environment may have been set after numba was imported
            wanted = os.environ.get(PLACE, "")
            numba.config.CACHE_DIR = wanted or numba.config.CACHE_DIR
            try:
                self._files = _Files(self._function)
            except (RuntimeError, OSError) as error:
                _say(f"compiled kernels cannot be kept ({error}); every start compiles them anew")
                return None
            if not str(self._files.cache_path).startswith(wanted):
                _say(
                    f"compiled kernels cannot be kept in '{wanted}', which cannot be written; they are kept "
                    f"in '{Path(self._files.cache_path).parent}'"
                )
        return self._files

    @property
    def cache_path(self) -> str | None:
        """Folder of the files, none where nothing is kept."""
        return None if self._files is None else str(self._files.cache_path)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the kept code for these types of arguments, or none."""
        files = self._open()
        if files is None:
            return None
        try:
            found = files.load_overload(signature, context)
        # a kept file may hold anything at all
        except Exception as error:  # noqa: BLE001
            _say(
                f"kept kernels in '{files.cache_path}' cannot be used ({type(error).__name__}: {error}); "
                "compiled anew"
            )
            return None
        if found is None:
            _say(f"kernels are compiled, once for this version and processor; kept in '{files.cache_path}'")
        return found

    def save_overload(self, signature: Any, code: Any) -> None:
        """Keep code; one process at a time, so that two starting at once never name each other's files."""
        files = self._open()
        if files is None:
            return
        try:
            with _alone(Path(files.cache_path)):
                try:
                    files.save_overload(signature, code)
                except Exception:  # noqa: BLE001 - a damaged index: begin a new one
                    files.flush()
                    files.save_overload(signature, code)
        except Exception as error:  # noqa: BLE001 - a full or read-only disk must not cost the answer
            _say(f"compiled kernels cannot be kept in '{files.cache_path}' ({error}); each start compiles")
            self._files = None

    def enable(self) -> None:
        """Do nothing: a kernel is always kept where that is possible."""

    def disable(self) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Forget what is kept."""
        if (files := self._open()) is not None:
            files.flush()


def _say(text: str) -> None:
    """Log a line once: every kernel meets the same folder."""
    if text not in _said:
        _said.add(text)
        log.warning("%s", text)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# products may be fused with sums; the order of operations stays as written
IN_ORDER = {"contract"}
# sums may be taken in lanes: the order is fixed when the loop is compiled, by the number of summands alone
IN_LANES = {"contract", "reassoc", "nsz"}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile what Python calls; its machine code is kept."""
    made = numba.njit(nogil=True, error_model="numpy", fastmath=IN_ORDER)(function)
    made._cache = KernelCache(function)
    return made


def _step(flags: set[str]) -> Callable[[Callable[..., Any]], Any]:
    alone = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # half of the time that a step compiles
    return numba.njit(nogil=True, error_model="numpy", fastmath=flags, **alone)  # type: ignore[no-any-return]


# what only kernels call, and is part of their code
step = _step(IN_ORDER)
summing = _step(IN_LANES)


def flat(values: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """Return an array as kernels read it: of the type, rows in one piece, writable in numba's eyes.

    Examples
    --------
    >>> flat([[1, 2]], np.int32).dtype.name
    'int32'
    """
    found = np.ascontiguousarray(values, dtype=dtype)
    return found if found.flags.writeable else found.copy()
