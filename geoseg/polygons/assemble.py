"""Traced outlines in pixels become polygons on the ground, with their attributes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.errors import InputError
from geoseg.grid import Grid
from geoseg.ground import AreaModel, corner_xy
from geoseg.polygons.carry import Carrier
from geoseg.polygons.cut import Parts
from geoseg.polygons.rings import PolygonBatch
from geoseg.polygons.smooth import UNIT
from geoseg.polygons.table import Polygons

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SCORE_SCALE = 255


@dataclass(frozen=True)
class MapFacts:
    """What all polygons of a class raster have in common."""

    grid: Grid
    scheme: ClassScheme
    """Holds every code of the polygons."""
    model: AreaModel
    """How areas are measured, `area_model(grid)`."""
    scored: bool = False
    """Whether the sums of scores in the component table mean anything."""
    scene_id: str = ""
    img_date: date | None = None
    """Day of the image, when known."""


def assemble(
    batch: PolygonBatch,
    facts: MapFacts,
    *,
    smoothed: bool = False,
    parts: Parts | None = None,
    way: Carrier | None = None,
) -> Polygons:
    """Georeference, orient and measure the polygons of a batch.

    Args:
        batch: polygons in pixels of the raster's grid.
        facts: of the raster.
        smoothed: corners are in 1/UNIT pixel.
        parts: the cut components, where the batch holds their parts: these get poly_id, n_pixels and score of the
            whole, area and perimeter of their own.
        way: into the CRS of the result; None: it is the raster's. Areas are measured before.

    Raises:
        InputError: a polygon lies where the CRS has no place on the ground.
    """
    transform = facts.grid.transform @ Affine.scale(1 / UNIT) if smoothed else facts.grid.transform
    xy = corner_xy(transform, *batch.corners.T)
    area_m2, perim_m = measure(xy, batch.ring_starts, batch.polygon_starts, facts.model)
    ring_starts, crs = batch.ring_starts, facts.grid.crs
    if way is not None:
        carried = way.carried(batch, UNIT if smoothed else 1)
        xy, ring_starts, crs = carried.corners, carried.ring_starts, way.target
    # As seen on the screen exteriors are counter-clockwise; this map is its mirror.
    if transform.determinant > 0:
        _turn_rings(xy, ring_starts)
    table = batch.components if parts is None else parts.described(batch).components
    return Polygons(
        xy=xy,
        ring_starts=ring_starts,
        polygon_starts=batch.polygon_starts,
        poly_id=table.first,
        class_id=table.code.astype(np.int64),
        n_pixels=table.n_pixels,
        area_m2=area_m2,
        perim_m=perim_m,
        score=table.score_sum / (SCORE_SCALE * table.n_pixels) if facts.scored else None,
        scheme=facts.scheme,
        crs=crs,
        area_model=facts.model.name,
        scene_id=facts.scene_id,
        img_date=facts.img_date,
        own_pixels=None if parts is None else batch.components.n_pixels,
    )


def measure(xy: Floats, ring_starts: Ints, polygon_starts: Ints, model: AreaModel) -> tuple[Floats, Floats]:
    """Ground areas (m²) and perimeters, holes included (m), of polygons in the model's CRS.

    Args:
        xy: (vertex, 2) coordinates; every ring repeats its first vertex at its end.
        ring_starts: (ring + 1,) first vertex of each ring, then the number of vertices.
        polygon_starts: (polygon + 1,) first ring of each polygon, its exterior, then the number of rings.
        model: how areas are measured.

    Raises:
        InputError: a polygon lies where the CRS has no place on the ground.
    """
    exteriors = polygon_starts[:-1]
    if not len(exteriors):
        return np.zeros(0), np.zeros(0)
    rings = model.areas(xy, ring_starts)
    areas = 2 * rings[exteriors] - np.add.reduceat(rings, exteriors)
    perimeters: Floats = np.add.reduceat(model.lengths(xy, ring_starts), exteriors)
    if not np.isfinite(areas).all():
        raise InputError(
            f"{int((~np.isfinite(areas)).sum())} polygons lie outside the domain of {model.crs.name!r}: "
            "set the pixels beyond its edge to nodata or warp the raster to another CRS."
        )
    return areas, perimeters


@njit(cache=True, nogil=True)
def _turn_rings(xy: Floats, ring_starts: Ints) -> None:
    for ring in range(len(ring_starts) - 1):
        first, last = ring_starts[ring], ring_starts[ring + 1] - 1
        while first < last:
            for axis in range(2):
                xy[first, axis], xy[last, axis] = xy[last, axis], xy[first, axis]
            first += 1
            last -= 1
