"""Which of many places to look at: the most ambiguous ones, but not all in one corner."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def spread(ambiguity: Floats, n: int) -> Ints:
    """Choose cells of a lattice: first the best of each coarse block, then the best of all that keep their distance.

    About 2 n blocks of b × b cells are laid over the lattice; their best cells are taken from the most ambiguous down,
    as long as they are at least b cells from those taken before, until there are n. What is missing then comes from
    all cells in the same way, with half the distance each time that none is left. Ties go to the first cell in row
    order, so equal input gives equal output.

    Args:
        ambiguity: (row, col) of the cells; NaN: not to be chosen.
        n: how many; fewer where fewer can be chosen.

    Returns:
        (chosen, 2) row and column, the most ambiguous first.
    """
    rows, cols = ambiguity.shape
    flat = ambiguity.ravel()
    candidates = np.argsort(-flat, kind="stable")[: np.isfinite(flat).sum()]
    block = max(1, math.isqrt(rows * cols // (2 * n)))
    row, col = np.divmod(candidates, cols)
    _, first = np.unique(row // block * (cols // block + 1) + col // block, return_index=True)
    best = np.sort(first)
    taken: list[int] = []
    _take(taken, best, row, col, n=n, apart=block)
    apart = float(block)
    while len(taken) < min(n, len(candidates)):
        _take(taken, np.arange(len(candidates)), row, col, n=n, apart=apart)
        apart = apart / 2 if apart > 1 else 0.5
    chosen = np.sort(np.array(taken, np.int64))
    return np.column_stack((row[chosen], col[chosen]))


def _take(taken: list[int], among: Ints, row: Ints, col: Ints, *, n: int, apart: float) -> None:
    """Add the first of some candidates that are far enough from all taken ones, until there are n or none is left."""

    def far(other: int) -> NDArray[np.bool_]:
        return np.asarray((row[among] - row[other]) ** 2 + (col[among] - col[other]) ** 2 >= apart**2)

    free = np.ones(len(among), np.bool_)
    for other in taken:
        free &= far(other)
    while len(taken) < n and free.any():
        taken.append(int(among[free.argmax()]))
        free &= far(taken[-1])
