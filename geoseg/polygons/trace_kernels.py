"""The compiled loops of tracing; `trace` says how they work.

Lists that they share: `node` (node, 4) with the columns below, node 0 is none; `slot` (node,) where a chain's end is
closed, -1 where it is loose; `spare` a stack of free nodes; `hanging` (col + 1,) the loose end at each column;
`done` (arc, 4) first node, second node of a ring or 0, component on the left and on the right of the walk from there;
`state` (row of numbers, spare nodes, arcs done, junctions met).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Int32s = NDArray[np.int32]
Ints = NDArray[np.int64]

X, Y, LINK, MATE = 0, 1, 2, 3
ROW, SPARE, DONE, MET = 0, 1, 2, 3
NORTH, EAST, SOUTH, WEST, DIAGONAL = 1, 2, 4, 8, 16
NODES_A_CORNER = 4
"""The worst: a junction of four arcs, each of which has its own vertex there."""
DONE_A_CORNER = 2


@njit(cache=True, nogil=True)
def sweep(
    numbers: Int32s,
    first_row: int,
    first_junction: int,
    state: Ints,
    hanging: Int32s,
    node: Int32s,
    slot: Ints,
    spare: Int32s,
    done: Ints,
    flags: NDArray[np.uint8],
) -> None:
    """Sweep over the corners above each row of numbers until the rows end or a list could overflow."""
    corners = len(hanging)
    while state[ROW] < len(numbers):
        room = state[SPARE] >= NODES_A_CORNER * corners and len(flags) >= state[MET] + corners
        if not room or len(done) < state[DONE] + DONE_A_CORNER * corners:
            return
        row = state[ROW]
        above, below = numbers[row - 1], numbers[row]
        running = 0
        nw, sw = above[0], below[0]
        for col in range(corners):
            ne, se = above[col + 1], below[col + 1]
            if not ((nw == sw and ne == se) or (nw == ne and sw == se)):  # else nothing, or a line straight on
                corner = (col, first_row + row - 1)
                edges = (nw != ne) * NORTH + (ne != se) * EAST + (se != sw) * SOUTH + (sw != nw) * WEST
                if (nw != ne) + (ne != se) + (se != sw) + (sw != nw) == 2:
                    running = _turn(edges, corner, (nw, ne, sw), running, state, hanging, node, slot, spare, done)
                else:
                    flags[state[MET]] = edges + DIAGONAL * (ne == sw) + 2 * DIAGONAL * (nw == se)
                    base = 4 * (first_junction + state[MET])
                    state[MET] += 1
                    running = _meet(edges, corner, (nw, ne, sw), base, running, state, hanging, node, slot, spare, done)
            nw, sw = ne, se
        state[ROW] += 1


@njit(cache=True, nogil=True)
def _turn(
    edges: int,
    corner: tuple[int, int],
    sides: tuple[int, int, int],
    running: int,
    state: Ints,
    hanging: Int32s,
    node: Int32s,
    slot: Ints,
    spare: Int32s,
    done: Ints,
) -> int:
    """A vertex where a line turns; the loose end that runs on to the east."""
    col = corner[0]
    new = _new(corner, -1, state, node, slot, spare)
    if edges == EAST + SOUTH:
        hanging[col] = new
    elif edges == SOUTH + WEST:
        _append(node, running, new)
        hanging[col] = new
    else:
        _append(node, hanging[col], new)
        if edges == NORTH + WEST:
            _join(new, running, sides, state, node, slot, done)
    return new


@njit(cache=True, nogil=True)
def _join(
    new: int, running: int, sides: tuple[int, int, int], state: Ints, node: Int32s, slot: Ints, done: Ints
) -> None:
    """Link the vertex at which the chain from the north ends with the chain from the west."""
    nw, ne, sw = sides
    one, other = node[new, MATE], node[running, MATE]
    node[new, LINK] ^= running
    node[running, LINK] ^= new
    if one == running:
        _complete(new, running, sw, nw, state, done)
        return
    node[one, MATE], node[other, MATE] = other, one
    if slot[one] >= 0 and slot[other] >= 0:
        _complete(one, 0, ne, nw, state, done)


@njit(cache=True, nogil=True)
def _meet(
    edges: int,
    corner: tuple[int, int],
    sides: tuple[int, int, int],
    base: int,
    running: int,
    state: Ints,
    hanging: Int32s,
    node: Int32s,
    slot: Ints,
    spare: Int32s,
    done: Ints,
) -> int:
    """A junction: chains from the north and the west end, others begin; the one that runs on to the east."""
    nw, ne, sw = sides
    col = corner[0]
    if edges & NORTH:
        new = _new(corner, base, state, node, slot, spare)
        _append(node, hanging[col], new)
        if slot[node[new, MATE]] >= 0:
            _complete(node[new, MATE], 0, ne, nw, state, done)
    if edges & WEST:
        new = _new(corner, base + 3, state, node, slot, spare)
        _append(node, running, new)
        if slot[node[new, MATE]] >= 0:
            _complete(node[new, MATE], 0, nw, sw, state, done)
    if edges & SOUTH:
        hanging[col] = _new(corner, base + 2, state, node, slot, spare)
    return _new(corner, base + 1, state, node, slot, spare) if edges & EAST else 0


@njit(cache=True, nogil=True)
def _new(corner: tuple[int, int], place: int, state: Ints, node: Int32s, slot: Ints, spare: Int32s) -> int:
    """A chain of one vertex, its own mate."""
    state[SPARE] -= 1
    new = spare[state[SPARE]]
    node[new, X], node[new, Y] = corner
    node[new, LINK], node[new, MATE] = 0, new
    slot[new] = place
    return new


@njit(cache=True, nogil=True)
def _append(node: Int32s, end: int, new: int) -> None:
    """Put a vertex at a chain's loose end."""
    mate = node[end, MATE]
    node[end, LINK] ^= new
    node[new, LINK] ^= end
    node[new, MATE], node[mate, MATE] = mate, new


@njit(cache=True, nogil=True)
def _complete(first: int, second: int, left: int, right: int, state: Ints, done: Ints) -> None:
    arc = done[state[DONE]]
    arc[0], arc[1], arc[2], arc[3] = first, second, left, right
    state[DONE] += 1


@njit(cache=True, nogil=True)
def extract(
    done: Ints,
    columns: int,
    node: Int32s,
    slot: Ints,
    spare: Int32s,
    n_spare: int,
    corners: Int32s,
    starts: Ints,
    sides: Ints,
    slots: Ints,
    smallest: Ints,
) -> int:
    """Write complete chains in canonical order and free their nodes; the number of spare nodes.

    Corners are compared as row · columns + column. Fills `corners` (vertex, 2), `starts` (arc + 1,), `sides`
    (2, arc) left and right, `slots` (2, arc) at the first and the last vertex of open arcs, `smallest` (arc,).
    """
    n = 0
    for arc in range(len(done)):
        if done[arc, 1]:
            first, before, turned = _ring_start(node, done[arc, 0], done[arc, 1], columns)
        else:
            first, last, turned = _open_start(node, done[arc, 0], columns)
            before = 0
            slots[0, arc], slots[1, arc] = slot[first], slot[last]
        sides[0, arc], sides[1, arc] = done[arc, 2 + turned], done[arc, 3 - turned]
        smallest[arc] = node[first, Y] * columns + node[first, X]
        here = first
        while True:
            corners[n, 0], corners[n, 1] = node[here, X], node[here, Y]
            smallest[arc] = min(smallest[arc], node[here, Y] * columns + node[here, X])
            n += 1
            spare[n_spare] = here
            n_spare += 1
            before, here = here, node[here, LINK] ^ before
            if here == 0 or here == first:  # noqa: PLR1714 (numba builds a set)
                break
        if here:
            corners[n, 0], corners[n, 1] = node[first, X], node[first, Y]
            n += 1
        starts[arc + 1] = n
    return n_spare


@njit(cache=True, nogil=True)
def _open_start(node: Int32s, one: int, columns: int) -> tuple[int, int, int]:
    """First and last node in canonical order, and 1 if that turns the arc."""
    other = node[one, MATE]
    keys = (node[one, Y] * columns + node[one, X], node[other, Y] * columns + node[other, X])
    if keys[0] == keys[1]:
        keys = (_step(node, one, columns), _step(node, other, columns))
    return (one, other, 0) if keys[0] < keys[1] else (other, one, 1)


@njit(cache=True, nogil=True)
def _step(node: Int32s, end: int, columns: int) -> int:
    """The first step from a chain's end as a difference of corners."""
    inner = node[end, LINK]
    return np.sign(node[inner, Y] - node[end, Y]) * columns + np.sign(node[inner, X] - node[end, X])


@njit(cache=True, nogil=True)
def _ring_start(node: Int32s, first: int, second: int, columns: int) -> tuple[int, int, int]:
    """The ring's smallest node, the node before it on a walk whose first step is east, and 1 if that turns the ring."""
    before, here = node[first, LINK] ^ second, first
    start, behind = here, before
    while True:
        if node[here, Y] * columns + node[here, X] < node[start, Y] * columns + node[start, X]:
            start, behind = here, before
        before, here = here, node[here, LINK] ^ before
        if here == first:
            break
    ahead = node[start, LINK] ^ behind
    return (start, behind, 0) if node[ahead, Y] == node[start, Y] else (start, ahead, 1)
