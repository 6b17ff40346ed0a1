"""Chips that lie over each other on the ground: what is in training must not be judged on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.footprint import bounding_box, footprint
from geoseg.grid import Grid, Window

_SLIVER = 1e-3
"""Part of a chip's area that two chips may share: what two map projections differ by at their borders."""
_EDGE_POINTS = 8


@dataclass(frozen=True)
class Lot:
    """Chips of one scene."""

    grid: Grid
    windows: tuple[Window, ...]


def common_ground(one: Lot, other: Lot) -> list[tuple[int, int]]:
    """Pairs (chip of one, chip of the other) that share ground; rising."""
    apart = one.grid.crs != other.grid.crs and not (one.grid.on_earth and other.grid.on_earth)
    if apart or not one.windows or not other.windows:
        return []
    ours, theirs = _outlines(one, one.grid), _outlines(other, one.grid)
    there = np.flatnonzero(np.isfinite(shapely.area(theirs)))  # beyond the projection's domain nothing can be shared
    if not len(there):
        return []
    b, a = shapely.STRtree(ours).query(theirs[there], predicate="intersects")
    b = there[b]
    shared = shapely.area(shapely.intersection(ours[a], theirs[b]))
    real = shared > _SLIVER * np.minimum(shapely.area(ours[a]), shapely.area(theirs[b]))
    return sorted(zip(a[real].tolist(), b[real].tolist(), strict=True))


def lonlat_box(grid: Grid, windows: list[Window]) -> list[float] | None:
    """[west, south, east, north] of some windows in EPSG:4326; None for a grid that is not on Earth."""
    around = Window.from_edges(
        left=min(w.col_off for w in windows),
        top=min(w.row_off for w in windows),
        right=max(w.col_end for w in windows),
        bottom=max(w.row_end for w in windows),
    )
    place = footprint(grid.crop(around))
    return None if place is None else [round(side, 6) for side in bounding_box(place)]


def _outlines(lot: Lot, target: Grid) -> NDArray[np.object_]:
    """(chip,) polygons in the target's CRS; edges get points, since they bend on their way."""
    rings = []
    for window in lot.windows:
        corners = np.array([*lot.grid.corners(window), lot.grid.corners(window)[0]])
        steps = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)[:, None]
        edges = [a + steps * (b - a) for a, b in pairwise(corners)]
        rings.append(np.concatenate([*edges, corners[:1]]))
    shapes = np.asarray(shapely.polygons(np.stack(rings)))
    if lot.grid.crs == target.crs:
        return shapes
    way = Transformer.from_crs(lot.grid.crs, target.crs, always_xy=True)
    moved: NDArray[np.object_] = shapely.transform(shapes, lambda xy: np.column_stack(way.transform(*xy.T)))
    return moved
