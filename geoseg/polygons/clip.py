"""Polygons are cut along the boundary of an area of interest, batch by batch; neighbors stay matched.

Where an edge that two polygons share meets the area's boundary, both get a vertex. They get the same one, since it
depends on the two edges alone: all decisions are made with exact integers on the lattice of 1/1024 pixel, and the point
is computed from the smaller end of the polygon's edge on. No polygon needs to know its neighbor for that.

    ───●──────●───     a polygon's ring (─), its vertices (●) and an edge of the area (╱): a meeting (○) of both
            ╱          becomes a vertex of the polygons above and below
    ●──────○────●
          ╱

A vertex that lies on an edge of the other, or no farther from it than 2⁻²² pixel, is a meeting, too. Pieces of rings
between meetings are inside or outside as a whole, which the order of the lines around the first meeting tells; so are
pieces of the area's boundary in a polygon. Those inside become the new rings.

Polygons that the boundary does not meet stay as they are or vanish. Time: those and the others cost little more than a
look at a bin of edges for each of their vertices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType, STRtree

from geoseg.polygons.clip_area import Area, repeated
from geoseg.polygons.clip_kernels import Found, Lines, find_holders, find_meetings
from geoseg.polygons.clip_trace import Sources, Traced, trace
from geoseg.polygons.clip_walks import Walks, joined, on_lattice
from geoseg.polygons.rings import PolygonBatch
from geoseg.polygons.smooth import UNIT

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Clip:
    """Cuts batches of polygons along an area's boundary."""

    area: Area

    @cached_property
    def _lines(self) -> Lines:
        return Lines(self.area.edges, *self.area.bins, *self.area.bins_shape, self.area.bin_px * UNIT)

    @cached_property
    def _before(self) -> Ints:
        """(edge,) the one before it on its ring."""
        before = np.arange(-1, len(self.area.corners) - 1)
        before[self.area.ring_starts[:-1]] = self.area.ring_starts[1:] - 1
        return before

    def clipped(self, batch: PolygonBatch, unit: int = 1) -> PolygonBatch:
        """The parts of polygons that lie in the area.

        A polygon may come in several parts, which then share number and row of the component table, or not at all.

        Args:
            batch: as `coverage` gives it.
            unit: parts of a pixel that corners are whole numbers of: 1, or `smooth.UNIT`.

        Returns:
            Polygons in pixels (float64), ordered by number.
        """
        sources = Sources(batch.corners, UNIT // unit, self.area.corners)
        found = self._meetings(batch, sources)
        polygon_of_ring = np.repeat(np.arange(len(batch)), np.diff(batch.polygon_starts))
        lone, holder = self._lone_rings(batch, sources, polygon_of_ring, found)
        cut = np.zeros(len(batch), np.bool_)
        cut[polygon_of_ring[found.edges[:, 0]]] = True
        cut[holder] = True
        whole = np.flatnonzero(~cut)
        exteriors = batch.ring_starts[batch.polygon_starts[whole]]
        whole = whole[self.area.holds(on_lattice(sources, exteriors))]
        if not cut.any():
            return _taken(batch, whole, unit)
        walks = Walks(self.area, batch, sources, polygon_of_ring, found)
        pieces = joined(walks.of_rings(cut), walks.of_area(lone, holder))
        owner = np.repeat(np.where(cut, np.arange(len(batch)), -1)[polygon_of_ring], np.diff(batch.ring_starts))
        owner[batch.ring_starts[1:] - 1] = -1
        vertices = np.flatnonzero(owner >= 0)
        pinches = vertices[repeated(on_lattice(sources, vertices), owner[vertices])]
        traced = trace(pieces, sources, np.append(pinches, self.area.pinches + len(batch.corners)))
        return _merged(_taken(batch, whole, unit), batch, traced)

    def _meetings(self, batch: PolygonBatch, sources: Sources) -> Found:
        """All of them, ordered by polygon and place."""
        room = 1024
        while True:
            found = Found(
                np.empty((room, 3), np.int64), np.empty((room, 2)), np.empty((room, 2)), np.empty((room, 8), np.int64)
            )
            n = find_meetings(batch.corners, sources.scale, batch.ring_starts, self._lines, self._before, found)
            if n <= room:
                break
            room = n
        polygon = np.searchsorted(batch.polygon_starts, found.edges[:n, 0], side="right")
        order = np.lexsort((found.xy[:n, 1], found.xy[:n, 0], polygon))
        return Found(found.edges[order], found.along[order], found.xy[order], found.rays[order])

    def _lone_rings(
        self, batch: PolygonBatch, sources: Sources, polygon_of_ring: Ints, found: Found
    ) -> tuple[Ints, Ints]:
        """Rings of the area that meet no polygon of the batch but lie in one; and in which."""
        starts = self.area.ring_starts
        met = np.zeros(len(starts) - 1, np.bool_)
        met[np.searchsorted(starts, found.edges[:, 2], side="right") - 1] = True
        lone = np.flatnonzero(~met)
        points = self.area.corners[starts[lone]]
        order = np.argsort(points[:, 1], kind="stable")
        lone, points = lone[order], points[order]
        holder = np.full(len(lone), -1, np.int64)
        if len(lone):
            find_holders(batch.corners, sources.scale, batch.ring_starts, polygon_of_ring, points, holder)
        return lone[holder >= 0], holder[holder >= 0]


def _taken(batch: PolygonBatch, which: Ints, unit: int) -> PolygonBatch:
    """Some polygons of a batch, in pixels."""
    rings, polygon_starts = _spread(batch.polygon_starts, which)
    vertices, ring_starts = _spread(batch.ring_starts, rings)
    return replace(
        batch,
        corners=batch.corners[vertices] / unit,
        ring_starts=ring_starts,
        polygon_starts=polygon_starts,
        numbers=batch.numbers[which],
        components=batch.components.take(which),
    )


def _spread(starts: Ints, which: Ints) -> tuple[Ints, Ints]:
    """Members of some groups that lie one after the other, and the groups' starts among them.

    Args:
        starts: (group + 1,) first member of each, then their number.
        which: (group,) those wanted.
    """
    lengths = np.diff(starts)[which]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return np.arange(ends[-1]) + np.repeat(starts[which] - ends[:-1], lengths), ends


def _merged(whole: PolygonBatch, batch: PolygonBatch, traced: Traced) -> PolygonBatch:
    """Untouched polygons and the parts of cut ones, by number."""
    parent = _parents(traced)
    kept = np.flatnonzero(parent >= 0)
    # A part's exterior is its own parent and comes first.
    kept = kept[np.lexsort((kept != parent[kept], parent[kept], traced.polygon[kept]))]
    vertices, ring_starts = _spread(traced.starts, kept)
    exterior = np.flatnonzero(kept == parent[kept])
    numbers = np.append(whole.numbers, batch.numbers[traced.polygon[kept[exterior]]])
    together = replace(
        whole,
        corners=np.concatenate([whole.corners, traced.xy[vertices] / UNIT]),
        ring_starts=np.append(whole.ring_starts[:-1], whole.ring_starts[-1] + ring_starts),
        polygon_starts=np.concatenate(
            [whole.polygon_starts[:-1], whole.polygon_starts[-1] + exterior, [len(whole.ring_starts) - 1 + len(kept)]]
        ),
        numbers=numbers,
        components=batch.components.take(np.searchsorted(batch.numbers, numbers)),
    )
    order = np.argsort(numbers, kind="stable")
    along = np.append(np.zeros(len(whole.corners), np.bool_), traced.along_area[vertices])
    rings, _ = _spread(together.polygon_starts, order)
    return replace(_taken(together, order, 1), along_aoi=along[_spread(together.ring_starts, rings)[0]])


def _parents(traced: Traced) -> Ints:
    """(ring,) the exterior around each hole; exteriors are their own; -1: nothing is left of it."""
    n = len(traced.doubled_area)
    parent = np.full(n, -1, np.int64)
    exteriors = np.flatnonzero(traced.doubled_area > 0)
    parent[exteriors] = exteriors
    holes = np.flatnonzero(traced.doubled_area < 0)
    if not len(holes):
        return parent
    by_loop = np.full(n + len(traced.xy), -1, np.int64)
    by_loop[traced.loop[exteriors]] = exteriors
    parent[holes] = by_loop[traced.loop[holes]]
    holes = holes[parent[holes] < 0]
    of_polygon = np.bincount(traced.polygon[exteriors], minlength=traced.polygon.max() + 1)
    only = np.full(len(of_polygon), -1, np.int64)
    only[traced.polygon[exteriors]] = exteriors
    single = of_polygon[traced.polygon[holes]] == 1
    parent[holes[single]] = only[traced.polygon[holes[single]]]
    holes = holes[~single]
    if len(holes):
        rivals = exteriors[np.isin(traced.polygon[exteriors], traced.polygon[holes])]
        parent[holes] = _around(traced, holes, rivals)
    return parent


def _around(traced: Traced, holes: Ints, exteriors: Ints) -> Ints:
    """(hole,) the smallest exterior of the same polygon that holds it."""
    vertices, ring_starts = _spread(traced.starts, exteriors)
    offsets = (ring_starts, np.arange(len(exteriors) + 1))
    shells = shapely.from_ragged_array(GeometryType.POLYGON, traced.xy[vertices], offsets)
    points = STRtree(np.asarray(shapely.points(traced.xy[traced.starts[holes]])))
    shell, hole = points.query(shells, predicate="contains_properly")
    same = traced.polygon[exteriors[shell]] == traced.polygon[holes[hole]]
    shell, hole = shell[same], hole[same]
    order = np.lexsort((-traced.doubled_area[exteriors[shell]], hole))
    found = np.full(len(holes), -1, np.int64)
    found[hole[order]] = exteriors[shell[order]]
    if (found < 0).any():
        raise AssertionError("a hole of a cut polygon lies in none of its parts.")
    return found
