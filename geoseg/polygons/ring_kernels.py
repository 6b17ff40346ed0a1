"""The compiled loops of ring building; `rings` says how they work.

Arrays that they share: `slots` (arc, 2) where an arc begins and ends, -1 for free rings; `leaving` (junction, 4) the
half that leaves a junction in each direction; `edges` (junction,) bits as in `Traced.junctions`; `head` (component,)
and `next_half` (arc, 2) one list of halves for each component; `gone` (arc, 2) which halves need not be walked (any
more); `starts` (arc + 1,) vertices.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PENDING, PASSED = -1, -2
"""In `leaving`: the arc is not complete yet; both its sides are written."""


@njit(cache=True, nogil=True)
def link_halves(
    first: int, sides: Ints, gone: Bools, slots: Ints, head: Int32s, next_half: Int32s, leaving: Int32s
) -> None:
    """Enter the arcs from `first` on into their components' lists and at their junctions."""
    for arc in range(first, len(sides)):
        for side in range(2):
            slot = slots[arc, side]
            if slot >= 0:
                leaving[slot >> 2, slot & 3] = 2 * arc + side
            if not gone[arc, side]:
                next_half[arc, side] = head[sides[arc, side]]
                head[sides[arc, side]] = 2 * arc + side


@njit(cache=True, nogil=True)
def walk_rings(
    numbers: Ints,
    head: Int32s,
    next_half: Int32s,
    slots: Ints,
    smallest: Ints,
    edges: NDArray[np.uint8],
    leaving: Int32s,
    starts: Ints,
    gone: Bools,
    order: Int32s,
    ring_starts: Int32s,
    polygon_starts: Ints,
) -> tuple[int, int]:
    """Put the halves of each component in ring order, the exterior first; the number of rings and of vertices.

    The exterior is the ring through the component's smallest corner. Fills `order` (half,), `ring_starts` (ring + 1,)
    first half of each ring, `polygon_starts` (polygon + 1,) first ring; marks the halves as gone.
    """
    n_halves = n_rings = n_vertices = 0
    ring_starts[0] = 0
    for polygon in range(len(numbers)):
        half = seed = head[numbers[polygon]]
        while half >= 0:
            if smallest[half >> 1] < smallest[seed >> 1]:
                seed = half
            half = next_half[half >> 1, half & 1]
        half = head[numbers[polygon]]
        while half >= 0:
            if not gone[seed >> 1, seed & 1]:
                n_halves = _walk_ring(seed, slots, edges, leaving, gone, order, n_halves)
                for place in range(ring_starts[n_rings], n_halves):
                    n_vertices += starts[(order[place] >> 1) + 1] - starts[order[place] >> 1] - 1
                n_vertices += 1
                n_rings += 1
                ring_starts[n_rings] = n_halves
                if n_rings == polygon_starts[polygon] + 1:
                    seed = half
                    continue
            half = next_half[half >> 1, half & 1]
            seed = half
        polygon_starts[polygon + 1] = n_rings
    return n_rings, n_vertices


@njit(cache=True, nogil=True)
def _walk_ring(
    seed: int, slots: Ints, edges: NDArray[np.uint8], leaving: Int32s, gone: Bools, order: Int32s, n_halves: int
) -> int:
    """Append the halves of one ring to the order; how many are in it then."""
    half = seed
    while True:
        order[n_halves] = half
        n_halves += 1
        gone[half >> 1, half & 1] = True
        slot = slots[half >> 1, 1 - (half & 1)]
        if slot < 0:
            return n_halves
        junction, arrived = slot >> 2, slot & 3
        half = leaving[junction, (arrived + turn(edges[junction], arrived)) & 3]
        if half == seed:
            return n_halves


@njit(cache=True, nogil=True)
def turn(edges: int, arrived: int) -> int:
    """Quarter turns clockwise from the edge on which a ring arrives to the one on which it goes on."""
    crosses = (edges >> (4 + (arrived & 1))) & 1
    if crosses:
        return 3
    return 1 if (edges >> ((arrived + 1) & 3)) & 1 else 2


@njit(cache=True, nogil=True)
def copy_rings(
    order: Int32s, ring_starts: Int32s, starts: Ints, corners: NDArray[np.int32], out: NDArray[np.int32], ends: Ints
) -> None:
    """Write the rings' vertices; `ends` (ring + 1,) gets the first vertex of each, then their number."""
    n = 0
    for ring in range(len(ends) - 1):
        first = n
        for place in range(ring_starts[ring], ring_starts[ring + 1]):
            arc, backward = order[place] >> 1, order[place] & 1
            begin, last = starts[arc], starts[arc + 1] - 1
            for step in range(last - begin):
                vertex = last - step if backward else begin + step
                out[n, 0], out[n, 1] = corners[vertex, 0], corners[vertex, 1]
                n += 1
        out[n, 0], out[n, 1] = out[first, 0], out[first, 1]
        n += 1
        ends[ring + 1] = n


@njit(cache=True, nogil=True)
def sort_by_row(last_row: Int32s, n_pixels: Ints, ends: Ints, out: Int32s) -> None:
    """Order components that have pixels by their last row, then number; a counting sort.

    Args:
        last_row: (component,) last row of each.
        n_pixels: (component,) components without pixels are left out.
        ends: (row + 1,) zeros; gets the number of components that end above each row.
        out: (component with pixels,) gets the order.
    """
    for component in range(len(last_row)):
        if n_pixels[component] > 0:
            ends[last_row[component] + 1] += 1
    for row in range(1, len(ends)):
        ends[row] += ends[row - 1]
    place = ends.copy()
    for component in range(len(last_row)):
        if n_pixels[component] > 0:
            out[place[last_row[component]]] = component
            place[last_row[component]] += 1
