"""The grid that the user wants results on: another file's, or a national one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from affine import Affine
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError

from geoseg.errors import InputError, UsageError
from geoseg.grid import Grid, Window
from geoseg.io.lattice import MAX_SIDE, covering, lattice_place, united, windows_on
from geoseg.io.raster import describe

_STEPS = 64
"""Points along an edge of the input: straight lines bend in another CRS."""


def target_grid(text: str, source: Grid) -> Grid:
    """The grid to work on.

    Args:
        text: a raster file, whose grid is taken as it is; or `CRS,RES` with square pixels of RES units of the CRS,
            whose edges lie on multiples of RES (as `gdalwarp -tap`), just large enough for the input.
        source: the input's grid.

    Raises:
        UsageError: neither of the two.
        InputMissingError, InputError: the file is unusable; the input does not reach the grid.
    """
    if Path(text).exists():
        grid = describe(text).grid
        place = _in_crs(source, grid.crs, text)
        to_pixel = ~grid.transform
        cols, rows = to_pixel @ (place[:, 0], place[:, 1])
        if max(cols) <= 0 or max(rows) <= 0 or min(cols) >= grid.width or min(rows) >= grid.height:
            raise InputError(f"--grid {text}: the input lies wholly outside of this grid; choose one that meets it.")
        return grid
    name, comma, number = text.rpartition(",")
    if not comma:
        raise UsageError(f"--grid {text!r} is no file and not of the form CRS,RES such as EPSG:2154,10.")
    try:
        crs, size = CRS.from_user_input(name), float(number)
    except (CRSError, ValueError) as error:
        raise UsageError(f"--grid {text!r} is not CRS,RES such as EPSG:2154,10: {error}") from error
    if not 0 < size < math.inf:
        raise UsageError(f"--grid {text!r}: pixels of {number} {_unit(crs)} are none; give a positive size.")
    return _snapped(crs, size, _in_crs(source, crs, text), text)


def piece_of_target(text: str, source: Grid) -> Grid:
    """The part of a grid to work on where one of several inputs lies, just large enough for it.

    The input's own where its pixels are those of that grid: they need not be resampled.

    Args:
        text: see `target_grid`; pieces of several inputs lie on one lattice.
        source: the input's grid.

    Raises:
        UsageError, InputMissingError, InputError: see `target_grid`.
    """
    grid = target_grid(text, source)
    if lattice_place(grid, source) is not None:
        return source
    if not Path(text).exists():
        return grid
    window = covering(grid, [tuple(point) for point in _in_crs(source, grid.crs, text).tolist()])
    return grid if window is None else grid.crop(window)


def placed(pieces: Sequence[Grid], names: Sequence[str], text: str | None) -> tuple[Grid, tuple[Window, ...]]:
    """The grid of a mosaic, and where each scene lies on it, of which some may reach beyond.

    Args:
        pieces: grids of the scenes; with `text` those of `piece_of_target`.
        names: of the scenes, for people.
        text: see `target_grid`; None: the grid is the smallest that holds all.

    Raises:
        InputError: the scenes are on no common lattice, or too far apart.
    """
    if text is None or not Path(text).exists():
        return united(pieces, names)
    return (grid := describe(text).grid), windows_on(grid, pieces, names)


def _snapped(crs: CRS, size: float, place: np.ndarray, text: str) -> Grid:
    low, high = place.min(axis=0) / size, place.max(axis=0) / size
    # A billionth of a pixel: what PROJ's arithmetic leaves must not add a row.
    left, bottom = (math.floor(value + 1e-9 * max(1, abs(value))) for value in low)
    right, top = (math.ceil(value - 1e-9 * max(1, abs(value))) for value in high)
    width, height = max(1, right - left), max(1, top - bottom)
    if max(width, height) > MAX_SIDE:
        raise UsageError(
            f"--grid {text!r} asks for {width} × {height} pixels; the size is in {_unit(crs)}, is it meant so?"
        )
    return Grid(crs, Affine(size, 0.0, left * size, 0.0, -size, top * size), width, height)


def _in_crs(source: Grid, crs: CRS, text: str) -> np.ndarray:
    """Points (n, 2) along the input's frame in another CRS, x (east or longitude) first."""
    along = np.linspace(0, 1, _STEPS + 1)
    corners = np.array([*source.corners(), source.corners()[0]])
    frame = np.concatenate([a + along[:, None] * (b - a) for a, b in pairwise(corners)])
    if source.crs == crs:
        return frame
    try:
        points = np.column_stack(Transformer.from_crs(source.crs, crs, always_xy=True).transform(*frame.T))
    except ProjError as error:
        raise InputError(f"--grid {text}: no way leads from {source.crs.name!r} to {crs.name!r}: {error}") from error
    if not np.isfinite(points).all():
        raise InputError(f"--grid {text}: the input reaches beyond the domain of {crs.name!r}; cut it first.")
    if crs.is_geographic and np.abs(np.diff(points[:, 0])).max() > 180:
        raise InputError(f"--grid {text}: the input crosses the antimeridian or a pole; take a projected CRS.")
    return points


def _unit(crs: CRS) -> str:
    return f"{crs.axis_info[0].unit_name}s" if crs.axis_info else "units"
