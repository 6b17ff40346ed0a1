"""Rings of polygons and the boundary of an area, cut into pieces where they meet; those inside become new rings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.clip_area import Area
from geoseg.polygons.clip_kernels import Found, look_around
from geoseg.polygons.clip_trace import Pieces, Sources
from geoseg.polygons.rings import PolygonBatch

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Walks:
    """Rings and boundary cut into pieces at the meetings."""

    area: Area
    batch: PolygonBatch
    sources: Sources
    polygon_of_ring: Ints
    found: Found

    @cached_property
    def _polygon(self) -> Ints:
        return self.polygon_of_ring[self.found.edges[:, 0]]

    @cached_property
    def _inside(self) -> tuple[Bools, Bools]:
        """(meeting,) whether ring and boundary go on inside."""
        n, xy = len(self._polygon), self.found.xy
        new = (np.diff(xy, axis=0) != 0).any(axis=1) | (np.diff(self._polygon) != 0)
        starts = np.concatenate([[0], np.flatnonzero(new) + 1, [n]]) if n else np.zeros(1, np.int64)
        ring, line = np.empty(n, np.bool_), np.empty(n, np.bool_)
        look_around(self.found.rays, starts, ring, line)
        return ring, line

    def of_rings(self, cut: Bools) -> Pieces:
        """The pieces of the polygons' rings inside the area; rings without meetings are one piece."""
        starts, found = self.batch.ring_starts, self.found
        lone = cut[self.polygon_of_ring]
        lone[found.edges[:, 0]] = False
        rings = np.flatnonzero(lone)
        rings = rings[self.area.holds(on_lattice(self.sources, starts[rings]))]
        return _pieces(
            group=np.append(found.edges[:, 0], rings),
            polygon=np.append(self._polygon, self.polygon_of_ring[rings]),
            first=np.append(starts[found.edges[:, 0]], starts[rings]),
            size=np.append(np.diff(starts)[found.edges[:, 0]], np.diff(starts)[rings]) - 1,
            edge=np.append(found.edges[:, 1], starts[rings]),
            along=np.append(np.where(found.along[:, 0] == -1, 0, found.along[:, 0]), np.zeros(len(rings))),
            xy=np.concatenate([found.xy, on_lattice(self.sources, starts[rings])]),
            inside=np.append(self._inside[0], np.ones(len(rings), np.bool_)),
        )

    def of_area(self, lone: Ints, holder: Ints) -> Pieces:
        """The pieces of the area's boundary inside polygons; rings in a polygon that they do not meet are one piece."""
        starts, found, before = self.area.ring_starts, self.found, len(self.batch.corners)
        ring = np.append(np.searchsorted(starts, found.edges[:, 2], side="right") - 1, lone)
        polygon = np.append(self._polygon, holder)
        return _pieces(
            group=polygon * (len(starts) - 1) + ring,
            polygon=polygon,
            first=before + starts[ring],
            size=np.diff(starts)[ring],
            edge=before + np.append(found.edges[:, 2], starts[lone]),
            along=np.append(found.along[:, 1], np.zeros(len(lone))),
            xy=np.concatenate([found.xy, self.area.corners[starts[lone]]]),
            inside=np.append(self._inside[1], np.ones(len(lone), np.bool_)),
        )


def _pieces(
    *, group: Ints, polygon: Ints, first: Ints, size: Ints, edge: Ints, along: Floats, xy: Floats, inside: Bools
) -> Pieces:
    """The lines from each visit of a place to the next one on the same ring, of those that are inside.

    Args:
        group: (visit,) equal for those on one ring; likewise below.
        polygon: that they are of.
        first: first vertex of the ring.
        size: number of its vertices.
        edge: edge, by its first vertex.
        along: orders visits along an edge, 0 at its first vertex.
        xy: (visit, 2) places.
        inside: whether the line goes on inside.
    """
    at_vertex = along == 0
    # An edge that runs from its larger end counts from -1 up: the vertex is before everything else.
    order = np.lexsort((along, ~at_vertex, edge, group))
    group, edge, along = group[order], edge[order], along[order]
    new = np.append(True, (np.diff(group) != 0) | (np.diff(edge) != 0) | (np.diff(along) != 0))
    order, group, edge = order[new[: len(order)]], group[new[: len(order)]], edge[new[: len(order)]]
    begins = np.append(True, np.diff(group) != 0)[: len(order)]
    heads = np.flatnonzero(begins)
    after = np.arange(1, len(order) + 1)
    ends = np.append(heads[1:], len(order)) - 1
    after[ends[: len(heads)]] = heads
    passed = edge[after] - edge - at_vertex[order][after]
    passed[ends[: len(heads)]] += size[order][ends[: len(heads)]]
    kept = inside[order]
    columns = (polygon[order], first[order], size[order], edge, passed)
    lines = np.column_stack(columns)[kept].astype(np.int64)
    return Pieces(lines, np.column_stack([xy[order], xy[order][after]])[kept])


def joined(a: Pieces, b: Pieces) -> Pieces:
    """The pieces of both."""
    return Pieces(np.concatenate([a.lines, b.lines]), np.concatenate([a.ends, b.ends]))


def on_lattice(sources: Sources, vertices: Ints) -> Ints:
    """(vertex, 2) the polygons' vertices on the lattice."""
    return sources.corners[vertices].astype(np.int64) * sources.scale
