"""Segments of two maps and how many pixels each pair of them shares, band by band.

A segment is named by a number: a stuff class by its label, an object of a thing class by id · n + label, the panoptic
pair. Sums of pixels are whole numbers and do not depend on the bands.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

VOID, GROUND = -1, -2
"""Pixels of no segment: nobody knows what is there; it is known that nothing is."""
_MANY = 1 << 22


def segment_keys(labels: NDArray[Any], ids: NDArray[Any], things: Bools) -> Ints:
    """(row, col) segment of each pixel; VOID without a class, or in a thing class without an object.

    Args:
        labels: (row, col) classes 0 … n - 1, others for reasons why there is none.
        ids: (row, col) numbers of objects from 1 on; they count in thing classes only.
        things: (class,) which classes are things.
    """
    n = len(things)
    keys = labels.astype(np.int64)
    keys[labels >= n] = VOID
    there = np.append(things, False)[np.minimum(labels, n)]
    numbers = ids[there].astype(np.int64)
    keys[there] = np.where(numbers > 0, numbers * n + keys[there], VOID)
    return keys


@dataclass(frozen=True)
class Pairs:
    """Which segments share pixels; arrays are (pair,), each pair once."""

    reference: Ints
    """Segment of the reference, VOID or GROUND."""
    predicted: Ints
    """Segment of the map, or VOID."""
    pixels: Ints


@dataclass
class PairTally:
    """Gathers pairs; memory: some 40 bytes a pair."""

    _parts: list[Pairs] = field(default_factory=list)
    _waiting: int = 0

    def add(self, reference: Ints, predicted: Ints) -> None:
        """Count a part.

        Args:
            reference: (row, col) segments of the reference.
            predicted: (row, col) segments of the map.
        """
        one, other = reference.ravel(), predicted.ravel()
        new: Bools = np.append(True, (one[1:] != one[:-1]) | (other[1:] != other[:-1]))
        starts = np.flatnonzero(new[: len(one)])
        found = _summed(one[starts], other[starts], np.diff(np.append(starts, len(one))))
        self._parts.append(found)
        self._waiting += len(found.pixels)
        if self._waiting > _MANY:
            self._parts = [self.finished()]
            self._waiting = 0

    def finished(self) -> Pairs:
        """All that was counted."""
        none = np.zeros(0, np.int64)
        columns = (
            np.concatenate([none, *(getattr(part, name) for part in self._parts)])
            for name in ("reference", "predicted", "pixels")
        )
        return _summed(*columns)


def _summed(reference: Ints, predicted: Ints, pixels: Ints) -> Pairs:
    order = np.lexsort((predicted, reference))
    reference, predicted, pixels = reference[order], predicted[order], pixels[order]
    if not len(order):
        return Pairs(reference, predicted, pixels)
    new = np.append(True, (np.diff(reference) != 0) | (np.diff(predicted) != 0))
    starts = np.flatnonzero(new)
    return Pairs(reference[starts], predicted[starts], np.add.reduceat(pixels, starts))
