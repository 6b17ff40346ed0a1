"""The queue of the minimum mapping unit, compiled.

A component that absorbed others is a set of original ones, named after its smallest member. Sets are linked lists, so
two are joined in constant time, and the neighbors of a set are those of its members: nobody's neighbors are ever
copied. Only what is given away looks at its neighbors, and since it is the smallest, its receiver at least doubles
(or will never be given away itself): each contact is looked at about log2(unit) times at most.

Sizes only grow, so an entry of the heap whose size is no longer its set's is out of date and is dropped when it comes
up; whoever made it so has put in a new one. One entry goes for each that comes: the heap never grows.

What is found out about an 8-connected group is noted at all its members: that it reaches the unit holds for good, that
it does not holds until the group grows. So a group is walked through when it has grown, not for each member.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.adjacency import Int32s, Ints

NONE = -1
UNKNOWN, SMALL, SAFE = 0, 1, 2
"""What is known of a set's 8-connected group; where a member is SMALL all are."""


class Sets(NamedTuple):
    """Components and what became of them; all arrays are (component,), what is said of a set stands at its name."""

    parent: Int32s
    """A smaller member of the same set, or itself: the set's name."""
    following: Int32s
    """The next member of the same set, NONE after the last; the name comes first."""
    last: Int32s
    """Last member of the set."""
    size: Ints
    """Size of the set."""
    rank: Int32s
    """Class of the set: rank of its code."""
    known: NDArray[np.uint8]
    """SAFE once its 8-connected group was seen to reach the unit, which no group loses again; SMALL while it does not
    for sure, else UNKNOWN."""
    border: Ints
    """Scratch: 0 but while it is in a chain."""
    chain: Int32s
    """Scratch: the next neighbor found."""


class Graph(NamedTuple):
    """`Adjacency` as kernels take it."""

    starts: Ints
    to: Int32s
    length: Int32s


class Heap(NamedTuple):
    """Sets below the unit, smallest first, ties by name: a binary heap in arrays."""

    size: Ints
    name: Int32s


@njit(cache=True, nogil=True)
def absorb_all(sets: Sets, graph: Graph, heap: Heap, unit: Ints, diagonals: bool) -> None:
    """Give away what is below the unit until nothing is that has a neighbor.

    Args:
        sets: every component as a set of its own; changed.
        graph: contacts, with those at corners if `diagonals`.
        heap: all sets below the unit, as a heap; emptied.
        unit: (rank,) smallest size that stays; 0: the class is never given away.
        diagonals: the size that is tested is that of the 8-connected group.
    """
    count = len(heap.size)
    while count:
        size, name = heap.size[0], heap.name[0]
        count -= 1
        sink(heap, count, heap.size[count], heap.name[count])
        if sets.parent[name] != name or sets.size[name] != size:
            continue
        if diagonals and reaches(sets, graph, name, unit[sets.rank[name]]):
            continue
        found = find_neighbors(sets, graph, name)
        if found != NONE:
            into = give_away(sets, graph, name, found)
            if sets.size[into] < unit[sets.rank[into]] and sets.known[into] != SAFE:
                rise(heap, count, sets.size[into], into)
                count += 1


@njit(cache=True, nogil=True)
def give_away(sets: Sets, graph: Graph, name: int, found: int) -> int:
    """Join a set with its best neighbor and with all others of that one's class; returns the name of the whole."""
    best, other = found, sets.chain[found]
    while other != NONE:
        if better(sets, other, best):
            best = other
        other = sets.chain[other]
    rank, first, last, other = sets.rank[best], best, best, found
    while other != NONE:
        behind = sets.chain[other]
        if other != best and alike(sets, other, rank):
            sets.chain[other], first = first, other
        elif other != best:
            sets.border[other] = 0
        other = behind
    sets.chain[last] = NONE
    if sets.known[name] == SMALL:
        sets.known[name] = UNKNOWN
        forget_small(sets, graph, name, first, last)
    whole, other = name, first
    while other != NONE:
        behind = NONE if other == last else sets.chain[other]
        sets.border[other] = 0
        whole = join(sets, whole, other)
        other = behind
    sets.rank[whole] = rank
    return whole


@njit(cache=True, nogil=True)
def forget_small(sets: Sets, graph: Graph, name: int, first: int, last: int) -> None:
    """Groups that a set joins as it is given away are no longer known to be small.

    They are those of its neighbors in the chain from `first` to `last`, which is as before afterwards, and those of
    the same class that it meets at corners.
    """
    rank, seen = sets.rank[first], first
    tail = chain_alike(sets, graph, name, rank, last)
    while seen != NONE:
        if sets.known[seen] == SMALL:
            tail = chain_alike(sets, graph, seen, rank, tail)
            sets.known[seen] = UNKNOWN
        seen = sets.chain[seen]
    seen, sets.chain[last] = sets.chain[last], NONE
    while seen != NONE:
        sets.border[seen] = 0
        seen = sets.chain[seen]


@njit(cache=True, nogil=True)
def chain_alike(sets: Sets, graph: Graph, one: int, rank: int, tail: int) -> int:
    """Lengthen a chain by all sets of a class that a set touches and that are in no chain; returns the new tail."""
    member = one
    while member != NONE:
        for entry in range(graph.starts[member], graph.starts[member + 1]):
            other = find(sets.parent, graph.to[entry])
            if sets.rank[other] == rank and sets.border[other] == 0:
                sets.chain[tail], sets.chain[other], sets.border[other] = other, NONE, 1
                tail = other
        member = sets.following[member]
    return tail


@njit(cache=True, nogil=True)
def better(sets: Sets, one: int, other: int) -> bool:
    """Which of two neighbors receives: the longest border, the largest, the smallest code, the first."""
    if sets.border[one] != sets.border[other]:
        return bool(sets.border[one] > sets.border[other])
    if sets.size[one] != sets.size[other]:
        return bool(sets.size[one] > sets.size[other])
    if sets.rank[one] != sets.rank[other]:
        return bool(sets.rank[one] < sets.rank[other])
    return one < other


@njit(cache=True, nogil=True)
def alike(sets: Sets, one: int, rank: int) -> bool:
    """A neighbor of the receiver's class: it touches the receiver from now on."""
    return bool(sets.rank[one] == rank)


@njit(cache=True, nogil=True)
def find_neighbors(sets: Sets, graph: Graph, name: int) -> int:
    """Chain all neighbors of a set, with the border that each shares; returns the first, or NONE."""
    first, member = NONE, name
    while member != NONE:
        for entry in range(graph.starts[member], graph.starts[member + 1]):
            if graph.length[entry]:
                other = find(sets.parent, graph.to[entry])
                if other != name:
                    if sets.border[other] == 0:
                        sets.chain[other], first = first, other
                    sets.border[other] += graph.length[entry]
        member = sets.following[member]
    return first


@njit(cache=True, nogil=True)
def reaches(sets: Sets, graph: Graph, name: int, unit: int) -> bool:
    """Whether the 8-connected group of a set reaches the unit; what is found out is noted at all members seen.

    Breadth first over contacts to sets of the same class, which are at corners only: others would be one set.
    """
    if sets.known[name] != UNKNOWN:
        return bool(sets.known[name] == SAFE)
    total, seen, tail, enough = 0, name, name, False
    sets.chain[name], sets.border[name] = NONE, 1
    while seen != NONE and not enough:
        total += sets.size[seen]
        enough = total >= unit or sets.known[seen] == SAFE
        if not enough:
            tail = chain_alike(sets, graph, seen, sets.rank[name], tail)
        seen = sets.chain[seen]
    seen = name
    while seen != NONE:
        sets.border[seen] = 0
        sets.known[seen] = SAFE if enough else SMALL
        seen = sets.chain[seen]
    return bool(enough)


@njit(cache=True, nogil=True)
def join(sets: Sets, one: int, other: int) -> int:
    """Make two sets one; returns its name."""
    name, rest = min(one, other), max(one, other)
    sets.parent[rest] = name
    sets.following[sets.last[name]] = rest
    sets.last[name] = sets.last[rest]
    sets.size[name] += sets.size[rest]
    sets.known[name] = max(sets.known[name], sets.known[rest])
    return name


@njit(cache=True, nogil=True)
def find(parent: Int32s, member: int) -> int:
    """Name of the set of a component, with path halving."""
    while parent[member] != member:
        parent[member] = parent[parent[member]]
        member = parent[member]
    return member


@njit(cache=True, nogil=True)
def sink(heap: Heap, count: int, size: int, name: int) -> None:
    """Put an entry in the place of the first of a heap that has `count` entries then."""
    place, child = 0, 1
    while child < count:
        if child + 1 < count and before(heap, child + 1, heap.size[child], heap.name[child]):
            child += 1
        if not before(heap, child, size, name):
            break
        heap.size[place], heap.name[place] = heap.size[child], heap.name[child]
        place, child = child, 2 * child + 1
    heap.size[place], heap.name[place] = size, name


@njit(cache=True, nogil=True)
def rise(heap: Heap, count: int, size: int, name: int) -> None:
    """Add an entry to a heap of `count` entries."""
    place = count
    while place:
        up = (place - 1) // 2
        if before(heap, up, size, name):
            break
        heap.size[place], heap.name[place] = heap.size[up], heap.name[up]
        place = up
    heap.size[place], heap.name[place] = size, name


@njit(cache=True, nogil=True)
def before(heap: Heap, place: int, size: int, name: int) -> bool:
    """Whether an entry of the heap comes before another."""
    return bool(heap.size[place] < size or (heap.size[place] == size and heap.name[place] < name))


@njit(cache=True, nogil=True)
def name_sets(parent: Int32s) -> None:
    """Make every component's parent the name of its set; a parent is never larger than its child."""
    for member in range(len(parent)):
        parent[member] = parent[parent[member]]
