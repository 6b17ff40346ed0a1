"""The compiled loops that find where polygons and an area's boundary meet; `clip` says how they work."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NEAR = 2.0**-12
"""Vertices no farther than this from a line, in units of the lattice, lie on it."""


class Lines(NamedTuple):
    """The edges of an area in bins (a tuple, as the compiler knows no other record)."""

    edges: Ints
    """(edge, 4) x, y of both ends."""
    starts: Ints
    """(bin + 1,) first member of each bin."""
    members: Ints
    """(member,) edges."""
    n_rows: int
    n_cols: int
    size: int
    """Side of a bin."""


class Found(NamedTuple):
    """Where an edge of a polygon and one of the area meet; room for as many as the arrays are long."""

    edges: Ints
    """(meeting, 3) ring, edge of the polygon, edge of the area; an edge goes by the number of its first vertex."""
    along: Floats
    """(meeting, 2) orders meetings along the polygon's edge; part of the area's edge before it, 0 at its first vertex.
    At the polygon's vertex the first is 0, or -1 on an edge that runs from its larger end."""
    xy: Floats
    """(meeting, 2) the point."""
    rays: Ints
    """(meeting, 8) directions x, y in which the polygon's ring arrives from and goes on to, then the area's."""


@njit(cache=True, nogil=True)
def turn(ux: int, uy: int, vx: int, vy: int) -> int:
    """Twice the area between two directions, positive where the second is to the left of the first on the screen."""
    return uy * vx - ux * vy


@njit(cache=True, nogil=True)
def side(ax: int, ay: int, bx: int, by: int, x: int, y: int) -> int:
    """On which side of the line from a to b a point lies: 1 left, -1 right, 0 on it; from b to a the negative."""
    area = turn(bx - ax, by - ay, x - ax, y - ay)
    if abs(area) <= NEAR * np.hypot(float(bx - ax), float(by - ay)):
        return 0
    return 1 if area > 0 else -1


@njit(cache=True, nogil=True)
def _part(ax: int, ay: int, bx: int, by: int, x: int, y: int) -> float:
    """How far along the edge from a to b a point on it lies: 0 … 1, both only at the very ends; else -1."""
    dx, dy = bx - ax, by - ay
    dot, length2 = (x - ax) * dx + (y - ay) * dy, dx * dx + dy * dy
    return dot / length2 if 0 <= dot <= length2 else -1.0


@njit(cache=True, nogil=True)
def crossing(ax: int, ay: int, bx: int, by: int, px: int, py: int, qx: int, qy: int) -> tuple[float, float, float]:
    """Where the edge from a, its smaller end, to b crosses the area's edge from p to q: x, y, part before it."""
    before, after = turn(qx - px, qy - py, ax - px, ay - py), turn(qx - px, qy - py, bx - px, by - py)
    part = before / (before - after)
    x, y = ax + part * (bx - ax), ay + part * (by - ay)
    return float(px) if px == qx else x, float(py) if py == qy else y, part


@njit(cache=True, nogil=True)
def find_meetings(
    corners: NDArray[Any], scale: int, ring_starts: Ints, lines: Lines, area_before: Ints, found: Found
) -> int:
    """Find all meetings; how many there are, which may be more than there is room for.

    Args:
        corners: (vertex, 2) of polygons; rings repeat their first vertex.
        scale: units of the lattice that one step of the corners has.
        ring_starts: (ring + 1,) first vertex of each ring, then the number of vertices.
        lines: of the area.
        area_before: (edge,) the area's edge before each on its ring.
        found: gets them.
    """
    n, seen = 0, np.full(len(lines.edges), -1, np.int64)
    for ring in range(len(ring_starts) - 1):
        first, last = ring_starts[ring], ring_starts[ring + 1] - 1
        for e in range(first, last):
            ax, ay = int(corners[e, 0]) * scale, int(corners[e, 1]) * scale
            bx, by = int(corners[e + 1, 0]) * scale, int(corners[e + 1, 1]) * scale
            before = e - 1 if e > first else last - 1
            ray = (int(corners[before, 0]) * scale - ax, int(corners[before, 1]) * scale - ay)
            top, bottom = _bins_between(ay, by, lines.size, lines.n_rows)
            left, right = _bins_between(ax, bx, lines.size, lines.n_cols)
            for row in range(top, bottom):
                for place in range(row * lines.n_cols + left, row * lines.n_cols + right):
                    for member in range(lines.starts[place], lines.starts[place + 1]):
                        g = lines.members[member]
                        if seen[g] != e:
                            seen[g] = e
                            n = _meet((ax, ay, bx, by), ray, (ring, e, g), lines.edges, area_before, found, n)
    return n


@njit(cache=True, nogil=True)
def _bins_between(a: int, b: int, size: int, n: int) -> tuple[int, int]:
    """First and end of the bins that hold a … b and one unit around."""
    return max(min(a, b) - 1, 0) // size, min((max(a, b) + 1) // size + 1, n)


@njit(cache=True, nogil=True)
def _meet(
    edge: tuple[int, int, int, int],
    ray: tuple[int, int],
    names: tuple[int, int, int],
    area_edges: Ints,
    area_before: Ints,
    found: Found,
    n: int,
) -> int:
    """Add the meetings of one edge, its end left out, with one of the area, its end left out; their number then.

    Args:
        edge: x, y of both ends.
        ray: from its first vertex back to the one before it on the ring.
        names: ring, edge, edge of the area.
        area_edges: as `Lines` has them.
        area_before: (edge,) the area's edge before each.
        found: gets them.
        n: meetings that are in there already.
    """
    ax, ay, bx, by = edge
    g = names[2]
    px, py, qx, qy = area_edges[g, 0], area_edges[g, 1], area_edges[g, 2], area_edges[g, 3]
    if min(px, qx) > max(ax, bx) + 1 or max(px, qx) < min(ax, bx) - 1:
        return n
    if min(py, qy) > max(ay, by) + 1 or max(py, qy) < min(ay, by) - 1:
        return n
    prior = area_before[g]
    out, area_out = (bx - ax, by - ay), (qx - px, qy - py)
    area_ray = (area_edges[prior, 0] - px, area_edges[prior, 1] - py)
    lower = (ax, ay) < (bx, by)
    begin, sign = (0.0, 1.0) if lower else (-1.0, -1.0)
    lo_x, lo_y, hi_x, hi_y = edge if lower else (bx, by, ax, ay)
    if ax == px and ay == py:
        return _put(found, n, names, (begin, 0.0, float(ax), float(ay)), ray, out, area_ray, area_out)
    of_a, of_b = side(px, py, qx, qy, ax, ay), side(px, py, qx, qy, bx, by)
    of_p, of_q = side(ax, ay, bx, by, px, py), side(ax, ay, bx, by, qx, qy)
    if of_a == 0:
        part = _part(px, py, qx, qy, ax, ay)
        if 0 < part < 1:
            back = (-area_out[0], -area_out[1])
            n = _put(found, n, names, (begin, part, float(ax), float(ay)), ray, out, back, area_out)
    back = (-out[0], -out[1])
    if of_p == 0:
        part = _part(lo_x, lo_y, hi_x, hi_y, px, py)
        if 0 < part < 1:
            n = _put(found, n, names, (sign * part, 0.0, float(px), float(py)), back, out, area_ray, area_out)
    if of_a * of_b < 0 and of_p * of_q < 0:
        x, y, part = crossing(lo_x, lo_y, hi_x, hi_y, px, py, qx, qy)
        before, after = turn(out[0], out[1], px - ax, py - ay), turn(out[0], out[1], qx - ax, qy - ay)
        at = (sign * part, before / (before - after), x, y)
        n = _put(found, n, names, at, back, out, (-area_out[0], -area_out[1]), area_out)
    return n


@njit(cache=True, nogil=True)
def _put(
    found: Found,
    n: int,
    names: tuple[int, int, int],
    at: tuple[float, float, float, float],
    ray: tuple[int, int],
    out: tuple[int, int],
    area_ray: tuple[int, int],
    area_out: tuple[int, int],
) -> int:
    if n < len(found.edges):
        for i in range(3):
            found.edges[n, i] = names[i]
        for i in range(2):
            found.along[n, i], found.xy[n, i] = at[i], at[2 + i]
            found.rays[n, i], found.rays[n, 2 + i] = ray[i], out[i]
            found.rays[n, 4 + i], found.rays[n, 6 + i] = area_ray[i], area_out[i]
    return n + 1


@njit(cache=True, nogil=True)
def _sweep(dx: int, dy: int, x: int, y: int) -> int:
    """Where a clockwise sweep from the direction d meets another: 0 at once, 1 or 3 to the right or left, 2 behind."""
    area = turn(dx, dy, x, y)
    if area != 0:
        return 1 if area < 0 else 3
    return 0 if dx * x + dy * y > 0 else 2


@njit(cache=True, nogil=True)
def sooner(d: Ints, r: Ints, s: Ints, wait: bool) -> bool:
    """Whether a clockwise sweep from direction d meets r before s; what is right on d comes last if it is to wait."""
    of_r, of_s = _sweep(d[0], d[1], r[0], r[1]), _sweep(d[0], d[1], s[0], s[1])
    if wait:
        of_r, of_s = of_r or 4, of_s or 4
    if of_r != of_s:
        return bool(of_r < of_s)
    return bool(turn(r[0], r[1], s[0], s[1]) < 0)


@njit(cache=True, nogil=True)
def look_around(rays: Ints, starts: Ints, ring_inside: Bools, line_inside: Bools) -> None:
    """At each place say which lines that go on from there run inside, by the order of all lines around it.

    A line's inside is on its left. So what comes next clockwise from a direction tells: a line that goes out has the
    direction inside, one that arrives outside.

    Args:
        rays: (meeting, 8) as `Found` has them, those at one place of one polygon together.
        starts: (place + 1,) first meeting of each, then their number.
        ring_inside: (meeting,) gets whether the polygon's ring goes on inside the area, or with its boundary and both
            on the same side.
        line_inside: (meeting,) gets whether the area's boundary goes on inside the polygon, not along its rings.
    """
    for place in range(len(starts) - 1):
        for i in range(starts[place], starts[place + 1]):
            for turned in range(2):
                d, others = rays[i, 2 + 4 * turned :][:2], rays[:, 4 - 4 * turned :]
                best, goes_out = others[i, :2], False
                for j in range(starts[place], starts[place + 1]):
                    for way in range(2):
                        ray = others[j, 2 * way :][:2]
                        if sooner(d, ray, best, False):
                            best, goes_out = ray, way == 1
                if turned:
                    line_inside[i] = goes_out and _sweep(d[0], d[1], best[0], best[1]) != 0
                else:
                    ring_inside[i] = goes_out


@njit(cache=True, nogil=True)
def find_holders(corners: NDArray[Any], scale: int, ring_starts: Ints, owner: Ints, points: Ints, holder: Ints) -> None:
    """Find the polygons that hold points, none of which lies on a ring: that of the nearest edge to the west.

    Args:
        corners: (vertex, 2) of polygons; rings repeat their first vertex.
        scale: units of the lattice that one step of the corners has.
        ring_starts: (ring + 1,) first vertex of each ring, then the number of vertices.
        owner: (ring,) polygon.
        points: (point, 2) x, y on the lattice, ascending in y.
        holder: (point,) -1: gets the polygon.
    """
    height = points[:, 1].copy()
    nearest, lean = np.full(len(points), -np.inf), np.zeros(len(points))
    for ring in range(len(owner)):
        for e in range(ring_starts[ring], ring_starts[ring + 1] - 1):
            ax, ay = int(corners[e, 0]) * scale, int(corners[e, 1]) * scale
            bx, by = int(corners[e + 1, 0]) * scale, int(corners[e + 1, 1]) * scale
            if ay == by:
                continue
            slope = (bx - ax) / (by - ay)
            # A point at a vertex's height counts as a hair below: of the edges down from there the eastern is nearer.
            first = np.searchsorted(height, min(ay, by))
            for i in range(first, first + np.searchsorted(height[first:], max(ay, by))):
                x = ax + (height[i] - ay) * slope if ay < by else bx + (height[i] - by) * slope
                nearer = x > nearest[i] or (x == nearest[i] and slope >= lean[i])
                # An edge's polygon is on its left: of two that share it the one that runs down has it in the east.
                same = x == nearest[i] and slope == lean[i]
                if x < points[i, 0] and nearer and (by > ay or not same):
                    nearest[i], lean[i] = x, slope
                    holder[i] = owner[ring] if by > ay else -1
