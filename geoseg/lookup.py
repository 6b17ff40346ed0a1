"""Whole maps of small numbers through a table.

NumPy's indexing would make 64-bit indices of them first, and hold the interpreter's lock: seen 8 times as slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def look_up(values: NDArray[Any], table: NDArray[Any]) -> NDArray[Any]:
    """`table[values]`.

    Args:
        values: uint8 or uint16, of any shape.
        table: with an entry for each value of that type.
    """
    if len(table) <= np.iinfo(values.dtype).max:
        raise ValueError(f"a table of {len(table)} entries is too short for {values.dtype}.")
    flat = np.ascontiguousarray(values).ravel()
    out = np.empty(len(flat), table.dtype)
    _look_up(flat, table, out)
    return out.reshape(values.shape)


def mark(values: NDArray[Any], seen: NDArray[np.bool_]) -> None:
    """`seen[values] = True`.

    Args:
        values: uint8 or uint16, of any shape.
        seen: with an entry for each value of that type.
    """
    if len(seen) <= np.iinfo(values.dtype).max:
        raise ValueError(f"a table of {len(seen)} entries is too short for {values.dtype}.")
    _mark(np.ascontiguousarray(values).ravel(), seen)


@njit(cache=True, nogil=True)
def _look_up(values: NDArray[Any], table: NDArray[Any], out: NDArray[Any]) -> None:
    for i in range(len(values)):
        out[i] = table[values[i]]


@njit(cache=True, nogil=True)
def _mark(values: NDArray[Any], seen: NDArray[np.bool_]) -> None:
    for i in range(len(values)):
        seen[values[i]] = True
