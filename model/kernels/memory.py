"""Arrays at an address: one kernel reads the tables of any mix of sources without being compiled for each.

The caller holds the arrays as long as it holds their addresses, and has checked their shapes: a wrong one
would read beyond its end (`model.rankers.tables.Record`).
"""

from __future__ import annotations

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from model.kernels.compiled import step


@intrinsic
def pointer(typing_context, address):
    """Return an address as a pointer."""

    def code(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), code


@step
def floats(address, count):
    """Float32, shape (count,)."""
    return carray(pointer(address), (count,), np.float32)


@step
def table(address, rows, columns):
    """Float32, shape (rows, columns)."""
    return carray(pointer(address), (rows, columns), np.float32)


@step
def doubles(address, count):
    """Float64, shape (count,)."""
    return carray(pointer(address), (count,), np.float64)


@step
def places(address, count):
    """Int32, shape (count,)."""
    return carray(pointer(address), (count,), np.int32)


@step
def bounds(address, count):
    """Int64, shape (count,)."""
    return carray(pointer(address), (count,), np.int64)
