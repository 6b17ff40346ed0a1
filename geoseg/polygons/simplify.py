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

from geoseg.errors import InputError
from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.vertex_bits import Corners, VertexBits, Words, clear_vertex, crowded, set_vertices

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Counts = NDArray[np.uint8]
Rows = NDArray[np.int32] | NDArray[np.int64]

_KEY_BITS = 63
_LARGEST = 2.0**62  # above all triangles


class Lenses:
    """Counts the arcs around each component, to tell those that are bounded by two arcs only. 1 byte a component."""

    last_row: Rows
    """(component,) last pixel row."""
    n_arcs: Counts
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
        ValueError: the tolerance is negative or not a number.
        InputError: an arc has more vertices (2²⁸ in a raster of 100 000²) than 64-bit keys can order.
    """
    if not tolerance_px2 >= 0:
        raise ValueError(f"tolerance of {tolerance_px2} px²: give an area ≥ 0.")
    if not len(arcs) or tolerance_px2 == 0:
        return arcs
    longest = int(np.diff(arcs.starts).max())
    shift = longest.bit_length()
    if 2 * int(arcs.corners.max()) ** 2 >= 2 ** (_KEY_BITS - shift):
        raise InputError(f"an arc of {longest} vertices cannot be simplified in 64 bits: split it.")
    below = math.ceil(min(2.0 * tolerance_px2, _LARGEST))
    least = np.empty(len(arcs), np.int64)
    _set_least(arcs.corners, arcs.starts, arcs.ring, arcs.left, arcs.right, lenses.last_row, lenses.n_arcs, least)
    if not outer:
        least[(arcs.left == NOTHING) | (arcs.right == NOTHING)] = longest
    keep = np.ones(len(arcs.corners), np.bool_)
    n = _thin_all(arcs.corners, arcs.starts, arcs.ring, least, (below, shift), bits.words, keep)
    corners, starts = np.empty((n, 2), np.int32), np.zeros(len(arcs) + 1, np.int64)
    _pack(arcs.corners, arcs.starts, arcs.ring, keep, corners, starts)
    return Arcs(corners, starts, arcs.left, arcs.right, arcs.ring)


@njit(cache=True, nogil=True)
def _count_sides(side: Ints, n_arcs: Counts) -> None:
    for component in side:
        if component != NOTHING and n_arcs[component] < 3:
            n_arcs[component] += 1


@njit(cache=True, nogil=True)
def _set_least(
    corners: Corners, starts: Ints, ring: Flags, left: Ints, right: Ints, last_row: Rows, n_arcs: Counts, least: Ints
) -> None:
    """How many vertices of each arc must stay, the two ends of open arcs not counted."""
    for arc in range(len(ring)):
        first, last = starts[arc], starts[arc + 1] - 1
        if ring[arc]:
            least[arc] = 3
        elif corners[first, 0] == corners[last, 0] and corners[first, 1] == corners[last, 1]:
            least[arc] = 2
        else:
            lowest = corners[first : last + 1, 1].max()
            least[arc] = 0
            for side in (left[arc], right[arc]):
                # Nothing is counted about NOTHING, so it is taken for a lens.
                if side == NOTHING or (n_arcs[side] == 2 and last_row[side] + 1 == lowest):
                    least[arc] = 1


@njit(cache=True, nogil=True)
def _thin_all(
    corners: Corners, starts: Ints, ring: Flags, least: Ints, rule: tuple[int, int], words: Words, keep: Flags
) -> int:
    """Unset `keep` (vertex,) of all vertices that go; the number of those that stay."""
    room = 0
    for arc in range(len(ring)):
        room = max(room, starts[arc + 1] - starts[arc])
    links, heap = np.empty((2, room), np.int64), np.empty(2 * room, np.int64)
    n = len(corners)
    for arc in range(len(ring)):
        line = corners[starts[arc] : starts[arc + 1]]
        spare = len(line) - (1 if ring[arc] else 2) - least[arc]
        if spare > 0:
            gone = _thin(line, ring[arc], spare, rule, words, links, heap, keep[starts[arc] : starts[arc + 1]])
            n -= gone
            if gone:
                set_vertices(words, line)
    return n


@njit(cache=True, nogil=True)
def _thin(
    line: Corners, ring: bool, spare: int, rule: tuple[int, int], words: Words, links: Ints, heap: Ints, keep: Flags
) -> int:
    """Drop at most `spare` vertices of one line and clear their bits; how many went.

    Args:
        line: (vertex, 2).
        ring: whether its last vertex repeats the first.
        spare: how many may go.
        rule: doubled area that a triangle must stay below, and the bits that a vertex takes in a key.
        words: of `VertexBits`.
        links: (2, vertex) room for each vertex's neighbors.
        heap: (2 · vertex,) room for keys: every vertex enters it once, and each that goes makes room for its neighbors.
        keep: (vertex,) unset for those that go.
    """
    below, shift = rule
    back, ahead = links
    n = len(line) - 1 if ring else len(line)
    first, last = (0, n) if ring else (1, n - 1)
    size, n_gone, mask = 0, 0, (1 << shift) - 1
    for i in range(n):
        back[i], ahead[i] = (i or n) - 1, (i + 1 if i < n - 1 else 0)
        if first <= i < last:
            size = _offer(line, back[i], i, ahead[i], below, shift, heap, size)
    while size and n_gone < spare:
        key = heap[0]
        size = _drop_top(heap, size)
        area, i = key >> shift, key & mask
        p, q = back[i], ahead[i]
        if not keep[i] or _doubled_area(line, p, i, q) != area:
            continue  # the entry is older than a neighbor's removal
        a, b, c = (line[p, 0], line[p, 1]), (line[i, 0], line[i, 1]), (line[q, 0], line[q, 1])
        # By Pick's theorem a triangle of half a pixel holds no pixel corner but its own.
        if area != 1 and crowded(words, a, b, c, 1, 3):
            continue  # until a neighbor goes
        keep[i] = False
        clear_vertex(words, b[0], b[1])
        n_gone += 1
        ahead[p], back[q] = q, p
        if p >= first:
            size = _offer(line, back[p], p, q, below, shift, heap, size)
        if q < last:
            size = _offer(line, p, q, ahead[q], below, shift, heap, size)
    return n_gone


@njit(cache=True, nogil=True)
def _pack(corners: Corners, starts: Ints, ring: Flags, keep: Flags, out: Corners, out_starts: Ints) -> None:
    """Copy the vertices that stay; rings are closed again."""
    n = 0
    for arc in range(len(ring)):
        for i in range(starts[arc], starts[arc + 1]):
            if keep[i]:
                out[n, 0], out[n, 1] = corners[i, 0], corners[i, 1]
                n += 1
        if ring[arc]:
            out[n - 1] = out[out_starts[arc]]
        out_starts[arc + 1] = n


@njit(cache=True, nogil=True)
def _doubled_area(line: Corners, p: int, i: int, q: int) -> int:
    ux, uy = np.int64(line[p, 0]) - line[i, 0], np.int64(line[p, 1]) - line[i, 1]
    vx, vy = np.int64(line[q, 0]) - line[i, 0], np.int64(line[q, 1]) - line[i, 1]
    return int(abs(ux * vy - uy * vx))


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
