"""Well-known binary of many polygons at once, without a geometry object for each (OGC 06-103r4, clause 8)."""

from __future__ import annotations

import sys

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]

POLYGON_BYTES = 9
"""Byte order, type and number of rings."""
RING_BYTES = 4
"""Number of vertices."""
VERTEX_BYTES = 16
_POLYGON = 3


def polygon_sizes(ring_starts: Ints, polygon_starts: Ints) -> Ints:
    """(polygon,) bytes of each polygon.

    Args:
        ring_starts: (ring + 1,) first vertex of each ring, then the number of vertices.
        polygon_starts: (polygon + 1,) first ring of each polygon, then the number of rings.
    """
    vertices = np.diff(ring_starts[polygon_starts])
    sizes: Ints = POLYGON_BYTES + RING_BYTES * np.diff(polygon_starts) + VERTEX_BYTES * vertices
    return sizes


def write_wkb(xy: NDArray[np.float64], ring_starts: Ints, polygon_starts: Ints) -> tuple[Bytes, Ints]:
    """Polygons as WKB, one after the other, in this machine's byte order.

    Args:
        xy: (vertex, 2) coordinates; every ring repeats its first vertex at its end.
        ring_starts: (ring + 1,) first vertex of each ring, then the number of vertices.
        polygon_starts: (polygon + 1,) first ring of each polygon, its exterior, then the number of rings.

    Returns:
        (byte,) and (polygon + 1,) first byte of each polygon, then the number of bytes.
    """
    offsets = np.concatenate([[0], np.cumsum(polygon_sizes(ring_starts, polygon_starts))])
    out = np.empty(offsets[-1], np.uint8)
    head = np.array([sys.byteorder == "little", 0, 0, 0, 0], np.uint8)
    head[1:] = np.array([_POLYGON], np.uint32).view(np.uint8)
    n_rings = np.diff(polygon_starts).astype(np.uint32).view(np.uint8)
    n_vertices = np.diff(ring_starts).astype(np.uint32).view(np.uint8)
    coordinates = np.ascontiguousarray(xy, np.float64).reshape(-1).view(np.uint8)
    _fill(out, offsets, head, n_rings, n_vertices, coordinates, ring_starts, polygon_starts)
    return out, offsets


def bounds_of(data: Bytes, offsets: NDArray[np.int32]) -> NDArray[np.float64]:
    """(geometry, 4) left, bottom, right, top of polygons and multipolygons.

    Args:
        data: (byte,) WKB in this machine's byte order and two dimensions.
        offsets: (geometry + 1,) first byte of each geometry, then the end of the last.
    """
    bounds = np.empty((len(offsets) - 1, 4))
    _bound(data, offsets.astype(np.int64), bounds)
    return bounds


@njit(cache=True, nogil=True)
def _bound(data: Bytes, offsets: Ints, bounds: NDArray[np.float64]) -> None:
    for geometry in range(len(offsets) - 1):
        at, end = offsets[geometry], offsets[geometry + 1]
        left, bottom, right, top = np.inf, np.inf, -np.inf, -np.inf
        while at < end:
            kind, n_rings = data[at + 1 : at + POLYGON_BYTES].view(np.uint32)
            at += POLYGON_BYTES
            if kind != _POLYGON:  # the members of a multipolygon follow its head
                continue
            for _ in range(n_rings):
                n_vertices = np.int64(data[at : at + RING_BYTES].view(np.uint32)[0])
                at += RING_BYTES
                xy = data[at : at + VERTEX_BYTES * n_vertices].view(np.float64)
                for vertex in range(n_vertices):
                    x, y = xy[2 * vertex], xy[2 * vertex + 1]
                    left, right = min(left, x), max(right, x)
                    bottom, top = min(bottom, y), max(top, y)
                at += VERTEX_BYTES * n_vertices
        bounds[geometry] = left, bottom, right, top


@njit(cache=True, nogil=True)
def _fill(
    out: Bytes,
    offsets: Ints,
    head: Bytes,
    n_rings: Bytes,
    n_vertices: Bytes,
    coordinates: Bytes,
    ring_starts: Ints,
    polygon_starts: Ints,
) -> None:
    for polygon in range(len(polygon_starts) - 1):
        at = offsets[polygon]
        out[at : at + 5] = head
        out[at + 5 : at + 9] = n_rings[4 * polygon : 4 * polygon + 4]
        at += POLYGON_BYTES
        for ring in range(polygon_starts[polygon], polygon_starts[polygon + 1]):
            out[at : at + 4] = n_vertices[4 * ring : 4 * ring + 4]
            at += RING_BYTES
            first, end = VERTEX_BYTES * ring_starts[ring], VERTEX_BYTES * ring_starts[ring + 1]
            out[at : at + end - first] = coordinates[first:end]
            at += end - first
