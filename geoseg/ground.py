"""Areas and lengths on the ground, in meters, whatever the CRS.

A raster is measured in one of two ways, decided once and recorded by name:

planar  shoelace in the CRS's own plane, linear units converted.
ground  geographic CRSs, and projected ones whose areal scale leaves 1 ± 0.1 % somewhere in the raster
        (Web Mercator, polar stereographic, the rim of a UTM zone).

Ground area is a shoelace, too, but in an equal-area plane of the CRS's ellipsoid: (λ, q/2) with q the
authalic function of latitude (Snyder, Map Projections, USGS PP 1395, eq. 3-12), or, near a pole, the
polar plane ρ = √(q_pole − q). An edge is straight in the CRS, hence a curve there: it is cut to at most
`STEP_M` and each piece replaced by the parabola through its ends and its middle. Edges along meridians
and parallels are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from geoseg.grid import Grid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
AreaModelName = Literal["planar", "ground"]

TOLERANCE = 1e-3
STEP_M = 25_000.0
_STEP_RAD = math.radians(0.25)
_POLAR_M = 1_000_000.0
_LATTICE = 9


@dataclass(frozen=True)
class AreaModel:
    """How polygons of one raster are measured; `area_model` makes it."""

    name: AreaModelName
    crs: CRS
    """Horizontal CRS of the coordinates to be measured, x (east or longitude) first."""
    pole: Literal[-1, 0, 1] = 0
    """Pole near the raster (+1 north), around which the equal-area plane is laid; 0: none."""

    def areas(self, xy: Floats, starts: Ints) -> Floats:
        """Areas that rings enclose.

        Args:
            xy: (vertex, 2) finite coordinates in the CRS; every ring repeats its first vertex at its end.
            starts: (ring + 1,) index of each ring's first vertex, then the number of vertices.

        Returns:
            (ring,) m², positive for both orientations; NaN where a vertex lies outside the CRS's domain.
        """
        if self.name == "planar":
            return np.abs(_trapezoids(xy, starts)) * self.unit**2
        xy, starts = subdivide(xy, starts, self._step)
        with np.errstate(invalid="ignore"):  # infinities become the NaN that is promised
            ends = self.equal_area(xy)
            middles = self.equal_area((xy[:-1] + xy[1:]) / 2)
            areas = np.abs(_trapezoids(ends, starts, middles, period=self.period))
        return areas * self.semi_major_m**2

    def lengths(self, xy: Floats, starts: Ints) -> Floats:
        """Perimeters of rings, given as for `areas`.

        Returns:
            (ring,) meters: planar lengths, or geodesics between vertices at most `STEP_M` apart.
        """
        if self.name == "planar":
            return _ring_sums(np.hypot(*np.diff(xy, axis=0).T), starts) * self.unit
        xy, starts = subdivide(xy, starts, self._step)
        lon, lat = np.degrees(self.lonlat(xy)).T
        steps = self.geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2]
        return _ring_sums(np.asarray(steps), starts)

    def pixel_areas(self, grid: Grid, rows: Ints | None = None) -> Floats:
        """Ground area of a pixel in each row of the raster's grid.

        Exact for planar rasters and for geographic ones that are not rotated; elsewhere the pixel of the
        middle column stands for its row.

        Args:
            grid: the raster's grid, in this CRS.
            rows: rows asked for; None: all.

        Returns:
            (row,) m².
        """
        rows = np.arange(grid.height) if rows is None else np.asarray(rows)
        if self.name == "planar":
            return np.full(len(rows), grid.pixel_area * self.unit**2)
        return self.areas(*pixel_rings(grid, np.full(len(rows), grid.width // 2), rows))

    @cached_property
    def unit(self) -> float:
        """Meters (radians for a geographic CRS) in one CRS unit; 1 where the CRS does not say."""
        axes = self.crs.axis_info
        return float(axes[0].unit_conversion_factor) if axes else 1.0

    @cached_property
    def semi_major_m(self) -> float:
        """Semi-major axis of the CRS's ellipsoid."""
        return float(self._ellipsoid.semi_major_metre)

    @cached_property
    def _step(self) -> float:
        return (_STEP_RAD if self.crs.is_geographic else STEP_M) / self.unit

    @cached_property
    def period(self) -> float | None:
        """Longitudes of a projected CRS come back wrapped; geographic coordinates are taken as they run."""
        return None if self.pole or self.crs.is_geographic else 2 * math.pi

    @cached_property
    def _ellipsoid(self) -> Any:
        return self.crs.ellipsoid

    @cached_property
    def geod(self) -> Any:
        """Geodesics on the CRS's ellipsoid, in degrees and meters."""
        return self.crs.get_geod()

    def lonlat(self, xy: Floats) -> Floats:
        """(vertex, 2) longitude and latitude on the CRS's own datum, in radians."""
        if self.crs.is_geographic:
            return xy * self.unit
        to_base = Transformer.from_crs(self.crs, self.crs.geodetic_crs, always_xy=True)
        lonlat: Floats = np.column_stack(to_base.transform(*xy.T))
        return lonlat * _base_unit(self.crs)

    def equal_area(self, xy: Floats) -> Floats:
        """(vertex, 2) coordinates in the equal-area plane; its unit is the ellipsoid's semi-major axis."""
        lon, lat = self.lonlat(xy).T
        e2 = 1 - (self._ellipsoid.semi_minor_metre / self._ellipsoid.semi_major_metre) ** 2
        q = _authalic(np.sin(lat), e2)
        if not self.pole:
            return np.column_stack((lon, q / 2))
        rho = np.sqrt(np.maximum(_authalic(np.float64(1), e2) - self.pole * q, 0))
        return np.column_stack((rho * np.cos(lon), rho * np.sin(lon)))


def area_model(grid: Grid) -> AreaModel:
    """Decide how a raster's polygons are measured."""
    crs = _horizontal(grid.crs)
    if crs.is_geographic:
        return AreaModel("ground", crs)
    planar = AreaModel("planar", crs)
    if crs.geodetic_crs is None:  # an engineering CRS: nothing ties it to the ellipsoid
        return planar
    ground = AreaModel("ground", crs, _near_pole(grid, crs))
    cols, rows = np.meshgrid(
        np.linspace(0, grid.width - 1, _LATTICE).round().astype(np.int64),
        np.linspace(0, grid.height - 1, _LATTICE).round().astype(np.int64),
    )
    xy, starts = pixel_rings(grid, cols.ravel(), rows.ravel())
    scale = planar.areas(xy, starts) / ground.areas(xy, starts)
    return ground if bool((np.abs(scale - 1) > TOLERANCE).any()) else planar


def pixel_rings(grid: Grid, cols: Ints, rows: Ints) -> tuple[Floats, Ints]:
    """Outlines of pixels in the form that `AreaModel.areas` takes: (5 · pixel, 2) and (pixel + 1,)."""
    col = (cols[:, None] + np.array([0, 1, 1, 0, 0])).ravel()
    row = (rows[:, None] + np.array([0, 0, 1, 1, 0])).ravel()
    return corner_xy(grid.transform, col, row), np.arange(len(cols) + 1) * 5


def corner_xy(transform: Affine, col: Ints | Floats, row: Ints | Floats) -> Floats:
    """(corner, 2) CRS coordinates of pixel corners."""
    t = transform
    return np.column_stack((t.a * col + t.b * row + t.c, t.d * col + t.e * row + t.f))


def subdivide(xy: Floats, starts: Ints, step: float) -> tuple[Floats, Ints]:
    """Cut edges longer than `step` into equal pieces; arguments and result as for `AreaModel.areas`."""
    offsets = np.diff(xy, axis=0, append=xy[-1:])
    offsets[starts[1:] - 1] = 0
    length = np.hypot(*offsets.T)
    pieces = np.maximum(np.ceil(length / step), 1).astype(np.int64)
    if pieces.max(initial=1) == 1:
        return xy, starts
    first = np.concatenate(([0], np.cumsum(pieces)))
    edge = np.repeat(np.arange(len(xy)), pieces)
    share = (np.arange(first[-1]) - first[edge]) / pieces[edge]
    return xy[edge] + share[:, None] * offsets[edge], first[starts]


def _trapezoids(ends: Floats, starts: Ints, middles: Floats | None = None, *, period: float | None = None) -> Floats:
    """(ring,) ∫ y dx along each ring's edges, straight or (with (vertex - 1, 2) middles) parabolic.

    y counts from the ring's first vertex: products of large coordinates would cost the digits that matter.
    """
    step = _wrapped(np.diff(ends, axis=0), period)
    y = ends[:, 1] - np.repeat(ends[starts[:-1], 1], np.diff(starts))
    under = (y[:-1] + y[1:]) / 2 * step[:, 0]
    if middles is not None:
        bulge = _wrapped(middles - ends[:-1], period) - step / 2
        under += 2 / 3 * (bulge[:, 1] * step[:, 0] - bulge[:, 0] * step[:, 1])
    return _ring_sums(under, starts)


def _wrapped(offsets: Floats, period: float | None) -> Floats:
    if period is not None:
        offsets[:, 0] -= period * np.rint(offsets[:, 0] / period)
    return offsets


def _ring_sums(edges: Floats, starts: Ints) -> Floats:
    """Sum values of edges (vertex - 1,) by ring; the edge from one ring to the next does not count."""
    values = np.append(edges, 0)
    values[starts[1:] - 1] = 0
    return np.add.reduceat(values, starts[:-1]) if len(starts) > 1 else np.zeros(0)


def _authalic(sin_lat: Any, e2: float) -> Any:
    """Authalic function q of the sine of the latitude; 2 sin φ on a sphere."""
    if e2 <= 0:
        return 2 * sin_lat
    e = math.sqrt(e2)
    return (1 - e2) * (sin_lat / (1 - e2 * sin_lat**2) + np.arctanh(e * sin_lat) / e)


def _horizontal(crs: CRS) -> CRS:
    """The part of a CRS that places x and y."""
    if crs.is_bound and crs.source_crs is not None:
        return _horizontal(crs.source_crs)
    return _horizontal(crs.sub_crs_list[0]) if crs.is_compound else crs


def _base_unit(crs: CRS) -> float:
    """Radians in a unit of the geographic CRS that a projected one is built on (NTF counts grads)."""
    base = crs.geodetic_crs
    return float(base.axis_info[0].unit_conversion_factor) if base is not None else math.radians(1)


def _near_pole(grid: Grid, crs: CRS) -> Literal[-1, 0, 1]:
    """The pole that lies in the raster or within 1000 km of its bounds."""
    from_base = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    reach = _POLAR_M / float(crs.axis_info[0].unit_conversion_factor)
    left, bottom, right, top = grid.bounds
    poles: tuple[Literal[1, -1], ...] = (1, -1)
    for pole in poles:
        x, y = from_base.transform(0, pole * math.pi / 2 / _base_unit(crs))
        if left - reach < x < right + reach and bottom - reach < y < top + reach:
            return pole
    return 0
