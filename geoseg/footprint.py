"""Where a raster lies on the globe: its frame in longitude and latitude, as GeoJSON wants it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import shapely
import shapely.affinity

from geoseg.grid import Grid

EDGE_POINTS = 32
"""Points per raster edge: a straight edge in a projected CRS is curved in longitude and latitude."""


def footprint(grid: Grid) -> shapely.Polygon | shapely.MultiPolygon | None:
    """The raster's frame in WGS 84 longitude and latitude, cut at the antimeridian, or None.

    Longitudes are unwrapped along the frame, so that neighbours differ by less than half a turn. A frame
    that then does not close goes round a pole, and is closed over it. What sticks out of −180…180 is moved
    back by a turn (RFC 7946 §3.1.9). Exterior rings run counter-clockwise.
    """
    if not grid.on_earth:
        return None
    xs, ys = zip(*_frame(grid), strict=True)
    lons, lats = grid.to_lonlat.transform(xs, ys)
    if not all(map(math.isfinite, (*lons, *lats))):
        return None
    points = list(zip(_unwrap(lons), lats, strict=True))
    if abs(points[-1][0] - points[0][0]) > 180:
        pole = math.copysign(90.0, sum(lats))
        points += [(points[-1][0], pole), (points[0][0], pole)]
    whole = shapely.make_valid(shapely.Polygon(points))
    parts = []
    for turn in range(math.floor((whole.bounds[0] + 180) / 360), math.ceil((whole.bounds[2] + 180) / 360)):
        inside = whole.intersection(shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90))
        parts += [
            shapely.affinity.translate(part, -360 * turn)
            for part in shapely.get_parts(inside)
            if isinstance(part, shapely.Polygon) and part.area > 0
        ]
    rounded = [shapely.set_precision(part, 1e-7) for part in parts]
    polygons = [
        shapely.orient_polygons(part) for shape in rounded for part in shapely.get_parts(shape) if not part.is_empty
    ]
    if not polygons:
        return None
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def meets_boxes(place: shapely.Polygon | shapely.MultiPolygon, boxes: Sequence[Sequence[float]]) -> bool:
    """True when a place has ground in common with one of several boxes.

    Args:
        place: longitude and latitude, as `footprint` gives it.
        boxes: [west, south, east, north] each; west > east across the antimeridian.
    """
    return bool(shapely.intersects(place, np.array(box_parts(boxes), object)).any())


def box_parts(boxes: Sequence[Sequence[float]]) -> list[shapely.Polygon]:
    """Boxes [west, south, east, north] as rectangles; two for one across the antimeridian (west > east)."""
    return [
        shapely.box(left, south, right, north)
        for west, south, east, north in boxes
        for left, right in ([(west, east)] if west <= east else [(west, 180.0), (-180.0, east)])
    ]


def bounding_box(place: shapely.Polygon | shapely.MultiPolygon) -> list[float]:
    """[west, south, east, north]; west > east when the place crosses the antimeridian (RFC 7946 §5.2)."""
    west, south, east, north = map(float, place.bounds)
    parts = sorted(part.bounds for part in shapely.get_parts(place))
    if west == -180 and east == 180 and len(parts) > 1:
        eastern = [part for part in parts if part[0] > -180 and part[2] == 180]
        western = [part for part in parts if part[0] == -180]
        reach, start = max(part[2] for part in western), min((part[0] for part in eastern), default=-180.0)
        if reach < start:
            west, east = start, reach
    return [west, south, east, north]


def _frame(grid: Grid) -> list[tuple[float, float]]:
    """The frame as a closed ring of (x, y) in CRS units, `EDGE_POINTS` segments an edge."""
    corners = grid.corners()
    ring = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        steps = [i / EDGE_POINTS for i in range(EDGE_POINTS)]
        ring += [(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in steps]
    return [*ring, corners[0]]


def _unwrap(lons: Sequence[float]) -> list[float]:
    out = [lons[0]]
    for lon in lons[1:]:
        out.append(lon - 360 * round((lon - out[-1]) / 360))
    return out
