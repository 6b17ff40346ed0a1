"""The compiled loops of ring building; `rings` says how they work."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PENDING, PASSED = -1, -2
"""In `leaving`: the arc is not complete yet; both its sides are written."""


class Web(NamedTuple):
    """How arcs hang together (a tuple, as the compiler knows no other record)."""

    starts: Ints
    """(arc + 1,) first vertex of each arc."""
    sides: Ints
    """(arc, 2) component of each half: left, right."""
    slots: Ints
    """(arc, 2) 4 · junction + direction of the edge with which the arc begins and ends; -1 for free rings."""
    smallest: Ints
    """(arc,) smallest corner."""
    gone: Bools
    """(arc, 2) halves that need not be walked (any more)."""
    next_half: Int32s
    """(arc, 2) next half of the same component, or -1."""
    head: Int32s
    """(component,) first of its halves, or -1."""
    edges: NDArray[np.uint8]
    """(junction,) bits as in `Traced.junctions`."""
    leaving: Int32s
    """(junction, 4) the half that leaves in each direction, or PENDING or PASSED."""


@njit(cache=True, nogil=True)
def link_halves(web: Web, first: int) -> None:
    """Enter the arcs from `first` on into their components' lists and at their junctions."""
    for arc in range(first, len(web.sides)):
        for side in range(2):
            slot, component = web.slots[arc, side], web.sides[arc, side]
            if slot >= 0:
                web.leaving[slot >> 2, slot & 3] = 2 * arc + side
            if not web.gone[arc, side]:
                web.next_half[arc, side] = web.head[component]
                web.head[component] = 2 * arc + side


@njit(cache=True, nogil=True)
def place_slots(slots: Ints, serial: Ints, first: int) -> None:
    """Turn numbers of junctions, in place, into their places: after the known ones for those from `first` on."""
    for end in range(len(slots)):
        if slots[end] >= 4 * first:
            slots[end] += 4 * (len(serial) - first)
        elif slots[end] >= 0:
            slots[end] = 4 * np.searchsorted(serial, slots[end] >> 2) + (slots[end] & 3)


@njit(cache=True, nogil=True)
def walk_rings(web: Web, numbers: Ints, order: Int32s, ring_starts: Int32s, polygon_starts: Ints) -> tuple[int, int]:
    """Put the halves of each component in ring order, the exterior first; the number of rings and of vertices.

    The exterior is the ring through the component's smallest corner. Fills `order` (half,), `ring_starts` (ring + 1,)
    first half of each ring, `polygon_starts` (polygon + 1,) first ring; marks the halves as gone.
    """
    n_rings = n_vertices = 0
    ring_starts[0] = 0
    for polygon in range(len(numbers)):
        half = web.head[numbers[polygon]]
        seed = _smallest_half(web, half)
        while half >= 0:
            if not web.gone[seed >> 1, seed & 1]:
                ring_starts[n_rings + 1], n = _walk_ring(web, seed, order, ring_starts[n_rings])
                n_vertices += n
                n_rings += 1
            else:
                half = web.next_half[half >> 1, half & 1]
            seed = half
        polygon_starts[polygon + 1] = n_rings
    return n_rings, n_vertices


@njit(cache=True, nogil=True)
def _smallest_half(web: Web, half: int) -> int:
    """The half in a component's list that runs through the smallest corner."""
    smallest = half
    while half >= 0:
        if web.smallest[half >> 1] < web.smallest[smallest >> 1]:
            smallest = half
        half = web.next_half[half >> 1, half & 1]
    return smallest


@njit(cache=True, nogil=True)
def _walk_ring(web: Web, seed: int, order: Int32s, n_halves: int) -> tuple[int, int]:
    """Append the halves of one ring to the order; how many are in it then, and the ring's vertices."""
    half, n_vertices = seed, 1
    while True:
        arc, side = half >> 1, half & 1
        order[n_halves] = half
        n_halves += 1
        n_vertices += web.starts[arc + 1] - web.starts[arc] - 1
        web.gone[arc, side] = True
        slot = web.slots[arc, 1 - side]
        if slot >= 0:
            junction, arrived = slot >> 2, slot & 3
            half = web.leaving[junction, (arrived + turn(web.edges[junction], arrived)) & 3]
        if half == seed:
            return n_halves, n_vertices


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
def forget_gone(web: Web, corners: NDArray[np.int32], serial: Ints) -> tuple[int, int, int]:
    """Move arcs of which a half is needed, and junctions that such meet or may meet, to the front of their lists.

    Halves leave their components' lists: those that are left are to be linked anew.

    Args:
        web: all lists but `next_half` are moved.
        corners: (vertex, 2) of all arcs, moved as well.
        serial: (junction,) numbers of the junctions, moved as well.

    Returns:
        how many arcs, vertices and junctions are left.
    """
    place, n_junctions = np.empty(len(web.edges), np.int64), 0
    for junction in range(len(web.edges)):
        met = False
        for direction in range(4):
            half = web.leaving[junction, direction]
            if half >= 0 and web.gone[half >> 1, 0] and web.gone[half >> 1, 1]:
                half = PASSED
            # Never behind the place that is read.
            web.leaving[n_junctions, direction] = half
            met = met or ((web.edges[junction] >> direction) & 1 and half != PASSED)
        if met:
            place[junction] = n_junctions
            web.edges[n_junctions], serial[n_junctions] = web.edges[junction], serial[junction]
            n_junctions += 1
    n = n_corners = 0
    for arc in range(len(web.sides)):
        if web.gone[arc, 0] and web.gone[arc, 1]:
            continue
        for vertex in range(web.starts[arc], web.starts[arc + 1]):
            corners[n_corners, 0], corners[n_corners, 1] = corners[vertex, 0], corners[vertex, 1]
            n_corners += 1
        for side in range(2):
            slot, component = web.slots[arc, side], web.sides[arc, side]
            web.slots[n, side] = 4 * place[slot >> 2] + (slot & 3) if slot >= 0 else slot
            web.sides[n, side], web.gone[n, side] = component, web.gone[arc, side]
            if not web.gone[n, side]:
                web.head[component] = -1
        web.smallest[n], web.starts[n + 1] = web.smallest[arc], n_corners
        n += 1
    return n, n_corners, n_junctions


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
