"""Grids on one lattice: the same squares of ground, counted from another corner."""

from __future__ import annotations

import math
from collections.abc import Sequence

from affine import Affine

from geoseg.errors import InputError
from geoseg.grid import Grid, Window

MAX_SIDE = 2_000_000
"""Pixels; a wrong unit (degrees for metres), or scenes of two continents, would ask for far more."""
ON_LATTICE_PX = 1e-2
"""Two grids are one lattice of pixels where the corners of both agree to this part of a pixel."""


def covering(grid: Grid, points: Sequence[tuple[float, float]]) -> Window | None:
    """The pixels of a grid around points (x, y) in its CRS; None where these lie beside it."""
    cols, rows = zip(*(~grid.transform @ point for point in points), strict=True)
    # A billionth of a pixel: what the division leaves must not add a row.
    left, top = (math.floor(min(values) + 1e-9 * max(1, abs(min(values)))) for values in (cols, rows))
    right, bottom = (math.ceil(max(values) - 1e-9 * max(1, abs(max(values)))) for values in (cols, rows))
    around = Window.from_edges(left=left, top=top, right=max(right, left + 1), bottom=max(bottom, top + 1))
    return around.intersection(grid.window)


def lattice_place(grid: Grid, other: Grid) -> tuple[int, int] | None:
    """Column and row of `grid` where `other` begins; None where their pixels are not the same squares."""
    if grid.crs != other.crs:
        return None
    to_pixel = ~grid.transform @ other.transform
    col, row = round(to_pixel.c), round(to_pixel.f)
    for across, down in ((0, 0), (other.width, 0), (other.width, other.height), (0, other.height)):
        if math.dist(to_pixel @ (across, down), (col + across, row + down)) > ON_LATTICE_PX:
            return None
    return col, row


def windows_on(
    grid: Grid, others: Sequence[Grid], names: Sequence[str], its_name: str = "--grid"
) -> tuple[Window, ...]:
    """Where each of several grids lies on one.

    Args:
        grid: the one.
        others: on its lattice; they may reach beyond.
        names: of the scenes that have them, for people.
        its_name: of the one.

    Raises:
        InputError: one is not on its lattice.
    """
    windows = []
    for other, name in zip(others, names, strict=True):
        place = lattice_place(grid, other)
        if place is None:
            raise InputError(_apart(grid, its_name, other, name))
        windows.append(Window(*place, other.width, other.height))
    return tuple(windows)


def united(grids: Sequence[Grid], names: Sequence[str]) -> tuple[Grid, tuple[Window, ...]]:
    """The smallest grid that holds all, and where each lies on it.

    Args:
        grids: on one lattice.
        names: of the scenes, for people.

    Raises:
        InputError: they are on no common lattice, or too far apart.
    """
    first = grids[0]
    places = windows_on(first, grids, names, names[0])
    left, top = min(w.col_off for w in places), min(w.row_off for w in places)
    windows = tuple(Window(w.col_off - left, w.row_off - top, w.width, w.height) for w in places)
    width, height = max(w.col_end for w in windows), max(w.row_end for w in windows)
    if max(width, height) > MAX_SIDE:
        raise InputError(f"the mosaic would have {width} × {height} pixels; run scenes that far apart with --each.")
    # The file's own numbers, where one begins at the corner: computed ones may differ from them in the last digit.
    corners = [grid.transform for grid, w in zip(grids, windows, strict=True) if (w.col_off, w.row_off) == (0, 0)]
    transform = corners[0] if corners else first.transform @ Affine.translation(left, top)
    return Grid(first.crs, transform, width, height), windows


def _apart(first: Grid, its_name: str, grid: Grid, name: str) -> str:
    to_pixel = ~first.transform @ grid.transform
    if first.crs != grid.crs:
        how = f"is in {grid.crs.name}, {its_name} in {first.crs.name}"
    elif not all(math.isclose(a, b, abs_tol=1e-6) for a, b in zip(to_pixel[:5:4], (1, 1), strict=True)):
        how = f"has pixels of {grid.gsd_m:.6g} m, {its_name} of {first.gsd_m:.6g} m, or turned ones"
    else:
        shift = max(abs(to_pixel.c - round(to_pixel.c)), abs(to_pixel.f - round(to_pixel.f)))
        how = f"has the pixel size of {its_name} but is shifted by {shift:.2f} of a pixel"
    authority = first.crs.to_authority(min_confidence=100)
    size = math.sqrt(first.pixel_area)
    example = f"--grid {':'.join(authority)},{size:g}" if authority else f"--grid {its_name}"
    return f"{name} {how}; neighbors on different grids need one to come to: pass --grid CRS,RES or a file, {example}."
