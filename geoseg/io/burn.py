"""Polygons as pixels: centers inside a mask, or all that an area of interest touches, for every window alike.

For centers GDAL walks along edges from the window's own corner, and its rounding decides about centers that lie exactly
on an edge: with windows of any place 194 of 15.6 million pixels were seen to differ. So the lattice of blocks is fixed
to the grid. What is touched is exact anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from shapely import MultiPolygon, STRtree, box, from_wkb, get_parts

from geoseg.grid import Grid, Window
from geoseg.io.class_raster import ClassRaster, opened_rows
from geoseg.polygons.clip_area import Area, area_of

_BLOCK = 512


def burned(polygons_wkb: bytes, grid: Grid, window: Window) -> NDArray[np.bool_]:
    """(row, col) True where a pixel's center lies in a polygon; the window must lie in the grid.

    Args:
        polygons_wkb: (multi)polygons in the grid's CRS.
        grid: whose pixels.
        window: which of them.
    """
    out = np.zeros(window.shape, bool)
    for row in range(window.row_off // _BLOCK * _BLOCK, window.row_end, _BLOCK):
        for col in range(window.col_off // _BLOCK * _BLOCK, window.col_end, _BLOCK):
            block = Window(col, row, min(_BLOCK, grid.width - col), min(_BLOCK, grid.height - row))
            common = block.intersection(window)
            if common is not None:
                out[common.relative_to(window).slices] = _of_block(polygons_wkb, grid, block)[
                    common.relative_to(block).slices
                ]
    return out


@lru_cache(maxsize=64)
def _of_block(polygons_wkb: bytes, grid: Grid, block: Window) -> NDArray[np.bool_]:
    xs, ys = zip(*grid.corners(block), strict=True)
    tree = _tree(polygons_wkb)
    near = tree.geometries[tree.query(box(min(xs), min(ys), max(xs), max(ys)))]
    if not len(near):
        return np.zeros(block.shape, bool)
    inside: NDArray[np.bool_] = geometry_mask(list(near), block.shape, grid.crop(block).transform, invert=True)
    inside.setflags(write=False)  # it is shared by all who ask
    return inside


@lru_cache(maxsize=8)
def _tree(polygons_wkb: bytes) -> STRtree:
    """Parsed and indexed once a process."""
    return STRtree(get_parts(from_wkb(polygons_wkb)))


def touched(polygons_wkb: bytes, grid: Grid, window: Window) -> NDArray[np.bool_]:
    """(row, col) True where a pixel and the polygons have more than a line in common; exact for every window.

    Args:
        polygons_wkb: multipolygon in the grid's CRS.
        grid: whose pixels.
        window: which of them.

    Raises:
        InputError: the grid has more than 2²⁰ rows or columns.
    """
    return area_on(polygons_wkb, grid).touched(window)


@lru_cache(maxsize=4)
def area_on(polygons_wkb: bytes, grid: Grid) -> Area:
    """A multipolygon in the grid's CRS as an area of its pixels; parsed and indexed once a process.

    Raises:
        InputError: the grid has more than 2²⁰ rows or columns.
    """
    polygons = MultiPolygon(list(get_parts(from_wkb(polygons_wkb))))
    return area_of(polygons, grid.transform, (grid.height, grid.width))


@contextmanager
def rows_in(raster: ClassRaster, area: Area | None) -> Iterator[Callable[[int, int], NDArray[Any]]]:
    """Reads rows of a class raster as `opened_rows` does, nodata where the area does not touch.

    Raises:
        InputError: the file cannot be opened; the function raises it when rows cannot be read.
    """
    with opened_rows(raster) as read_all:

        def read_rows(first: int, last: int) -> NDArray[Any]:
            codes = read_all(first, last)
            if area is not None:
                codes[~area.touched(Window(0, first, raster.grid.width, last - first))] = raster.nodata
            return codes

        yield read_rows
