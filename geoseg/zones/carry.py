"""Rings and rectangles from one CRS into another: straight edges stay where they are, the globe stays round."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.enums import TransformDirection
from pyproj.exceptions import ProjError

from geoseg.errors import InputError
from geoseg.ground import subdivide

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FINER = 1 / 32
"""An edge is cut into at most so many pieces before the next look."""
_MAX_PIECES = 2**18
_IDLE = 2
"""Where an edge jumps no cut helps; after so many in vain it is given up."""
_MARGIN = 0.05
_LATTICE = 33
_LOST = 1e-6
"""Part of a rectangle's side by which a point may miss its place when it comes back."""


def surroundings(bounds: tuple[float, float, float, float], source: CRS, target: CRS) -> Any:
    """Where a rectangle and a margin around it lie in another CRS.

    Args:
        bounds: left, bottom, right, top in the source CRS.
        source: CRS of the rectangle, x first.
        target: CRS of the result, x first.

    Returns:
        Box that holds it; in longitudes three, a turn apart. None when the target cannot draw all of it, which shows
        in points that do not come back to where they were.
    """
    left, bottom, right, top = bounds
    margin = _MARGIN * max(right - left, top - bottom)
    box = (left - margin, bottom - margin, right + margin, top + margin)
    turn = turn_of(source)
    if turn is not None:
        box = (box[0], max(box[1], -turn / 4), box[2], min(box[3], turn / 4))
    if not source.equals(target, ignore_axis_order=True):
        way = transformer(source, target)
        if not _comes_back(box, way, turn):
            return None
        box = way.transform_bounds(*box, densify_pts=64)
    left, bottom, right, top = box
    turn = turn_of(target)
    if turn is None:
        return shapely.box(*box)
    right += turn if right < left else 0.0
    if right - left >= turn:
        return shapely.box(-2 * turn, bottom, 2 * turn, top)
    return shapely.MultiPolygon([shapely.box(left + k * turn, bottom, right + k * turn, top) for k in (-1, 0, 1)])


def _comes_back(box: tuple[float, float, float, float], way: Transformer, turn: float | None) -> bool:
    """True when a lattice over a box survives the way to the other CRS and back."""
    left, bottom, right, top = box
    xs, ys = (v.ravel() for v in np.meshgrid(np.linspace(left, right, _LATTICE), np.linspace(bottom, top, _LATTICE)))
    with np.errstate(invalid="ignore"):
        back = np.column_stack(way.transform(*way.transform(xs, ys), direction=TransformDirection.INVERSE))
        lost = _wrapped(back - np.column_stack((xs, ys)), turn)
    if turn is not None:  # at a pole any longitude is as good
        lost[:, 0] *= np.cos(ys / turn * 2 * math.pi)
    return bool(np.isfinite(back).all() and (np.hypot(*lost.T) < _LOST * max(right - left, top - bottom)).all())


def carried(xy: Floats, starts: Ints, way: Transformer, stray: float) -> tuple[Floats, Ints]:
    """Rings into another CRS, their edges cut so finely that none strays from its true place.

    The stray grows with the square of an edge's length, so the longest edges say how fine is fine enough. Longitudes
    come out unwound: neighbors differ by less than half a turn, and rings round a pole are closed over it.

    Args:
        xy: (vertex, 2); every ring repeats its first vertex at its end.
        starts: (ring + 1,) first vertex of each ring, then the number of vertices.
        way: from the rings' CRS to the other, x first.
        stray: largest distance between an edge and the true curve, in units of the other CRS.

    Raises:
        InputError: a vertex leaves the other CRS's domain, or an edge does not come closer however finely it is cut.
    """
    turn = None if way.target_crs is None else turn_of(way.target_crs)
    fine, fine_starts = xy, starts
    longest, found = _stray(fine, fine_starts, way, turn)
    least, idle = longest / _MAX_PIECES, 0
    while found > stray:
        if idle == _IDLE or longest < least:
            raise InputError(
                f"a zone's edge jumps in {_name(way.target_crs)!r}: it lies across that CRS's seam "
                f"(the antimeridian, a pole); cut the zone there."
            )
        step = longest * min(0.5, max(_FINER, 0.9 * math.sqrt(stray / found)))
        fine, fine_starts = subdivide(xy, starts, step)
        before = found
        longest, found = _stray(fine, fine_starts, way, turn)
        idle = idle + 1 if found > before / 2 else 0
    there = moved(fine, way)
    return (there, fine_starts) if turn is None else _unwound(there, fine_starts, turn)


def _stray(xy: Floats, starts: Ints, way: Transformer, turn: float | None) -> tuple[float, float]:
    """Length of the longest edge, and how far long edges stray from their curves at a quarter, half, three quarters."""
    offset = np.diff(xy, axis=0)
    offset[starts[1:-1] - 1] = 0
    length = np.hypot(*offset.T)
    longest = float(length.max(initial=0))
    long = np.flatnonzero(length > longest / 3)
    start = moved(xy[long], way)
    across = _wrapped(moved(xy[long] + offset[long], way) - start, turn)
    found = 0.0
    for share in (0.25, 0.5, 0.75):
        along = _wrapped(moved(xy[long] + share * offset[long], way) - start, turn)
        found = max(found, float(np.hypot(*(along - share * across).T).max(initial=0)))
    return longest, found


def _wrapped(offset: Floats, turn: float | None) -> Floats:
    if turn is not None:
        offset[:, 0] -= turn * np.rint(offset[:, 0] / turn)
    return offset


def _unwound(xy: Floats, starts: Ints, turn: float) -> tuple[Floats, Ints]:
    """Rings of longitude and latitude with whole turns added, so that neighbors differ by less than half a turn."""
    rings = []
    for first, last in pairwise(starts.tolist()):
        ring = xy[first:last]
        turns = np.concatenate(([0], -np.cumsum(np.rint(np.diff(ring[:, 0]) / turn))))
        ring = np.column_stack((ring[:, 0] + turn * turns, ring[:, 1]))
        if turns[-1]:
            pole = math.copysign(turn / 4, ring[:, 1].sum())
            ring = np.concatenate((ring, [(ring[-1, 0], pole), (ring[0, 0], pole), ring[0]]))
        rings.append(ring)
    return np.concatenate(rings), np.cumsum([0, *map(len, rings)])


def moved(xy: Floats, way: Transformer) -> Floats:
    """Points (point, 2) into another CRS.

    Raises:
        InputError: one leaves its domain.
    """
    there: Floats = np.column_stack(way.transform(*xy.T))
    if not np.isfinite(there).all():
        raise InputError(
            f"a zone reaches beyond the domain of {_name(way.target_crs)!r}: cut the zones to the rasters' region."
        )
    return there


def transformer(source: CRS, target: CRS) -> Transformer:
    """The way from one CRS to another, x (east or longitude) first.

    Raises:
        InputError: there is none.
    """
    try:
        return Transformer.from_crs(source, target, always_xy=True)
    except ProjError as error:
        raise InputError(f"no way leads from {source.name!r} to {target.name!r}: give zones in that CRS.") from error


def _name(crs: CRS | None) -> str:
    return "another CRS" if crs is None else crs.name


def turn_of(crs: CRS) -> float | None:
    """Once round the globe in units of a geographic CRS; None for a projected one."""
    return round(2 * math.pi / crs.axis_info[0].unit_conversion_factor, 6) if crs.is_geographic else None
