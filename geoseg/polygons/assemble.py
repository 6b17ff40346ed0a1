"""Traced outlines in pixels become polygons on the ground, with their attributes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from affine import Affine
from numba import njit
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.errors import InputError
from geoseg.grid import Grid
from geoseg.ground import AreaModel, corner_xy
from geoseg.polygons.carry import Carrier
from geoseg.polygons.clip import Clip
from geoseg.polygons.cut import Parts
from geoseg.polygons.ground_lattice import GroundLattice, ground_lattice
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
    instances: NDArray[np.int32] | None = None
    """(component,) number of the object that it is, 0 for what is none; None: there are no things."""

    @cached_property
    def lattice(self) -> GroundLattice | None:
        """A fast way to measure on the ground; None: areas are planar, or the raster has none."""
        return ground_lattice(self.grid, self.model)


def assemble(
    batch: PolygonBatch,
    facts: MapFacts,
    *,
    smoothed: bool = False,
    parts: Parts | None = None,
    way: Carrier | None = None,
    clip: Clip | None = None,
) -> Polygons:
    """Cut, georeference, orient and measure the polygons of a batch.

    Args:
        batch: polygons in pixels of the raster's grid.
        facts: of the raster.
        smoothed: corners are in 1/UNIT pixel.
        parts: the cut components, where the batch holds their parts: these get poly_id, n_pixels and score of the
            whole, area and perimeter of their own.
        way: into the CRS of the result; None: it is the raster's. Areas are measured before.
        clip: cuts along an area of interest; of one polygon may come several or none, which share poly_id, n_pixels
            and score as well. None: all of them are wanted as they are.

    Raises:
        InputError: a polygon lies where the CRS has no place on the ground.
    """
    if clip is not None:
        batch, smoothed = clip.clipped(batch, UNIT if smoothed else 1), False
    transform = facts.grid.transform @ Affine.scale(1 / UNIT) if smoothed else facts.grid.transform
    xy = corner_xy(transform, *batch.corners.T)
    if facts.lattice is None:
        area_m2, perim_m = measure(xy, batch.ring_starts, batch.polygon_starts, facts.model)
    else:
        rings = facts.lattice.measure(batch.corners, 1 / UNIT if smoothed else 1.0, batch.ring_starts)
        area_m2, perim_m = _of_polygons(*rings, batch.polygon_starts)
    ring_starts, crs = batch.ring_starts, facts.grid.crs
    if way is not None:
        carried = way.carried(batch, UNIT if smoothed else 1)
        xy, ring_starts, crs = carried.corners, carried.ring_starts, way.target
    # As seen on the screen exteriors are counter-clockwise; this map is its mirror.
    if transform.determinant > 0:
        _turn_rings(xy, ring_starts)
    table, own_pixels, numbers = batch.components, None, batch.numbers
    if parts is not None:
        numbers = parts.owner[batch.numbers]
        table, own_pixels = parts.described(batch).components, batch.components.n_pixels
    if clip is not None:
        # So that sums count what was cut once.
        own_pixels = np.where(np.diff(batch.numbers, prepend=-1) == 0, 0, batch.components.n_pixels)
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
        own_pixels=own_pixels,
        inst_id=None if facts.instances is None else facts.instances[numbers].astype(np.int64),
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
    areas, perimeters = _of_polygons(model.areas(xy, ring_starts), model.lengths(xy, ring_starts), polygon_starts)
    lost = ~(np.isfinite(areas) & np.isfinite(perimeters))
    if lost.any():
        raise InputError(
            f"{int(lost.sum())} polygons lie outside the domain of {model.crs.name!r}: "
            "set the pixels beyond its edge to nodata or warp the raster to another CRS."
        )
    return areas, perimeters


def _of_polygons(areas: Floats, lengths: Floats, polygon_starts: Ints) -> tuple[Floats, Floats]:
    """(polygon,) the exterior's area less those of the holes, and the summed lengths of all rings."""
    exteriors = polygon_starts[:-1]
    if not len(exteriors):
        return np.zeros(0), np.zeros(0)
    own: Floats = 2 * areas[exteriors] - np.add.reduceat(areas, exteriors)
    return own, np.add.reduceat(lengths, exteriors)


@njit(cache=True, nogil=True)
def _turn_rings(xy: Floats, ring_starts: Ints) -> None:
    for ring in range(len(ring_starts) - 1):
        first, last = ring_starts[ring], ring_starts[ring + 1] - 1
        while first < last:
            for axis in range(2):
                xy[first, axis], xy[last, axis] = xy[last, axis], xy[first, axis]
            first += 1
            last -= 1
