"""An area of interest on the lattice of 1/1024 pixel, where all questions about it have exact answers.

Polygons are cut along the lines of this area, and the pixels that are looked at are those that it *touches*: whose
open interior its boundary passes or that lie in it. So no part of it is missed, and none of this depends on windows,
bands or tiles. Snapping to the lattice moves the boundary by less than 1/1400 pixel.

Edges lie in square bins. A bin that no edge passes is inside or outside as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from shapely import MultiPolygon

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.polygons.clip_area_kernels import bin_edges, mark_pixels
from geoseg.polygons.smooth import UNIT

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_BEYOND = 2
"""Pixels beyond the raster's frame where the area is cut off."""
_LARGEST = 2**20
_MOST_BINS = 1 << 22
_FINEST_BIN = 16


@dataclass(frozen=True)
class Area:
    """An area in 1/UNIT pixel of a raster; `area_of` makes it."""

    shape: tuple[int, int]
    """(rows, columns) of the raster."""
    geometry: MultiPolygon
    """In 1/UNIT pixel, x is the column; valid, all coordinates whole numbers."""
    corners: Ints
    """(vertex, 2) column and row; the area lies on the left of its rings as seen on the screen, and rings do not repeat
    their first vertex."""
    ring_starts: Ints
    """(ring + 1,) first vertex of each ring, then the number of vertices."""

    @property
    def meets_raster(self) -> bool:
        """Whether any pixel is touched."""
        frame = shapely.box(0, 0, self.shape[1] * UNIT, self.shape[0] * UNIT)
        return bool(shapely.intersection(self.geometry, frame).area > 0)

    @cached_property
    def edges(self) -> Ints:
        """(vertex, 4) x, y of each vertex and of the next one on its ring."""
        after = np.arange(1, len(self.corners) + 1)
        after[self.ring_starts[1:] - 1] = self.ring_starts[:-1]
        return np.column_stack([self.corners, self.corners[after]])

    @cached_property
    def bin_px(self) -> int:
        """Side of a bin in pixels."""
        size, (height, width) = _FINEST_BIN, self.shape
        while (height // size + 1) * (width // size + 1) > _MOST_BINS:
            size *= 2
        return size

    @property
    def bins_shape(self) -> tuple[int, int]:
        """Rows and columns of bins; the frame's far corner is in the last one."""
        return self.shape[0] // self.bin_px + 1, self.shape[1] // self.bin_px + 1

    @cached_property
    def bins(self) -> tuple[Ints, Ints]:
        """(bin + 1,) first member of each bin, in row order, then their number; and (member,) edges."""
        return _binned(self.edges, self.bin_px * UNIT, self.bins_shape)

    @cached_property
    def _bin_rows(self) -> tuple[Ints, Ints]:
        return _binned(self.edges, self.bin_px * UNIT, (self.bins_shape[0], 1))

    @cached_property
    def _bin_inside(self) -> NDArray[np.int8]:
        """(row, col) of bins: 1 inside, 0 outside, -1 an edge passes."""
        passed = np.diff(self.bins[0]).reshape(self.bins_shape) > 0
        new = ~passed
        new[:, 1:] &= passed[:, :-1]
        rows, cols = np.nonzero(new)
        middle = (np.column_stack([cols, rows]) + 0.5) * (self.bin_px * UNIT)
        status = np.full(passed.size, -1, np.int8)
        at = np.ravel_multi_index((rows, cols), passed.shape)
        status[at] = shapely.contains_xy(self.geometry, middle)
        last = np.zeros(passed.size, np.int64)
        last[at] = at
        filled = status[np.maximum.accumulate(last)].reshape(passed.shape)
        filled[passed] = -1
        return filled

    @cached_property
    def pinches(self) -> Ints:
        """Vertices that the boundary passes more than once, ascending."""
        return repeated(self.corners, np.zeros(len(self.corners), np.int64))

    def holds(self, points: Ints) -> Bools:
        """(point,) True where points (x, y) in 1/UNIT pixel, within the frame and not on the boundary, lie inside."""
        cols, rows = (points // (self.bin_px * UNIT)).T
        status = self._bin_inside[rows, cols]
        near = np.flatnonzero(status < 0)
        inside: Bools = status > 0
        inside[near] = shapely.contains_xy(self.geometry, points[near].astype(np.float64))
        return inside

    def touched(self, window: Window) -> Bools:
        """(row, col) True where the area and a pixel of the window have more than a line in common."""
        passed, flips = np.zeros(window.shape, np.bool_), np.zeros((window.height, window.width + 1), np.uint8)
        place = (window.row_off, window.col_off)
        mark_pixels(self.edges, *self._bin_rows, self.bin_px, UNIT, place, passed, flips)
        inside = np.bitwise_xor.accumulate(flips[:, :-1], axis=1).view(np.bool_)
        return np.asarray(passed | inside)


def area_of(polygons: MultiPolygon, transform: Affine, shape: tuple[int, int]) -> Area:
    """Put polygons onto the lattice of a raster.

    Args:
        polygons: valid, in the raster's CRS; holes and any number of parts.
        transform: of the raster: pixel corner → CRS.
        shape: (rows, columns) of the raster.

    Raises:
        InputError: the raster has more than 2²⁰ rows or columns.
    """
    if max(shape) > _LARGEST:
        raise InputError(f"a raster of {shape[0]} × {shape[1]} pixels is too large to be cut by an AOI: split it.")
    to_pixel = ~transform
    fine = shapely.transform(polygons, lambda xy: np.column_stack(to_pixel @ tuple(xy.T)) * UNIT)
    frame = shapely.box(-_BEYOND, -_BEYOND, shape[1] + _BEYOND, shape[0] + _BEYOND)
    snapped = shapely.intersection(fine, shapely.transform(frame, lambda xy: xy * UNIT), grid_size=1.0)
    parts = shapely.get_parts(snapped)
    parts = parts[shapely.get_dimensions(parts) == 2]
    # Outside is on the right of a ring that runs counter-clockwise where y points up.
    rings, part = shapely.get_rings(parts, return_index=True)
    is_hole = np.diff(part, prepend=-1) == 0
    turned = shapely.is_ccw(rings) != is_hole
    rings[turned] = shapely.reverse(rings[turned])
    lengths = shapely.get_num_coordinates(rings)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    corners = np.delete(shapely.get_coordinates(rings), starts[1:] - 1, axis=0)
    geometry = MultiPolygon(list(parts))
    shapely.prepare(geometry)
    return Area(shape, geometry, np.rint(corners).astype(np.int64), starts - np.arange(len(starts)))


def repeated(corners: Ints, owner: Ints) -> Ints:
    """Which vertices share their place with another of the same owner, ascending.

    Args:
        corners: (vertex, 2) whole numbers.
        owner: (vertex,) numbers.
    """
    order = np.lexsort((corners[:, 1], corners[:, 0], owner))
    same: Bools = (np.diff(corners[order], axis=0) == 0).all(axis=1) & (np.diff(owner[order]) == 0)
    twice = np.append(same, False) | np.append(False, same)
    return np.sort(order[twice[: len(order)]])


def _binned(edges: Ints, size: int, shape: tuple[int, int]) -> tuple[Ints, Ints]:
    counts = np.zeros(shape[0] * shape[1] + 1, np.int64)
    bin_edges(edges, size, shape, counts, np.zeros(0, np.int64))
    starts = np.cumsum(counts)
    members = np.zeros(starts[-1], np.int64)
    if len(members):
        bin_edges(edges, size, shape, starts.copy(), members)
    return starts, members
