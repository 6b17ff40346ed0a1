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
from geoseg.polygons.trace_kernels import (
    DONE,
    DONE_A_CORNER,
    MET,
    NODES_A_CORNER,
    ROW,
    SPARE,
    ArcArrays,
    Chains,
    extract,
    sweep,
)

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
        self._chains = Chains(
            state=np.zeros(4, np.int64),
            hanging=np.zeros(width + 1, np.int32),
            node=np.zeros((1, 4), np.int32),
            slot=np.full(1, -1, np.int64),
            spare=np.empty(0, np.int32),
            done=np.empty((0, 4), np.int64),
            flags=np.empty(0, np.uint8),
        )
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
        state = self._chains.state
        state[:] = 1, state[SPARE], 0, 0
        spare_before = state[SPARE]
        while state[ROW] < len(numbers):
            spare_before += self._make_room()
            sweep(numbers, first_row, self._n_junctions, self._chains)
        vertices = self._chains.node[self._chains.spare[state[SPARE] : spare_before], :2]
        flags = self._chains.flags[: state[MET]].copy()
        first_junction, self._n_junctions = self._n_junctions, self._n_junctions + len(flags)
        arrays, ring = self._take(int(state[DONE]))
        (left, right), (begins, ends) = arrays.sides, arrays.slots
        arcs = Arcs(arrays.corners[: arrays.starts[-1]].copy(), arrays.starts, left, right, ring)
        return Traced(arcs, begins, ends, arrays.smallest, first_junction, flags, vertices)

    def _take(self, n: int) -> tuple[ArcArrays, NDArray[np.bool_]]:
        """The arcs done, and which of them are rings."""
        in_use = len(self._chains.node) - self._chains.state[SPARE]
        out = ArcArrays(
            corners=np.empty((in_use + n, 2), np.int32),  # the worst: all nodes, and rings repeat one
            starts=np.zeros(n + 1, np.int64),
            sides=np.empty((2, n), np.int64),
            slots=np.full((2, n), -1, np.int64),
            smallest=np.empty(n, np.int64),
        )
        extract(self._chains, out)
        return out, self._chains.done[:n, 1] != 0

    def _make_room(self) -> int:
        """Let the lists hold at least one more row; how many nodes were added."""
        state, hanging, node, slot, spare, done, flags = self._chains
        corners, added = len(hanging), 0
        if len(done) < state[DONE] + DONE_A_CORNER * corners:
            done = np.concatenate([done, np.empty((len(done) + DONE_A_CORNER * corners, 4), np.int64)])
        if len(flags) < state[MET] + corners:
            flags = np.concatenate([flags, np.empty(len(flags) + corners, np.uint8)])
        if state[SPARE] < NODES_A_CORNER * corners:
            added = max(len(node), NODES_A_CORNER * corners)
            # New nodes go under the spare ones: above those lies what this band has taken, to be told as its vertices.
            fresh = np.arange(len(node) + added - 1, len(node) - 1, -1, dtype=np.int32)
            spare = np.concatenate([fresh, spare])
            node = np.concatenate([node, np.zeros((added, 4), np.int32)])
            slot = np.concatenate([slot, np.full(added, -1, np.int64)])
            state[SPARE] += added
        self._chains = Chains(state, hanging, node, slot, spare, done, flags)
        return added
