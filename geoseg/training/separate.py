"""How many separate patches of each class a label raster has, counted chip by chip."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.label import label_band

Key = tuple[int, int]


class Patches:
    """4-connected components of equal class over chips of one lattice, which come in any order and once each."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._class_of: list[int] = []
        self._edges: dict[Key, dict[str, tuple[NDArray[np.int32], NDArray[np.uint8]]]] = {}

    def add(self, at: Key, classes: NDArray[np.uint8], counted: NDArray[np.bool_]) -> None:
        """Count a chip's patches and join those that go on in its neighbors.

        Args:
            at: row and column of the chip on the lattice.
            classes: (row, col) class indices.
            counted: (row, col) True where there is a label.
        """
        labels, count = label_band(classes, counted)
        first = len(self._parents)
        self._parents += range(first, first + count)
        distinct, pixels = np.unique(labels, return_index=True)
        self._class_of += classes.ravel()[pixels[distinct >= 0]].tolist()
        numbers = np.where(labels >= 0, labels + first, -1).astype(np.int32)
        self._edges[at] = {
            "top": (numbers[0].copy(), classes[0].copy()),
            "bottom": (numbers[-1].copy(), classes[-1].copy()),
            "left": (numbers[:, 0].copy(), classes[:, 0].copy()),
            "right": (numbers[:, -1].copy(), classes[:, -1].copy()),
        }
        row, col = at
        meets = [
            ((row - 1, col), "bottom", "top"),
            ((row + 1, col), "top", "bottom"),
            ((row, col - 1), "right", "left"),
            ((row, col + 1), "left", "right"),
        ]
        for other, theirs, ours in meets:
            if other in self._edges:
                self._join(self._edges[other][theirs], self._edges[at][ours])

    def counts(self, classes: int) -> NDArray[np.int64]:
        """(class,) number of patches."""
        roots = [self._class_of[number] for number, parent in enumerate(self._parents) if number == parent]
        return np.bincount(np.array(roots, np.int64), minlength=classes)[:classes]

    def _join(
        self, one: tuple[NDArray[np.int32], NDArray[np.uint8]], other: tuple[NDArray[np.int32], NDArray[np.uint8]]
    ) -> None:
        same = (one[0] >= 0) & (other[0] >= 0) & (one[1] == other[1])
        for pair in np.unique(np.column_stack((one[0][same], other[0][same])), axis=0).tolist():
            low, high = sorted(map(self._root, pair))
            self._parents[high] = low

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number
