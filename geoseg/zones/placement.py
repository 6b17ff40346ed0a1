"""Polygons of any CRS on the pixels of a raster."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from shapely.affinity import translate

from geoseg.grid import Grid
from geoseg.zones.carry import carried, moved, surroundings, transformer, turn_of
from geoseg.zones.shares import Edges

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRAY_PX = 1e-4
"""How far the middle of a piece of an edge may lie from the true curve, in pixels."""
_FRAME_STRAY_PX = 1e-5
_SNAP_PX = 1e-8
"""Coordinates nearer than this to a pixel border are on it: a northing of 9 000 km has no more digits."""
_TURNS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class Placement:
    """The way from polygons in a CRS to the pixels of a raster.

    Longitudes are a circle: polygons in −180…180 and in 0…360 find rasters in either, and those across ±180°.
    """

    crs: CRS
    """CRS of the polygons, x (east or longitude) first."""
    grid: Grid

    def edges(self, polygon: Any) -> Edges:
        """The outline of a polygon on the raster's pixels, as far as it is near; none when it is not.

        Args:
            polygon: valid Polygon or MultiPolygon.

        Raises:
            InputError: the polygon cannot be drawn in the raster's CRS: it leaves its domain, or lies across its seam.
        """
        xy, starts = _rings(self._near(polygon))
        if not self._same and len(xy):
            smallest = min(math.hypot(self.grid.transform.a, self.grid.transform.d), self._row_height)
            xy, starts = carried(xy, starts, self._to_raster, STRAY_PX * smallest)
        return self._on_pixels(*self._copies(xy, starts))

    def frame(self, near: tuple[float, float, float, float]) -> Any:
        """The raster's frame in the polygons' CRS, grown by a hair so that neighbors leave no gap.

        Args:
            near: left, bottom, right, top in the polygons' CRS; what lies far outside may be left out.

        Returns:
            Polygon or MultiPolygon, empty when nothing is near.

        Raises:
            InputError: the frame cannot be drawn there.
        """
        hair = 2 * _FRAME_STRAY_PX
        right, bottom = self.grid.width + hair, self.grid.height + hair
        corners = ((-hair, -hair), (right, -hair), (right, bottom), (-hair, bottom))
        frame: Any = shapely.Polygon([self.grid.transform @ corner for corner in corners])
        if not self._same:
            region = surroundings(near, self.crs, self.grid.crs)
            frame = frame if region is None else _areas(frame.intersection(region))
            if frame.is_empty:
                return frame
            from_raster = transformer(self.grid.crs, self.crs)
            xy, starts = _rings(frame)
            extent = float(np.ptp(moved(xy, from_raster), axis=0).max())
            xy, starts = carried(xy, starts, from_raster, _FRAME_STRAY_PX * extent / max(self.grid.shape))
            frame = shapely.union_all([shapely.make_valid(shapely.Polygon(xy[i:j])) for i, j in pairwise(starts)])
        turn = turn_of(self.crs)
        return frame if turn is None else shapely.union_all([translate(frame, k * turn) for k in (-1, 0, 1)])

    @cached_property
    def _same(self) -> bool:
        return bool(self.crs.equals(self.grid.crs, ignore_axis_order=True))

    @cached_property
    def _to_raster(self) -> Transformer:
        return transformer(self.crs, self.grid.crs)

    @property
    def _row_height(self) -> float:
        return math.hypot(self.grid.transform.b, self.grid.transform.e)

    @cached_property
    def _region(self) -> Any:
        region = surroundings(self.grid.bounds, self.grid.crs, self.crs)
        shapely.prepare(region)
        return region

    def _near(self, polygon: Any) -> Any:
        """The part of a polygon around the raster; whole when nothing needs to be transformed.

        Projections fold what lies far outside their domain onto places inside it, without a word.
        """
        if self._region is None or self._region.contains(polygon):
            return polygon
        if not self._region.intersects(polygon):
            return shapely.MultiPolygon()
        if self._same:
            return polygon
        return _areas(shapely.intersection(polygon, self._region))

    def _copies(self, xy: Floats, starts: Ints) -> tuple[Floats, Ints]:
        """On a raster in longitudes: every ring wherever whole turns put it onto the raster."""
        turn = turn_of(self.grid.crs)
        if turn is None or not len(xy):
            return xy, starts
        left, _, right, _ = self.grid.bounds
        west, east = np.minimum.reduceat(xy[:, 0], starts[:-1]), np.maximum.reduceat(xy[:, 0], starts[:-1])
        rings = []
        for k in _TURNS:
            on_raster = np.flatnonzero((west + k * turn < right) & (east + k * turn > left))
            rings += [xy[starts[i] : starts[i + 1]] + np.array([k * turn, 0]) for i in on_raster]
        ends = np.cumsum([0, *map(len, rings)])
        return np.concatenate(rings) if rings else np.empty((0, 2)), ends

    def _on_pixels(self, xy: Floats, starts: Ints) -> Edges:
        t = self.grid.transform
        # From the corner first: the difference of near numbers is exact, and 30 m / 10 m is 3.
        x, y = xy[:, 0] - t.c, xy[:, 1] - t.f
        pixel = np.column_stack((t.e * x - t.b * y, t.a * y - t.d * x)) / t.determinant
        border = np.rint(pixel)
        pixel = np.where(np.abs(pixel - border) < _SNAP_PX, border, pixel)
        ends = np.delete(np.hstack((pixel[:-1], pixel[1:])), starts[1:-1] - 1, axis=0) if len(xy) else np.empty((0, 4))
        enclosed = ((ends[:, 0] + ends[:, 2]) / 2 * (ends[:, 3] - ends[:, 1])).sum()
        return Edges(ends if enclosed >= 0 else ends[:, [2, 3, 0, 1]])


def _rings(polygon: Any) -> tuple[Floats, Ints]:
    """Rings of a polygon, exteriors clockwise, as (vertex, 2) and (ring + 1,)."""
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(polygon, exterior_cw=True)))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    return xy, np.searchsorted(ring, np.arange(len(rings) + 1))


def _areas(geometry: Any) -> Any:
    """The polygons of a geometry."""
    parts = shapely.get_parts(geometry)
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
