"""Confusion counts of two maps, part by part: integers, so that their sums do not depend on the parts.

    labels 0 … n-1   classes of both maps
    n                no class: nodata, no reference
    n + 1, …         further reasons why a reference pixel does not count

Only pixels with a class in both maps are *counted*.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.errors import InputError

Counts = NDArray[np.int64]

NONE, CONTRADICTORY, OUTSIDE = 0, 1, 2
"""Why a pixel does not count, as offsets from the number of classes: no class, two at once, not asked for."""
REASONS = 3
MOST_CLASSES = 1000
_LANES = 4


def label_dtype(n: int) -> np.dtype[Any]:
    """The smallest type for labels of n classes and the reasons.

    Raises:
        InputError: more classes than a confusion matrix is good for.
    """
    if n > MOST_CLASSES:
        raise InputError(f"{n} classes are too many to compare ({MOST_CLASSES} at most): merge them with --legend.")
    return np.dtype(np.uint8 if n + REASONS <= 256 else np.uint16)


def count_pairs(reference: NDArray[Any], predicted: NDArray[Any], n: int) -> Counts:
    """How often each pair of labels occurs.

    Args:
        reference: labels (row, col), 0 … n + 2.
        predicted: labels of the map, of the same shape and type.
        n: number of classes.

    Returns:
        (n + 3, n + 3): reference, predicted. The upper left n × n are the confusion matrix.
    """
    if reference.shape != predicted.shape:
        raise ValueError(f"maps of {reference.shape} and {predicted.shape} pixels cannot be compared.")
    size = n + REASONS
    lanes = np.zeros((_LANES, size, size), np.int64)
    _count(np.ascontiguousarray(reference).ravel(), np.ascontiguousarray(predicted).ravel(), lanes)
    return np.asarray(lanes.sum(axis=0))


@njit(cache=True, nogil=True)
def _count(reference: NDArray[Any], predicted: NDArray[Any], lanes: Counts) -> None:
    # Neighbors are mostly alike: with one table each addition would wait for the one before.
    for i in range(len(reference)):
        lanes[i & 3, reference[i], predicted[i]] += 1
