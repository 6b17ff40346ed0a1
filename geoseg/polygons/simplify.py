"""Simplification of arcs that keeps the coverage valid at any tolerance.

Visvalingam & Whyatt (1993): the vertex with the smallest effective area, that of the triangle with its two neighbors,
goes first. One condition is added: the closed triangle must hold no original vertex of another arc and no remaining
vertex of its own.

Why no two lines can cross or touch then, although each arc is looked at alone: simplify the arcs one after the other.
A line that cuts the new edge would have to end inside the triangle or to leave it through one of the two old edges;
the first is tested, the second would have been a crossing before. Other arcs that were simplified earlier have fewer
vertices than were tested, never others. So each step leads from one valid coverage to the next, and no step asks what
the others did: the order of arcs, and the bands that they were traced in, do not show in the result.

What no triangle test sees is two lines that become the same line. Only a *lens* can collapse so: a component whose
whole boundary are two arcs. Those of its arcs that reach its last row keep one inner vertex; when such an arc is
complete, the whole lens is. Loops keep two inner vertices and free rings three in all, which encloses an area.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.vertex_bits import Corners, VertexBits, Words, clear_vertex, crowded, set_vertices

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int32] | NDArray[np.int64]

_KEY_BITS = 63
_ALL_STAY = np.int64(2**62)


class Lenses:
    """Counts the arcs around each component, to tell those that are bounded by two arcs only. 1 byte a component."""

    last_row: Rows
    """(component,) last pixel row."""
    n_arcs: NDArray[np.uint8]
    """(component,) complete arcs around it so far, 3 for three and more."""

    def __init__(self, last_row: Rows) -> None:
        """No arc yet.

        Args:
            last_row: (component,) last pixel row of each component that arcs will name; not copied.
        """
        self.last_row = last_row
        self.n_arcs = np.zeros(len(last_row), np.uint8)

    def add(self, arcs: Arcs) -> None:
        """Count complete arcs, each once; before any of them is simplified."""
        _count_sides(arcs.left, self.n_arcs)
        _count_sides(arcs.right, self.n_arcs)


def simplify_arcs(arcs: Arcs, bits: VertexBits, lenses: Lenses, *, tolerance_px2: float, outer: bool = False) -> Arcs:
    """Drop vertices whose effective area is below a tolerance.

    Each arc's result depends on itself, on the original vertices in its bounding box and on whether it closes a lens;
    never on the other arcs of this call. Ends of arcs stay. A second pass can drop more (what was blocked by a vertex
    of the own arc may be free then, and areas have grown), so the result is not a fixed point.

    Args:
        arcs: complete arcs as traced.
        bits: all original vertices in the rows of the arcs, those of incomplete arcs included. Unchanged afterwards.
        lenses: has counted these arcs and all that were completed before.
        tolerance_px2: effective areas below it go, in pixels: M² / (ground area of a pixel) for a tolerance of M
            meters, as `shapely.coverage_simplify` means it. 0 changes nothing.
        outer: whether arcs that border nodata, skipped classes or the raster's frame are simplified, too.

    Returns:
        The same arcs in the same order and direction. A ring starts at the first remaining vertex of its canonical
        order, which need not be its smallest, and its first step may go anywhere.

    Raises:
        ValueError: the tolerance is negative or not a number, or an arc has too many vertices.
    """
    if not tolerance_px2 >= 0:
        raise ValueError(f"tolerance of {tolerance_px2} px²: give an area ≥ 0.")
    if not len(arcs):
        return arcs
    longest = int(np.diff(arcs.starts).max())
    shift = longest.bit_length()
    largest_key = 2 ** (_KEY_BITS - shift) - 1
    if largest_key < 2 * int(arcs.corners.max()) ** 2:
        raise ValueError(f"an arc of {longest} vertices cannot be simplified in 64 bits: split it.")
    doubled = min(2.0 * tolerance_px2, float(2**40))  # the largest raster has triangles of 2³⁷
    least = _least(arcs, lenses.last_row, lenses.n_arcs, outer)
    keep = np.ones(len(arcs.corners), np.bool_)
    _thin_all(arcs.corners, arcs.starts, arcs.ring, least, math.ceil(doubled), shift, bits.words, keep)
    return _kept(arcs, keep)


def _least(arcs: Arcs, last_row: Rows, n_arcs: NDArray[np.uint8], outer: bool) -> Ints:
    """(arc,) how many of its vertices, the ends of open arcs not counted, must stay."""
    ends, starts = arcs.corners[arcs.starts[1:] - 1], arcs.corners[arcs.starts[:-1]]
    lowest = np.maximum.reduceat(arcs.corners[:, 1], arcs.starts[:-1])
    least = np.where((starts == ends).all(axis=1), 2, 0)
    least[arcs.ring] = 3
    for side in (arcs.left, arcs.right):
        closes_lens = (n_arcs[side] == 2) & (last_row[side] + 1 == lowest)
        # Nothing is counted about NOTHING, so it is taken for a lens.
        least = np.where((side == NOTHING) | closes_lens, np.maximum(least, 1), least)
    if not outer:
        least[(arcs.left == NOTHING) | (arcs.right == NOTHING)] = _ALL_STAY
    return least


def _kept(arcs: Arcs, keep: Flags) -> Arcs:
    """The arcs without the dropped vertices; rings are closed again."""
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep)])
    starts = before[arcs.starts]
    corners = arcs.corners[keep]
    corners[starts[1:][arcs.ring] - 1] = corners[starts[:-1][arcs.ring]]
    return Arcs(corners, starts, arcs.left, arcs.right, arcs.ring)


@njit(cache=True, nogil=True)
def _count_sides(side: Ints, n_arcs: NDArray[np.uint8]) -> None:
    for component in side:
        if component != NOTHING and n_arcs[component] < 3:
            n_arcs[component] += 1


@njit(cache=True, nogil=True)
def _thin_all(
    corners: Corners, starts: Ints, ring: Flags, least: Ints, below: int, shift: int, words: Words, keep: Flags
) -> None:
    """Unset `keep` (vertex,) of all vertices that go. `below` is the tolerance in doubled pixel areas."""
    room = 0
    for arc in range(len(ring)):
        room = max(room, starts[arc + 1] - starts[arc])
    back, ahead, heap = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(2 * room, np.int64)
    for arc in range(len(ring)):
        line = slice(starts[arc], starts[arc + 1])
        n_free = starts[arc + 1] - starts[arc] - (1 if ring[arc] else 2)
        if n_free > least[arc]:
            spare = n_free - least[arc]
            if _thin(corners[line], ring[arc], spare, below, shift, words, back, ahead, heap, keep[line]):
                set_vertices(words, corners[line])


@njit(cache=True, nogil=True)
def _thin(
    line: Corners,
    ring: bool,
    spare: int,
    below: int,
    shift: int,
    words: Words,
    back: Ints,
    ahead: Ints,
    heap: Ints,
    keep: Flags,
) -> bool:
    """Thin one line until at most `spare` vertices are gone; clears their bits; True if any went."""
    n = len(line) - 1 if ring else len(line)
    for i in range(n):
        back[i], ahead[i] = i - 1, i + 1
    if ring:
        back[0], ahead[n - 1] = n - 1, 0
    first, last = (0, n) if ring else (1, n - 1)
    size, n_gone, mask = 0, 0, (1 << shift) - 1
    for i in range(first, last):
        size = _offer(line, back[i], i, ahead[i], below, shift, heap, size)
    while size and n_gone < spare:
        key = heap[0]
        size = _drop_top(heap, size)
        i = key & mask
        p, q = back[i], ahead[i]
        if not keep[i] or _doubled_area(line, p, i, q) != key >> shift:
            continue  # the entry is older than a neighbor's removal
        if crowded(words, (line[p, 0], line[p, 1]), (line[i, 0], line[i, 1]), (line[q, 0], line[q, 1]), 1, 3):
            continue  # until a neighbor goes
        keep[i] = False
        clear_vertex(words, line[i, 0], line[i, 1])
        n_gone += 1
        ahead[p], back[q] = q, p
        if p >= first:
            size = _offer(line, back[p], p, q, below, shift, heap, size)
        if q < last:
            size = _offer(line, p, q, ahead[q], below, shift, heap, size)
    return n_gone > 0


@njit(cache=True, nogil=True)
def _doubled_area(line: Corners, p: int, i: int, q: int) -> int:
    ux, uy = np.int64(line[p, 0]) - line[i, 0], np.int64(line[p, 1]) - line[i, 1]
    vx, vy = np.int64(line[q, 0]) - line[i, 0], np.int64(line[q, 1]) - line[i, 1]
    return abs(ux * vy - uy * vx)


@njit(cache=True, nogil=True)
def _offer(line: Corners, p: int, i: int, q: int, below: int, shift: int, heap: Ints, size: int) -> int:
    """Push vertex i if its area is small enough; keys order by area, then by vertex. The heap's new size."""
    area = _doubled_area(line, p, i, q)
    if area >= below:
        return size
    key, place = (area << shift) | i, size
    while place and heap[(place - 1) >> 1] > key:
        heap[place] = heap[(place - 1) >> 1]
        place = (place - 1) >> 1
    heap[place] = key
    return size + 1


@njit(cache=True, nogil=True)
def _drop_top(heap: Ints, size: int) -> int:
    """Remove the smallest key. The heap's new size."""
    size -= 1
    key, place = heap[size], 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= key:
            break
        heap[place] = heap[child]
        place = child
    heap[place] = key
    return size
