"""Discs around masked pixels, in ground meters.

The disc is the same everywhere in a raster, so that no tiling can change what it covers. Axes are taken as
perpendicular, as they are in all but sheared rasters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import UsageError
from geoseg.grid import GEOD, Grid, Window

Bools = NDArray[np.bool_]

MAX_PX = 1024
"""A wider disc would make every tile read several times its own size."""
_SLACK = 1.002
"""A projection's scale (UTM: 0.9996 to 1.001) must not lose the third pixel of `30 m` around pixels of 10 m."""


@dataclass(frozen=True)
class Disc:
    """The pixels whose centers lie within a distance of a pixel's center."""

    half_widths: tuple[int, ...]
    """Columns to either side that belong to it, in its own row and each further row above and below."""

    @property
    def rows(self) -> int:
        """Rows that it reaches above and below."""
        return len(self.half_widths) - 1

    @property
    def cols(self) -> int:
        """Columns that it reaches to either side."""
        return self.half_widths[0]

    def around(self, window: Window, grid: Grid) -> Window:
        """The window and all pixels of the grid that the disc can spread into it."""
        return Window.from_edges(
            left=max(window.col_off - self.cols, 0),
            top=max(window.row_off - self.rows, 0),
            right=min(window.col_end + self.cols, grid.width),
            bottom=min(window.row_end + self.rows, grid.height),
        )


@lru_cache(maxsize=16)
def disc(grid: Grid, radius_m: float) -> Disc:
    """The disc of a radius in ground meters, measured at the grid's middle.

    Raises:
        UsageError: it reaches further than `MAX_PX` pixels.
    """
    across, down = _pixel_sides(grid)
    radius = radius_m * _SLACK
    reach = int(radius / min(across, down))
    if reach > MAX_PX:
        raise UsageError(
            f"--mask-buffer {radius_m:g} m reaches {reach} pixels here; "
            f"at most {MAX_PX} ({MAX_PX * min(across, down):.0f} m)."
        )
    rows = range(int(radius / down) + 1)
    return Disc(tuple(int(math.sqrt(max(radius**2 - (row * down) ** 2, 0)) / across) for row in rows))


def _pixel_sides(grid: Grid) -> tuple[float, float]:
    """Ground meters from one column, and from one row, to the next at the grid's middle."""
    col, row = grid.width / 2, grid.height / 2
    offsets = ((-0.5, 0), (0.5, 0), (0, -0.5), (0, 0.5))
    xs, ys = zip(*(grid.transform @ (col + dc, row + dr) for dc, dr in offsets), strict=True)
    if not grid.on_earth:
        axes = grid.crs.axis_info
        unit = axes[0].unit_conversion_factor if axes else 1.0
        return math.hypot(xs[1] - xs[0], ys[1] - ys[0]) * unit, math.hypot(xs[3] - xs[2], ys[3] - ys[2]) * unit
    lons, lats = grid.to_lonlat.transform(xs, ys)
    _, _, sides = GEOD.inv(lons[::2], lats[::2], lons[1::2], lats[1::2])
    return float(sides[0]), float(sides[1])


def grow(marked: Bools, disc: Disc) -> Bools:
    """(row, col) → the same, with a disc around each marked pixel; the dilation by that disc.

    The distance to the nearest marked pixel of each row is taken once; each row offset of the disc then costs
    one comparison of the whole array.
    """
    if not marked.any() or disc.rows == disc.cols == 0:
        return marked
    near = _row_distance(marked, disc.cols + 1)
    out = near <= disc.cols
    for offset, half_width in enumerate(disc.half_widths[1 : len(marked)], start=1):
        reached = near <= half_width
        out[offset:] |= reached[:-offset]
        out[:-offset] |= reached[offset:]
    return out


def _row_distance(marked: Bools, limit: int) -> NDArray[np.uint16]:
    """(row, col) columns to the nearest marked pixel of the same row, at most `limit`."""
    cols = np.arange(marked.shape[1], dtype=np.int32)
    far = np.int32(marked.shape[1] + limit)
    before = np.maximum.accumulate(np.where(marked, cols, -far), axis=1)
    after = np.minimum.accumulate(np.where(marked, cols, 2 * far)[:, ::-1], axis=1)[:, ::-1]
    return np.minimum(np.minimum(cols - before, after - cols), limit).astype(np.uint16)
