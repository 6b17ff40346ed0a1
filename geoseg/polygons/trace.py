"""Pass B: the boundary lines between components, traced in one sweep over the pixel corners.

At each corner the four pixels around it say which of the four edges north, east, south and west of it are boundary
lines (their two sides differ). Two in a row: the line runs straight on. Two across: it turns here, a vertex. Three or
four: a junction, where lines end and begin. The sweep goes in row order and holds one *chain* of vertices for each
line it is in the midst of, by the loose end: one hangs at each column where a line goes down, one runs east in the row.

    corner      what happens to the chains hanging from the north (U) and coming from the west (L)
    E S         a new one with two loose ends
    N E · W S   U runs on east · L hangs down; a vertex is added
    N W         U and L are joined: loose ends meet, or the ring is closed
    junction    U and L end; new ones begin to the east and to the south

Nothing is followed and nothing is joined afterwards: the state between two rows is the row of hanging chains, so
bands of any height give the same arcs in the same order. Chains are kept by their two end vertices, each of which
knows its mate; the vertices between are linked by the exclusive or of their two neighbors, so joining needs no turning.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.arcs import Arcs
from geoseg.polygons.trace_kernels import DONE, DONE_A_CORNER, MET, NODES_A_CORNER, ROW, SPARE, extract, sweep

Int32s = NDArray[np.int32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Traced:
    """The arcs that one band completed, and how they hang together.

    Junctions are numbered as the sweep meets them; a *slot* is 4 · junction + direction of the edge that leaves it
    (0 north, 1 east, 2 south, 3 west).
    """

    arcs: Arcs
    begins: Ints
    """(arc,) slot at the arc's first vertex; -1 for rings."""
    ends: Ints
    """(arc,) slot at the arc's last vertex; -1 for rings."""
    smallest: Ints
    """(arc,) row · (width + 1) + column of the arc's smallest corner."""
    first_junction: int
    """Number of the first junction that this band met."""
    junctions: NDArray[np.uint8]
    """(junction,) for each met: bits 0-3 which edges there are, 4 the pixels north-east and south-west are one
    component, 5 those north-west and south-east."""
    vertices: Int32s
    """(vertex, 2) column and row of all vertices met in this band, also of arcs not yet complete; junctions repeat."""


class Tracer:
    """Traces bands in row order; holds the arcs in the midst of which the sweep is."""

    def __init__(self, width: int) -> None:
        """A tracer of a raster.

        Args:
            width: columns of the raster.
        """
        self._hanging = np.zeros(width + 1, np.int32)
        self._node = np.zeros((1, 4), np.int32)
        self._slot = np.full(1, -1, np.int64)
        self._spare, self._n_spare = np.empty(0, np.int32), 0
        self._done = np.empty((0, 4), np.int64)
        self._flags = np.empty(0, np.uint8)
        self._n_junctions = 0

    def trace(self, numbers: Int32s, first_row: int) -> Traced:
        """Sweep on over one band.

        Args:
            numbers: (1 + row, 1 + col + 1) component numbers with the row above the band and a frame of NOTHING on
                both sides, as `Survey.painted_bands` gives them. After the last band comes one of a single row of
                NOTHING, which closes the frame.
            first_row: row of the raster that `numbers[1]` is; the corners above its pixels are the first to be swept.

        Returns:
            what was completed, canonical as `Arcs` says, in the order of completion.
        """
        state = np.array([1, self._n_spare, 0, 0], np.int64)
        spare_before = self._n_spare
        while state[ROW] < len(numbers):
            spare_before += self._make_room(state)
            sweep(numbers, first_row, self._n_junctions, state, self._hanging, self._node, self._slot,
                  self._spare, self._done, self._flags)  # fmt: skip
        self._n_spare = int(state[SPARE])
        vertices = self._node[self._spare[self._n_spare : spare_before], :2]
        flags = self._flags[: state[MET]].copy()
        first_junction, self._n_junctions = self._n_junctions, self._n_junctions + len(flags)
        return self._take(self._done[: state[DONE]], first_junction, flags, vertices)

    def _make_room(self, state: Ints) -> int:
        """Let the lists hold at least one more row; how many nodes were added."""
        corners = len(self._hanging)
        if len(self._done) < state[DONE] + DONE_A_CORNER * corners:
            self._done = np.concatenate([self._done, np.empty((len(self._done) + DONE_A_CORNER * corners, 4), np.int64)])
        if len(self._flags) < state[MET] + corners:
            self._flags = np.concatenate([self._flags, np.empty(len(self._flags) + corners, np.uint8)])
        if state[SPARE] >= NODES_A_CORNER * corners:
            return 0
        old = len(self._node)
        new = max(old, NODES_A_CORNER * corners)
        self._node = np.concatenate([self._node, np.zeros((new, 4), np.int32)])
        self._slot = np.concatenate([self._slot, np.full(new, -1, np.int64)])
        # New nodes go under the spare ones: above those lies what this band has taken, to be told as its vertices.
        fresh = np.arange(old + new - 1, old - 1, -1, dtype=np.int32)
        self._spare = np.concatenate([fresh, self._spare])
        state[SPARE] += new
        return new

    def _take(self, done: Ints, first_junction: int, flags: NDArray[np.uint8], vertices: Int32s) -> Traced:
        n, in_use = len(done), len(self._node) - self._n_spare
        corners = np.empty((in_use + n, 2), np.int32)  # the worst: all nodes, and rings repeat one
        starts = np.zeros(n + 1, np.int64)
        sides, slots, smallest = np.empty((2, n), np.int64), np.full((2, n), -1, np.int64), np.empty(n, np.int64)
        self._n_spare = extract(done, len(self._hanging), self._node, self._slot, self._spare, self._n_spare,
                                corners, starts, sides, slots, smallest)  # fmt: skip
        arcs = Arcs(corners[: starts[-1]].copy(), starts, sides[0], sides[1], done[:, 1] != 0)
        return Traced(arcs, slots[0], slots[1], smallest, first_junction, flags, vertices)
