"""The compiled loops of tracing; `trace` says how they work."""

from __future__ import annotations

from typing import NamedTuple

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


class Chains(NamedTuple):
    """The lists that one sweep works on (a tuple, as the compiler knows no other record)."""

    state: Ints
    """(4,) next row of numbers, spare nodes, arcs done, junctions met."""
    hanging: Int32s
    """(col + 1,) the loose end at each column where a line goes down."""
    node: Int32s
    """(node, 4) column, row, link, mate; node 0 is none."""
    slot: Ints
    """(node,) where a chain's end is closed; -1: it is loose."""
    spare: Int32s
    """(node,) a stack of free nodes."""
    done: Ints
    """(arc, 4) first node, second node of a ring or 0, component left and right of the walk from there."""
    flags: NDArray[np.uint8]
    """(junction,) as `Traced.junctions`."""


class ArcArrays(NamedTuple):
    """Where complete arcs are written."""

    corners: Int32s
    """(vertex, 2)."""
    starts: Ints
    """(arc + 1,) beginning with 0."""
    sides: Ints
    """(2, arc) left and right."""
    slots: Ints
    """(2, arc) at the first and the last vertex; -1 stays for rings."""
    smallest: Ints
    """(arc,) smallest corner."""


@njit(cache=True, nogil=True)
def sweep(numbers: Int32s, first_row: int, first_junction: int, chains: Chains) -> None:
    """Sweep over the corners above each row of numbers until the rows end or a list could overflow."""
    state, corners = chains.state, len(chains.hanging)
    while state[ROW] < len(numbers):
        room = state[SPARE] >= NODES_A_CORNER * corners and len(chains.flags) >= state[MET] + corners
        if not room or len(chains.done) < state[DONE] + DONE_A_CORNER * corners:
            return
        row = state[ROW]
        running = 0
        nw, sw = numbers[row - 1, 0], numbers[row, 0]
        for col in range(corners):
            ne, se = numbers[row - 1, col + 1], numbers[row, col + 1]
            if not ((nw == sw and ne == se) or (nw == ne and sw == se)):  # else nothing, or a line straight on
                corner = (col, first_row + row - 1)
                edges = (nw != ne) * NORTH + (ne != se) * EAST + (se != sw) * SOUTH + (sw != nw) * WEST
                if (nw != ne) + (ne != se) + (se != sw) + (sw != nw) == 2:
                    running = _turn(chains, edges, corner, (nw, ne, sw), running)
                else:
                    chains.flags[state[MET]] = edges + DIAGONAL * (ne == sw) + 2 * DIAGONAL * (nw == se)
                    slot = 4 * (first_junction + state[MET])
                    state[MET] += 1
                    running = _meet(chains, edges, corner, (nw, ne, sw), running, slot)
            nw, sw = ne, se
        state[ROW] += 1


@njit(cache=True, nogil=True)
def _turn(chains: Chains, edges: int, corner: tuple[int, int], sides: tuple[int, int, int], running: int) -> int:
    """A vertex where a line turns; the loose end that runs on to the east."""
    col = corner[0]
    new = _new(chains, corner, -1)
    if edges == EAST + SOUTH:
        chains.hanging[col] = new
    elif edges == SOUTH + WEST:
        _append(chains.node, running, new)
        chains.hanging[col] = new
    else:
        _append(chains.node, chains.hanging[col], new)
        if edges == NORTH + WEST:
            _join(chains, new, running, sides)
    return new


@njit(cache=True, nogil=True)
def _join(chains: Chains, new: int, running: int, sides: tuple[int, int, int]) -> None:
    """Link the vertex at which the chain from the north ends with the chain from the west."""
    nw, ne, sw = sides
    node, slot = chains.node, chains.slot
    one, other = node[new, MATE], node[running, MATE]
    node[new, LINK] ^= running
    node[running, LINK] ^= new
    if one == running:
        _complete(chains, new, running, sw, nw)
        return
    node[one, MATE], node[other, MATE] = other, one
    if slot[one] >= 0 and slot[other] >= 0:
        _complete(chains, one, 0, ne, nw)


@njit(cache=True, nogil=True)
def _meet(
    chains: Chains, edges: int, corner: tuple[int, int], sides: tuple[int, int, int], running: int, slot: int
) -> int:
    """A junction: chains from the north and the west end, others begin; the one that runs on to the east."""
    nw, ne, sw = sides
    col = corner[0]
    if edges & NORTH:
        _close(chains, chains.hanging[col], _new(chains, corner, slot), ne, nw)
    if edges & WEST:
        _close(chains, running, _new(chains, corner, slot + 3), nw, sw)
    if edges & SOUTH:
        chains.hanging[col] = _new(chains, corner, slot + 2)
    return _new(chains, corner, slot + 1) if edges & EAST else 0


@njit(cache=True, nogil=True)
def _close(chains: Chains, end: int, new: int, left: int, right: int) -> None:
    """Put a junction at a chain's loose end; its arc is complete if the other end is closed, too."""
    _append(chains.node, end, new)
    mate = chains.node[new, MATE]
    if chains.slot[mate] >= 0:
        _complete(chains, mate, 0, left, right)


@njit(cache=True, nogil=True)
def _new(chains: Chains, corner: tuple[int, int], slot: int) -> int:
    """A chain of one vertex, its own mate."""
    chains.state[SPARE] -= 1
    new: int = chains.spare[chains.state[SPARE]]
    node = chains.node
    node[new, X], node[new, Y] = corner
    node[new, LINK], node[new, MATE] = 0, new
    chains.slot[new] = slot
    return new


@njit(cache=True, nogil=True)
def _append(node: Int32s, end: int, new: int) -> None:
    """Put a vertex at a chain's loose end."""
    mate = node[end, MATE]
    node[end, LINK] ^= new
    node[new, LINK] ^= end
    node[new, MATE], node[mate, MATE] = mate, new


@njit(cache=True, nogil=True)
def _complete(chains: Chains, first: int, second: int, left: int, right: int) -> None:
    arc = chains.state[DONE]
    chains.done[arc, 0], chains.done[arc, 1] = first, second
    chains.done[arc, 2], chains.done[arc, 3] = left, right
    chains.state[DONE] += 1


@njit(cache=True, nogil=True)
def extract(chains: Chains, out: ArcArrays) -> None:
    """Write the arcs done in canonical order and free their nodes; corners compare as row · columns + column."""
    columns, node, done, spare = len(chains.hanging), chains.node, chains.done, chains.spare
    n, n_spare = 0, chains.state[SPARE]
    for arc in range(len(out.smallest)):
        if done[arc, 1]:
            first, before, turned = _ring_start(node, done[arc, 0], done[arc, 1], columns)
        else:
            first, last, turned = _open_start(node, done[arc, 0], columns)
            before = 0
            out.slots[0, arc], out.slots[1, arc] = chains.slot[first], chains.slot[last]
        out.sides[0, arc], out.sides[1, arc] = done[arc, 2 + turned], done[arc, 3 - turned]
        smallest = node[first, Y] * columns + node[first, X]
        here = first
        while True:
            out.corners[n, 0], out.corners[n, 1] = node[here, X], node[here, Y]
            smallest = min(smallest, node[here, Y] * columns + node[here, X])
            n += 1
            spare[n_spare] = here
            n_spare += 1
            before, here = here, node[here, LINK] ^ before
            if here == 0 or here == first:  # noqa: PLR1714 (numba would build a set each time)
                break
        if here:
            out.corners[n, 0], out.corners[n, 1] = node[first, X], node[first, Y]
            n += 1
        out.starts[arc + 1] = n
        out.smallest[arc] = smallest
    chains.state[SPARE] = n_spare


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
    step: int = np.sign(node[inner, Y] - node[end, Y]) * columns + np.sign(node[inner, X] - node[end, X])
    return step


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
