"""Where pixels lie: integer windows and the grid that ties them to the ground."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from affine import Affine
from pyproj import CRS, Geod, Transformer

GEOD = Geod(ellps="WGS84")


class Bounds(NamedTuple):
    """Extent in CRS units."""

    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class Window:
    """Rectangle of whole pixels; offsets may be negative (a read window beyond the raster's edge)."""

    col_off: int
    row_off: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"window of {self.width} × {self.height} pixels; both must be at least 1.")

    @property
    def col_end(self) -> int:
        """First column right of the window."""
        return self.col_off + self.width

    @property
    def row_end(self) -> int:
        """First row below the window."""
        return self.row_off + self.height

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), as NumPy wants it."""
        return self.height, self.width

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """(row, column) slices into an array that starts at pixel (0, 0)."""
        return slice(self.row_off, self.row_end), slice(self.col_off, self.col_end)

    @classmethod
    def from_edges(cls, *, left: int, top: int, right: int, bottom: int) -> Window:
        """Window from its four edges; right and bottom are exclusive."""
        return cls(left, top, right - left, bottom - top)

    @classmethod
    def around(cls, windows: Sequence[Window]) -> Window:
        """The smallest window that holds them all, at least one."""
        return cls.from_edges(
            left=min(window.col_off for window in windows),
            top=min(window.row_off for window in windows),
            right=max(window.col_end for window in windows),
            bottom=max(window.row_end for window in windows),
        )

    def pad(self, margin: int) -> Window:
        """Grow by `margin` pixels on every side."""
        return Window(self.col_off - margin, self.row_off - margin, self.width + 2 * margin, self.height + 2 * margin)

    def relative_to(self, other: Window) -> Window:
        """The same pixels, counted from the upper left pixel of `other`."""
        return replace(self, col_off=self.col_off - other.col_off, row_off=self.row_off - other.row_off)

    def intersection(self, other: Window) -> Window | None:
        """Common pixels, or None."""
        left, right = max(self.col_off, other.col_off), min(self.col_end, other.col_end)
        top, bottom = max(self.row_off, other.row_off), min(self.row_end, other.row_end)
        if left >= right or top >= bottom:
            return None
        return Window.from_edges(left=left, top=top, right=right, bottom=bottom)

    def split(self, size: int) -> Iterator[Window]:
        """Blocks of at most size × size pixels, row by row, that partition the window."""
        for row in range(self.row_off, self.row_end, size):
            for col in range(self.col_off, self.col_end, size):
                yield Window.from_edges(
                    left=col,
                    top=row,
                    right=min(col + size, self.col_end),
                    bottom=min(row + size, self.row_end),
                )


@dataclass(frozen=True)
class Grid:
    """CRS + transform + size. Pixel (0, 0)'s outer corner is where `transform` puts (0, 0).

    `transform` maps (column, row) to (x, y) in CRS units; any invertible affine is allowed
    (south-up, rotated, anisotropic).
    """

    crs: CRS
    transform: Affine
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"grid of {self.width} × {self.height} pixels; both must be at least 1.")
        if self.transform.is_degenerate:
            raise ValueError(f"transform {tuple(self.transform)[:6]} maps pixels onto a line.")

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    @property
    def window(self) -> Window:
        """The whole grid as a window."""
        return Window(0, 0, self.width, self.height)

    @property
    def pixel_area(self) -> float:
        """Planar area of a pixel in squared CRS units, always positive."""
        return abs(float(self.transform.determinant))

    def corners(self, window: Window | None = None) -> list[tuple[float, float]]:
        """The four (x, y) corners of a window (default: all), clockwise from the first pixel's."""
        w = window or self.window
        edges = [(w.col_off, w.row_off), (w.col_end, w.row_off), (w.col_end, w.row_end), (w.col_off, w.row_end)]
        return [self.transform @ corner for corner in edges]

    @property
    def bounds(self) -> Bounds:
        """Bounding box in CRS units."""
        xs, ys = zip(*self.corners(), strict=True)
        return Bounds(min(xs), min(ys), max(xs), max(ys))

    def crop(self, window: Window) -> Grid:
        """The grid of a window of this grid."""
        shifted = self.transform @ Affine.translation(window.col_off, window.row_off)
        return Grid(self.crs, shifted, window.width, window.height)

    def zoom(self, factor: float) -> Grid:
        """Same place, pixels `factor` times as large; the last row and column may stick out."""
        return Grid(
            self.crs,
            self.transform @ Affine.scale(factor),
            max(1, math.ceil(self.width / factor - 1e-9)),
            max(1, math.ceil(self.height / factor - 1e-9)),
        )

    @property
    def on_earth(self) -> bool:
        """False for an engineering CRS: a plane that nothing ties to longitude and latitude."""
        return self.crs.geodetic_crs is not None

    @cached_property
    def to_lonlat(self) -> Transformer:
        """Transformer from this CRS to longitude and latitude in degrees (WGS 84, x first); needs `on_earth`."""
        return Transformer.from_crs(self.crs, 4326, always_xy=True)

    @cached_property
    def gsd_m(self) -> float:
        """Ground sample distance at the raster's middle: side, in ground metres, of a square of a pixel's area.

        Measured on the WGS 84 ellipsoid, so that degrees, feet and Web Mercator all give metres on the ground; in
        the plane where the CRS is not `on_earth`.
        """
        if not self.on_earth:
            axes = self.crs.axis_info
            return math.sqrt(self.pixel_area) * (axes[0].unit_conversion_factor if axes else 1.0)
        col, row = self.width / 2, self.height / 2
        points = [self.transform @ (col + dc, row + dr) for dc, dr in ((0, 0), (1, 0), (1, 1), (0, 1))]
        xs, ys = zip(*points, strict=True)
        lons, lats = self.to_lonlat.transform(xs, ys)
        area, _ = GEOD.polygon_area_perimeter(lons, lats)
        return math.sqrt(abs(area))

    def same_as(self, other: Grid, tolerance_px: float = 1e-3) -> bool:
        """True when both grids have equal CRS and size and their corners agree to a fraction of a pixel."""
        if self.shape != other.shape or self.crs != other.crs:
            return False
        to_pixel = ~self.transform
        return all(
            math.dist(to_pixel @ theirs, to_pixel @ ours) <= tolerance_px
            for theirs, ours in zip(other.corners(), self.corners(), strict=True)
        )
