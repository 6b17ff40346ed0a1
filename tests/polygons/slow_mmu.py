"""The minimum mapping unit, literally: the whole map is labeled anew after every step. For tiny maps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage  # type: ignore[import-untyped]

from geoseg.polygons.mmu_size import Unit

EDGES = ndimage.generate_binary_structure(2, 1)
CORNERS = ndimage.generate_binary_structure(2, 2)


@dataclass(frozen=True)
class Patch:
    """One component of a map."""

    code: int
    pixels: NDArray[np.bool_]
    """(row, col)"""

    @property
    def first(self) -> int:
        return int(np.flatnonzero(self.pixels)[0])


def patches(codes: NDArray[np.integer], nodata: int, structure: NDArray[np.bool_] = EDGES) -> list[Patch]:
    """Connected pixels of equal code, by first pixel."""
    found = []
    for code in np.unique(codes[codes != nodata]).tolist():
        labels, n = ndimage.label(codes == code, structure)
        found += [Patch(code, labels == label) for label in range(1, n + 1)]
    return sorted(found, key=lambda patch: patch.first)


def number(codes: NDArray[np.integer], nodata: int) -> NDArray[np.int64]:
    """(row, col) number of each pixel's component, by first pixel; -1 for nodata."""
    numbers = np.full(codes.shape, -1, np.int64)
    for i, patch in enumerate(patches(codes, nodata)):
        numbers[patch.pixels] = i
    return numbers


def slow_steps(
    codes: NDArray[np.integer], nodata: int, unit: Unit, by_row: NDArray[np.int64] | None = None
) -> Iterator[NDArray[np.integer]]:
    """The map after each step of the law.

    Args:
        codes: (row, col) class map.
        nodata: what is not there.
        unit: what is too small. With connect=8 the size that is tested is that of all pixels of the class that are
            8-connected to the component in the map as it is; all else goes by the component's own size.
        by_row: (row,) size of a pixel; None: 1.
    """
    codes = codes.copy()
    area = np.ones(codes.shape, np.int64) if by_row is None else np.broadcast_to(by_row[:, None], codes.shape)

    def size(patch: Patch) -> int:
        return int(area[patch.pixels].sum())

    def border(one: Patch, other: Patch) -> int:
        a, b = one.pixels, other.pixels
        pairs = ((a[1:], b[:-1]), (a[:-1], b[1:]), (a[:, 1:], b[:, :-1]), (a[:, :-1], b[:, 1:]))
        return sum(int((p & q).sum()) for p, q in pairs)

    while True:
        now = patches(codes, nodata)
        tested = now if unit.connect == 4 else patches(codes, nodata, CORNERS)
        for patch in sorted(now, key=lambda patch: (size(patch), patch.first)):
            group = next(group for group in tested if group.pixels[patch.pixels].all() and group.code == patch.code)
            small = size(group) < unit.by_code.get(patch.code, unit.default) and patch.code not in unit.keep
            neighbors = [other for other in now if small and other is not patch and border(patch, other)]
            if neighbors:
                best = min(neighbors, key=lambda n: (-border(patch, n), -size(n), n.code, n.first))
                codes[patch.pixels] = best.code
                yield codes.copy()
                break
        else:
            return


def slow_mmu(
    codes: NDArray[np.integer], nodata: int, unit: Unit, by_row: NDArray[np.int64] | None = None
) -> NDArray[np.integer]:
    """The generalized map; arguments as for `slow_steps`."""
    last = codes
    for step in slow_steps(codes, nodata, unit, by_row):
        last = step
    return last
