"""Sums over a map by value, quick because neighbors are alike. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def run_sums(
    values: NDArray[Any], by_row: Ints | None, layers: Sequence[NDArray[Any]] = ()
) -> Iterator[tuple[int, list[int]]]:
    """Pixels, sizes and layers summed over each value; all integers, so that sums depend on no order.

    Runs of equal neighbors in a row are summed first: of those there are far fewer than pixels.

    Args:
        values: (row, col) integers.
        by_row: (row,) size of a pixel; None: 1.
        layers: (row, col) integers each.

    Yields:
        each value that occurs, ascending, with its pixels, its size and its sum of each layer.
    """
    flat, width = values.ravel(), values.shape[1]
    begins = np.append(True, flat[1:] != flat[:-1])
    begins[::width] = True
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=len(flat))
    found, which = np.unique(flat[starts], return_inverse=True)
    order = np.argsort(which, kind="stable")
    firsts = np.searchsorted(which[order], np.arange(len(found)))
    columns = [lengths, lengths if by_row is None else lengths * by_row[starts // width]]
    columns += [np.add.reduceat(layer.ravel(), starts, dtype=np.int64) for layer in layers]
    sums = [np.add.reduceat(column[order], firsts).tolist() for column in columns]
    for number, value in enumerate(found.tolist()):
        yield value, [column[number] for column in sums]
