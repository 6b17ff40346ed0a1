"""Labeled shapes as pixels: a pixel belongs to the shape that its center lies in.

Windows are burned as they are asked for, so they should come from one lattice: where an edge runs exactly through
pixel centers GDAL's rounding depends on the window's origin.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize
from shapely import STRtree, box

from geoseg.grid import Grid, Window
from geoseg.io.label_shapes import Geometries

NOBODY = -1
"""Owner of pixels that no shape labels."""


@dataclass(frozen=True)
class Burned:
    """Labels of a window."""

    classes: NDArray[np.int16]
    """(row, col) class index; `NOBODY` where there is none."""
    owners: NDArray[np.int32]
    """(row, col) number of the shape (the last, where several of one class lie over each other), or `NOBODY`."""
    contested: NDArray[np.bool_]
    """(row, col) True where shapes of different classes lie over each other; there is no class then."""


class ShapeBurner:
    """Shapes with classes on a grid.

    Args:
        shapes: (shape,) polygons in the grid's CRS.
        classes: (shape,) class index, or `NOBODY`: the shape labels nothing.
        grid: whose pixels.
    """

    def __init__(self, shapes: Geometries, classes: NDArray[np.int16], grid: Grid) -> None:
        self.shapes, self.classes, self.grid = shapes, classes, grid
        self._tree = STRtree(shapes)

    def near(self, window: Window) -> NDArray[np.intp]:
        """Numbers of the labeling shapes whose bounds meet a window's, rising."""
        xs, ys = zip(*self.grid.corners(window), strict=True)
        found = np.sort(self._tree.query(box(min(xs), min(ys), max(xs), max(ys))))
        return np.asarray(found[self.classes[found] != NOBODY], np.intp)

    def burn(self, window: Window) -> Burned:
        """Labels of a window, which may reach beyond the grid."""
        near = self.near(window)
        classes = np.full(window.shape, NOBODY, np.int16)
        owners = np.full(window.shape, NOBODY, np.int32)
        contested = np.zeros(window.shape, bool)
        for index in np.unique(self.classes[near]).tolist():
            mine = near[self.classes[near] == index]
            found = self._numbers(mine, window)
            inside = found != NOBODY
            contested |= inside & (classes != NOBODY)
            classes[inside], owners[inside] = index, found[inside]
        classes[contested] = owners[contested] = NOBODY
        return Burned(classes, owners, contested)

    def _numbers(self, shapes: NDArray[np.intp], window: Window) -> NDArray[np.int32]:
        pairs = [(self.shapes[number], int(number)) for number in shapes]
        transform = self.grid.crop(window).transform
        found = rasterize(pairs, out_shape=window.shape, fill=NOBODY, transform=transform, dtype="int32")
        return np.array(found, np.int32, ndmin=2)
