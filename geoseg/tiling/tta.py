"""Test-time augmentation: the mean answer over a chip's mirror images and turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import Chip
from geoseg.settings import Tta

Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class View:
    """An element of the dihedral group of the square: first perhaps rows and columns change places, then mirrored."""

    transpose: bool
    mirror_rows: bool
    mirror_cols: bool

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """The view of an array (…, row, col)."""
        return self._mirrored(array.swapaxes(-1, -2) if self.transpose else array)

    def back(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (…, row, col) that lies as the view does, as it lay before."""
        array = self._mirrored(array)
        return array.swapaxes(-1, -2) if self.transpose else array

    def of_chip(self, chip: Chip) -> Chip:
        """The view of a chip; the window keeps its corner, and its sides change places with the pixels'."""
        window = chip.window
        if self.transpose:
            window = replace(window, width=window.height, height=window.width)
        masked = None if chip.masked is None else self.of(chip.masked)
        # torch takes no arrays with negative strides.
        data, present = np.ascontiguousarray(self.of(chip.data)), np.ascontiguousarray(self.of(chip.present))
        return Chip(data, present, self.of(chip.valid), window, masked)

    def _mirrored(self, array: NDArray[Any]) -> NDArray[Any]:
        return array[..., :: -1 if self.mirror_rows else 1, :: -1 if self.mirror_cols else 1]


_MIRRORED = tuple(View(False, rows, cols) for rows in (False, True) for cols in (False, True))
VIEWS: dict[Tta, tuple[View, ...]] = {
    "none": _MIRRORED[:1],
    "flip": _MIRRORED,
    "d4": (*_MIRRORED, *(replace(view, transpose=True) for view in _MIRRORED)),
}


def augmented(forward: Callable[[Sequence[Chip]], list[Scores]], chips: Sequence[Chip], tta: Tta) -> list[Scores]:
    """Mean scores (class, row, col) over the views of each chip, summed in the order of `VIEWS`.

    Args:
        forward: scores (class, row, col) of each chip, in order.
        chips: any sizes; a quarter turn makes tall ones wide.
        tta: which views.
    """
    views = VIEWS[tta][1:]
    sums = forward(chips)  # as they are: the first view
    for view in views:
        answers = forward([view.of_chip(chip) for chip in chips])
        sums = [total + view.back(scores) for total, scores in zip(sums, answers, strict=True)]
    return [total / np.float32(1 + len(views)) for total in sums] if views else sums
