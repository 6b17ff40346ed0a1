"""Pieces of rings and of an area's boundary become rings again.

Each piece is a directed line with the result on its left. Where one ends the next is the first that leaves clockwise,
which bounds the same sector: so all pieces around a connected part hang together. What passes a place twice is then
split there, as no ring of a valid polygon may touch itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.clip_kernels import sooner

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Sources(NamedTuple):
    """The vertices of polygons, then those of the area, under one numbering (a tuple, as the compiler wants)."""

    corners: NDArray[Any]
    """(vertex, 2) of polygons."""
    scale: int
    """Units of the lattice that one step of the corners has."""
    area: Ints
    """(vertex, 2) of the area, on the lattice."""


class Pieces(NamedTuple):
    """Lines from place to place along a ring (a tuple, as the compiler wants)."""

    lines: Ints
    """(piece, 5) polygon; first vertex and number of vertices of the ring; the edge, by its first vertex, on which the
    piece begins; how many vertices it passes between its ends."""
    ends: Floats
    """(piece, 4) x, y of its begin and end."""


@dataclass(frozen=True)
class Traced:
    """Rings of cut polygons; holes are still on their own."""

    xy: Floats
    """(vertex, 2) on the lattice; rings repeat their first vertex."""
    starts: Ints
    """(ring + 1,) first vertex of each ring, then their number."""
    polygon: Ints
    """(ring,) polygon that it is of."""
    loop: Ints
    """(ring,) equal for rings that touch in such a way that they bound one connected part."""
    doubled_area: Floats
    """(ring,) twice the area, negative for holes; 0 for what collapsed to a line."""
    along_area: Bools
    """(vertex,) whether the edge that begins there is one of the area."""


def trace(pieces: Pieces, sources: Sources, pinches: Ints) -> Traced:
    """Link pieces to rings.

    Args:
        pieces: with the result on their left; those of each polygon close.
        sources: their vertices.
        pinches: vertices that rings pass more than once, ascending; pieces are cut there first.

    Raises:
        AssertionError: they do not close.
    """
    pieces = _split(pieces, sources, pinches)
    n = len(pieces.lines)
    polygon = np.tile(pieces.lines[:, 0], 2)
    xy = np.concatenate([pieces.ends[:, :2], pieces.ends[:, 2:]])
    order = np.lexsort((xy[:, 1], xy[:, 0], polygon))
    new = (np.diff(xy[order], axis=0) != 0).any(axis=1) | (np.diff(polygon[order]) != 0)
    places = np.empty(2 * n, np.int64)
    places[order] = np.cumsum(np.append(False, new)[: 2 * n])
    begin, end = places[:n], places[n:]
    leaving = np.argsort(begin, kind="stable")
    first = np.searchsorted(begin[leaving], np.arange(places.max(initial=-1) + 2))
    after = np.full(n, -1, np.int64)
    _link(leaving, first, end, *_directions(pieces, sources), after)
    if not np.array_equal(np.sort(after), np.arange(n)):
        raise AssertionError("the pieces of a cut polygon do not close.")
    chain, ring_starts, loop = np.empty(n, np.int64), np.zeros(n + 1, np.int64), np.empty(n, np.int64)
    n_rings = _walk(begin, after, places.max(initial=-1) + 1, chain, ring_starts, loop)
    ring_starts = ring_starts[: n_rings + 1]
    counts = np.append(0, np.cumsum(pieces.lines[chain, 4] + 1))
    starts = counts[ring_starts] + np.arange(n_rings + 1)
    out, along, doubled = np.empty((starts[-1], 2)), np.empty(starts[-1], np.bool_), np.empty(n_rings)
    _copy(pieces, sources, chain, ring_starts, starts, out, along, doubled)
    return Traced(out, starts, pieces.lines[chain[ring_starts[:-1]], 0], loop[:n_rings], doubled, along)


def _split(pieces: Pieces, sources: Sources, pinches: Ints) -> Pieces:
    if not len(pinches):
        return pieces
    counts = np.zeros(1, np.int64)
    _cut_at(pieces, sources, pinches, Pieces(np.empty((0, 5), np.int64), np.empty((0, 4))), counts)
    out = Pieces(np.empty((counts[0], 5), np.int64), np.empty((counts[0], 4)))
    counts[0] = 0
    _cut_at(pieces, sources, pinches, out, counts)
    return out


@njit(cache=True, nogil=True)
def _cut_at(pieces: Pieces, sources: Sources, pinches: Ints, out: Pieces, counts: Ints) -> None:
    """Cut pieces at the pinches between their ends; without room only count the results."""
    n = 0
    for i in range(len(pieces.lines)):
        first, size, edge, passed = pieces.lines[i, 1], pieces.lines[i, 2], pieces.lines[i, 3], pieces.lines[i, 4]
        at = (edge - first + 1) % size
        done = 0
        for lap in range(2):
            low, high = first + at * (1 - lap), first + min(at + passed - lap * size, size)
            for k in range(np.searchsorted(pinches, low), np.searchsorted(pinches, high)):
                step = pinches[k] - first - at + lap * size
                n = _add(pieces, sources, i, done, step, out, n)
                done = step + 1
        n = _add(pieces, sources, i, done, passed, out, n)
    counts[0] = n


@njit(cache=True, nogil=True)
def _add(pieces: Pieces, sources: Sources, i: int, low: int, high: int, out: Pieces, n: int) -> int:
    """Add the part of a piece between two of its inner vertices, or its ends; how many there are then."""
    if len(out.lines):
        first, size, edge, passed = pieces.lines[i, 1], pieces.lines[i, 2], pieces.lines[i, 3], pieces.lines[i, 4]
        begin = first + (edge - first + low) % size
        out.lines[n, :3], out.lines[n, 3], out.lines[n, 4] = pieces.lines[i, :3], begin, high - low
        out.ends[n] = pieces.ends[i]
        if low > 0:
            out.ends[n, 0], out.ends[n, 1] = vertex(sources, begin)
        if high < passed:
            out.ends[n, 2], out.ends[n, 3] = vertex(sources, first + (edge - first + 1 + high) % size)
    return n + 1


@njit(cache=True, nogil=True)
def vertex(sources: Sources, i: int) -> tuple[int, int]:
    """x, y of a vertex on the lattice."""
    n = len(sources.corners)
    if i >= n:
        return int(sources.area[i - n, 0]), int(sources.area[i - n, 1])
    return int(sources.corners[i, 0]) * sources.scale, int(sources.corners[i, 1]) * sources.scale


@njit(cache=True, nogil=True)
def _directions(pieces: Pieces, sources: Sources) -> tuple[Ints, Ints]:
    """(piece, 2) directions in which pieces leave and, from their ends, back to where they came from; exact."""
    out, back = np.empty((len(pieces.lines), 2), np.int64), np.empty((len(pieces.lines), 2), np.int64)
    for i in range(len(pieces.lines)):
        first, size, edge, passed = pieces.lines[i, 1], pieces.lines[i, 2], pieces.lines[i, 3], pieces.lines[i, 4]
        (ax, ay), (bx, by) = vertex(sources, edge), vertex(sources, first + (edge - first + 1) % size)
        out[i, 0], out[i, 1] = bx - ax, by - ay
        last = first + (edge - first + passed) % size
        (ax, ay), (bx, by) = vertex(sources, last), vertex(sources, first + (last - first + 1) % size)
        back[i, 0], back[i, 1] = ax - bx, ay - by
    return out, back


@njit(cache=True, nogil=True)
def _link(leaving: Ints, first: Ints, end: Ints, out: Ints, back: Ints, after: Ints) -> None:
    """Fill `after` (piece,): the first piece clockwise from the one that arrives.

    Args:
        leaving: (piece,) pieces by the place where they begin.
        first: (place + 1,) first of `leaving` at each place.
        end: (piece,) place where each ends.
        out: (piece, 2) directions in which they leave.
        back: (piece, 2) directions back from their ends.
        after: gets the next pieces.
    """
    for i in range(len(end)):
        for k in range(first[end[i]], first[end[i] + 1]):
            j = leaving[k]
            if after[i] < 0 or sooner(back[i], out[j], out[after[i]], True):
                after[i] = j


@njit(cache=True, nogil=True)
def _walk(begin: Ints, after: Ints, n_places: int, chain: Ints, ring_starts: Ints, loop: Ints) -> int:
    """Follow the links; what comes to a place again is a ring that has been closed. The number of rings.

    Fills `chain` (piece,) with the pieces ring by ring, `ring_starts` (ring + 1,), `loop` (ring,).
    """
    seen, at = np.zeros(len(begin), np.bool_), np.full(n_places, -1, np.int64)
    stack = np.empty(len(begin), np.int64)
    n_rings = n = 0
    for seed in range(len(begin)):
        piece, size = seed, 0
        if seen[seed]:
            continue
        while True:
            place = begin[piece]
            if at[place] >= 0:
                for k in range(at[place], size):
                    chain[n] = stack[k]
                    n += 1
                    if k > at[place]:
                        at[begin[stack[k]]] = -1
                size = at[place]
                at[place] = -1
                loop[n_rings] = seed
                n_rings += 1
                ring_starts[n_rings] = n
            if seen[piece]:
                break
            seen[piece] = True
            at[place], stack[size] = size, piece
            size += 1
            piece = after[piece]
    return n_rings


@njit(cache=True, nogil=True)
def _copy(
    pieces: Pieces,
    sources: Sources,
    chain: Ints,
    ring_starts: Ints,
    starts: Ints,
    xy: Floats,
    along: Bools,
    doubled: Floats,
) -> None:
    """Write vertices and areas of the rings and which of their edges are the area's."""
    for ring in range(len(doubled)):
        n = starts[ring]
        for place in range(ring_starts[ring], ring_starts[ring + 1]):
            piece = chain[place]
            first, size, edge = pieces.lines[piece, 1], pieces.lines[piece, 2], pieces.lines[piece, 3]
            passed = pieces.lines[piece, 4]
            along[n : n + passed + 1] = edge >= len(sources.corners)
            xy[n] = pieces.ends[piece, :2]
            for step in range(passed):
                xy[n + step + 1] = vertex(sources, first + (edge - first + 1 + step) % size)
            n += passed + 1
        begin = starts[ring]
        xy[n], along[n] = xy[begin], False
        doubled[ring] = 0.0
        for i in range(begin + 1, n):
            ux, uy = xy[i, 0] - xy[begin, 0], xy[i, 1] - xy[begin, 1]
            vx, vy = xy[i + 1, 0] - xy[begin, 0], xy[i + 1, 1] - xy[begin, 1]
            doubled[ring] += uy * vx - ux * vy
