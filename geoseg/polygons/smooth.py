"""Smoothing of arcs: the staircase goes, the coverage stays valid and no line moves by more than half a pixel.

Every inner vertex v between p and n is cut off: the line runs straight from a point p' on the edge to p to a point n'
on the edge to n. On an edge between a left and a right turn both cuts meet in the middle, so the steps of a staircase
become its straight slope and what one cut takes from a component the next gives back; on an edge between two turns to
the same side each cut takes a quarter (the corner cutting of Chaikin 1974), so that bumps and one-pixel components
lose little. Both legs shrink until v is no farther than half a pixel from the cut.

    ●───p'──● v            ●───p'
            │      ─►           ╲
            n'                   n'

Why no two lines can cross or touch then: a cut is made only if its closed triangle p' v n' holds no original vertex but
v, be it of another line or a dropped one of its own. The lines do not cross before, so no line can pass through a
triangle without a vertex: each triangle is free of all other lines, hence of the two old sides of every other triangle,
and two triangles whose third sides alone might meet are disjoint. So all cuts can be made at once, on simplified
lines as well, since their vertices are original ones. p' and n' must lie exactly on the old edges for that: they
divide them in 1/1024, so smoothed arcs are whole numbers of 1/1024 pixel.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.vertex_bits import Corners, VertexBits, Words, crowded

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

UNIT = 1024
"""Smoothed corners are in 1/UNIT pixel."""
FARTHEST = 0.5
"""Pixels that a line may move."""
_LARGEST = 2**30 // UNIT


def smooth_arcs(arcs: Arcs, bits: VertexBits, *, outer: bool = False) -> Arcs:
    """Cut the corners of arcs.

    Each arc's result depends on itself and on the original vertices in its bounding box, never on the other arcs.

    Args:
        arcs: complete arcs, as traced or simplified.
        bits: all original vertices in the rows of the arcs, those of incomplete arcs included; only read.
        outer: whether arcs that border nodata, skipped classes or the raster's frame are smoothed, too.

    Returns:
        The same arcs in the same order and direction, corners in 1/UNIT pixel, without vertices on straight lines.
        A ring starts at or next to its first vertex.

    Raises:
        InputError: the raster has more than 2²⁰ rows or columns.
    """
    if arcs.corners.max(initial=0) > _LARGEST:
        raise InputError(f"a raster of {arcs.corners.max()} rows or columns is too large to smooth: split it.")
    move = np.full(len(arcs), outer) | ((arcs.left != NOTHING) & (arcs.right != NOTHING))
    corners = np.empty((2 * len(arcs.corners), 2), np.int32)
    starts = np.zeros(len(arcs) + 1, np.int64)
    n = _smooth_all(arcs.corners, arcs.starts, arcs.ring, move, bits.words, corners, starts)
    return Arcs(corners[:n].copy(), starts, arcs.left, arcs.right, arcs.ring)


@njit(cache=True, nogil=True)
def _smooth_all(
    corners: Corners, starts: Ints, ring: Flags, move: Flags, words: Words, out: Corners, out_starts: Ints
) -> int:
    """Fill `out` (vertex, 2) in 1/UNIT pixel and its offsets; the number of vertices."""
    n = 0
    for arc in range(len(ring)):
        line = corners[starts[arc] : starts[arc + 1]]
        if not move[arc] or len(line) == 2:
            out[n : n + len(line)] = UNIT * line
            n += len(line)
        else:
            n += _smooth(line, ring[arc], words, out[n:])
        out_starts[arc + 1] = n
    return n


@njit(cache=True, nogil=True)
def _smooth(line: Corners, ring: bool, words: Words, out: Corners) -> int:
    """Write the smoothed line; its number of vertices."""
    n = len(line) - 1 if ring else len(line)
    size = 0
    for i in range(n):
        x, y = UNIT * int(line[i, 0]), UNIT * int(line[i, 1])
        back, ahead = (0, 0) if not ring and i in (0, n - 1) else _legs(line, ring, i)
        p, q = (i or n) - 1, (i + 1 if i < n - 1 else 0)
        a = (x + back * (int(line[p, 0]) - int(line[i, 0])), y + back * (int(line[p, 1]) - int(line[i, 1])))
        c = (x + ahead * (int(line[q, 0]) - int(line[i, 0])), y + ahead * (int(line[q, 1]) - int(line[i, 1])))
        if back and ahead and not crowded(words, a, (x, y), c, UNIT, 1):
            size = _append(out, size, a[0], a[1])
            size = _append(out, size, c[0], c[1])
        else:
            size = _append(out, size, x, y)
    return _close(out, size) if ring else size


@njit(cache=True, nogil=True)
def _turn(line: Corners, ring: bool, i: int) -> int:
    """Doubled area of the turn at vertex i, positive to the right as seen on the screen; 0 at the ends of open arcs."""
    n = len(line) - 1 if ring else len(line)
    if not ring and i in (0, n - 1):
        return 0
    p, q = (i or n) - 1, (i + 1 if i < n - 1 else 0)
    ux, uy = np.int64(line[i, 0]) - line[p, 0], np.int64(line[i, 1]) - line[p, 1]
    vx, vy = np.int64(line[q, 0]) - line[i, 0], np.int64(line[q, 1]) - line[i, 1]
    return int(ux * vy - uy * vx)


@njit(cache=True, nogil=True)
def _legs(line: Corners, ring: bool, i: int) -> tuple[int, int]:
    """How much of the edges back and ahead the cut at vertex i takes, in 1/UNIT of their lengths."""
    n = len(line) - 1 if ring else len(line)
    p, q = (i or n) - 1, (i + 1 if i < n - 1 else 0)
    turn = _turn(line, ring, i)
    if turn == 0:
        return 0, 0
    side = 1 if turn > 0 else -1
    back = UNIT // 4 if side * _turn(line, ring, p) > 0 else UNIT // 2
    ahead = UNIT // 4 if side * _turn(line, ring, q) > 0 else UNIT // 2
    ux, uy = (line[p, 0] - line[i, 0]) * back / UNIT, (line[p, 1] - line[i, 1]) * back / UNIT
    vx, vy = (line[q, 0] - line[i, 0]) * ahead / UNIT, (line[q, 1] - line[i, 1]) * ahead / UNIT
    wx, wy = vx - ux, vy - uy
    along = min(max(-(ux * wx + uy * wy) / (wx * wx + wy * wy), 0.0), 1.0)
    moved = np.sqrt((ux + along * wx) ** 2 + (uy + along * wy) ** 2)
    if moved > FARTHEST:
        back, ahead = int(back * FARTHEST / moved), int(ahead * FARTHEST / moved)
    return back, ahead


@njit(cache=True, nogil=True)
def _append(out: Corners, size: int, x: int, y: int) -> int:
    """Add a point; the one before it goes if it is the same or lies straight on the way. The number of points."""
    if size and out[size - 1, 0] == x and out[size - 1, 1] == y:
        return size
    if size > 1 and _straight(out, size - 2, size - 1, x, y):
        size -= 1
    out[size, 0], out[size, 1] = x, y
    return size + 1


@njit(cache=True, nogil=True)
def _straight(out: Corners, i: int, j: int, x: int, y: int) -> bool:
    ux, uy = np.int64(out[j, 0]) - out[i, 0], np.int64(out[j, 1]) - out[i, 1]
    return bool(ux * (y - out[j, 1]) == uy * (x - out[j, 0]))


@njit(cache=True, nogil=True)
def _close(out: Corners, size: int) -> int:
    """End a ring at its first point, which goes if it lies straight on the way. The number of points."""
    size = _append(out, size, out[0, 0], out[0, 1])
    if _straight(out, size - 2, 0, out[1, 0], out[1, 1]):
        out[: size - 1] = out[1:size].copy()
        out[size - 2] = out[0]
        return size - 1
    return size
