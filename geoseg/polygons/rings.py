"""From arcs to polygons: arcs wait in a pool until the polygons on both sides are written.

Each arc has two *halves*, 2 · arc walks it as it is and has its left component on the left, 2 · arc + 1 walks it
backwards and has the right one there. A component's halves link up to its rings: at the junction where a half
arrives, the next one is the first boundary line clockwise, so the ring turns as far left as it can.

    nw │ ne     A half that arrives from the west with the component at nw goes on to the north; where no line goes
    ───┼───     north (ne is the component, too), to the east. Only where nw and se are one component, but ne and sw
    sw │ se     are not, it crosses over to the south: exterior and hole then touch in the junction, as a valid
                polygon's rings may, instead of being one ring that touches itself, which none may.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import GeometryType

from geoseg.errors import MemoryLimitError
from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.components import Components
from geoseg.polygons.growing import Growing
from geoseg.polygons.ring_kernels import PENDING, Web, copy_rings, forget_gone, link_halves, place_slots, walk_rings
from geoseg.polygons.trace import Traced

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
_WORTH_COMPACTING = 1 << 14
BYTES_PER_ARC = 76
"""What `ArcPool` holds of an arc besides its vertices, its share of junctions included."""
BYTES_PER_WAITING_VERTEX = 8
BYTES_PER_HALF = 8
"""What `ArcPool.emit` needs for each half in the pool."""
BYTES_PER_VERTEX = 96
"""What becomes of a vertex at once when its polygon is made: pixels, coordinates, measures, WKB, a row of a file."""


@dataclass(frozen=True)
class PolygonBatch:
    """Finished polygons in pixels, ordered by component; a vertex of each stands at every junction on its rings."""

    corners: NDArray[Any]
    """(vertex, 2) column and row of pixel corners; rings repeat their first vertex. Exteriors have the component on
    the left: counter-clockwise on the screen, so in map axes where the transform is north-up."""
    ring_starts: Ints
    """(ring + 1,) first vertex of each ring, then the number of vertices."""
    polygon_starts: Ints
    """(polygon + 1,) first ring of each polygon, its exterior, then the number of rings."""
    numbers: Ints
    """(polygon,) component number, ascending."""
    components: Components
    """Their rows of the component table."""
    open_bytes: int = 0
    """Memory that the arcs of all open polygons took when this batch was made."""
    along_aoi: Bools | None = None
    """(vertex,) where polygons were cut: whether the edge that begins there runs along the area of interest."""

    def __post_init__(self) -> None:
        if self.polygon_starts[-1] != len(self.ring_starts) - 1 or self.ring_starts[-1] != len(self.corners):
            raise ValueError("a batch is inconsistent: offsets do not end at the number of rings and vertices.")
        if not len(self) == len(self.numbers) == len(self.components):
            raise ValueError(f"{len(self.numbers)} numbers, {len(self.components)} components, {len(self)} polygons.")

    def __len__(self) -> int:
        return len(self.polygon_starts) - 1

    def geometry(self) -> NDArray[np.object_]:
        """(polygon,) shapely polygons in pixels: x is the column, y the row."""
        if not len(self):
            return np.zeros(0, object)
        offsets = (self.ring_starts, self.polygon_starts)
        with _collecting_paused():
            return np.asarray(shapely.from_ragged_array(GeometryType.POLYGON, self.corners.astype(np.float64), offsets))


@contextmanager
def _collecting_paused() -> Iterator[None]:
    """No garbage collection: every thousand new geometries would have it look for cycles, which they cannot be in."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class ArcPool:
    """Arcs that some polygon still needs."""

    def __init__(self, components: Components, most_bytes: int | None = None) -> None:
        """An empty pool for the polygons of these components.

        Args:
            components: the table.
            most_bytes: what the arcs and the polygons being made of them may take; None: there is no limit.
        """
        self._components, self._most_bytes = components, most_bytes
        self._head = np.full(len(components), -1, np.int32)
        self._corners, self._starts = Growing.empty(np.int32, 2), Growing(np.zeros(1, np.int64))
        self._sides, self._slots = Growing.empty(np.int64, 2), Growing.empty(np.int64, 2)
        self._smallest, self._next = Growing.empty(np.int64), Growing.empty(np.int32, 2)
        self._gone = Growing.empty(np.bool_, 2)
        self._serial, self._edges = Growing.empty(np.int64), Growing.empty(np.uint8)
        self._leaving = Growing.empty(np.int32, 4)

    def __len__(self) -> int:
        return len(self._smallest)

    @property
    def nbytes(self) -> int:
        """Bytes that the pool holds."""
        return sum(column.nbytes for column in vars(self).values() if isinstance(column, Growing))

    def add(self, traced: Traced, arcs: Arcs) -> None:
        """Take in the arcs of a band.

        Args:
            traced: as they were traced; whatever decides how rings hang together is taken from here.
            arcs: the same arcs, in the same order, with the vertices to be written.

        Raises:
            MemoryLimitError: the arcs of the polygons still open take more than they may.
        """
        known = len(self._serial)
        self._serial.extend(traced.first_junction + np.arange(len(traced.junctions)))
        self._edges.extend(traced.junctions)
        self._leaving.extend(np.full((len(traced.junctions), 4), PENDING, np.int32))
        slots = np.stack([traced.begins, traced.ends], axis=1)
        place_slots(slots.reshape(-1), self._serial.values[:known], traced.first_junction)
        sides = np.stack([arcs.left, arcs.right], axis=1)
        self._put(arcs.corners, arcs.starts, sides, slots, traced.smallest, sides == NOTHING)
        self._check(self.nbytes, "the arcs of polygons still open")

    def _check(self, needed: int, what: str) -> None:
        if self._most_bytes is not None and needed > self._most_bytes:
            raise MemoryLimitError(
                f"{what} need {needed / 1e6:.1f} MB, {self._most_bytes / 1e6:.1f} MB of memory are left for them: cut "
                "large polygons (a smaller --max-vertices), drop small ones (--mmu) or allow more (--max-memory)."
            )

    def _put(self, corners: NDArray[Any], starts: Ints, sides: Ints, slots: Ints, smallest: Ints, gone: Bools) -> None:
        first = len(self)
        self._starts.extend(len(self._corners) + starts[1:])
        self._corners.extend(corners)
        self._sides.extend(sides)
        self._gone.extend(gone)
        self._slots.extend(slots)
        self._smallest.extend(smallest)
        self._next.extend(np.empty(sides.shape, np.int32))
        link_halves(self._web(), first)

    def _web(self) -> Web:
        return Web(
            self._starts.values,
            self._sides.values,
            self._slots.values,
            self._smallest.values,
            self._gone.values,
            self._next.values,
            self._head,
            self._edges.values,
            self._leaving.values,
        )

    def emit(self, numbers: Ints) -> PolygonBatch:
        """The polygons of components all of whose arcs are here; each only once.

        Args:
            numbers: (polygon,) component numbers, ascending.

        Raises:
            MemoryLimitError: the polygons, or one of them, are too large for the memory.
        """
        self._check(self.nbytes + 2 * BYTES_PER_HALF * len(self), "the arcs of polygons still open")
        order, ring_starts = np.empty((2, 2 * len(self) + 1), np.int32)  # the worst: each half is a ring of its own
        polygon_starts = np.zeros(len(numbers) + 1, np.int64)
        n_rings, n_vertices = walk_rings(self._web(), numbers, order, ring_starts, polygon_starts)
        self._check(self.nbytes + BYTES_PER_VERTEX * n_vertices, f"polygons with {n_vertices} vertices")
        corners = np.empty((n_vertices, 2), self._corners.values.dtype)
        vertex_starts = np.zeros(n_rings + 1, np.int64)
        copy_rings(order, ring_starts, self._starts.values, self._corners.values, corners, vertex_starts)
        rows, held = self._components.take(numbers), self.nbytes
        self._compact()
        return PolygonBatch(corners, vertex_starts, polygon_starts, numbers, rows, held)

    def _compact(self) -> None:
        """Forget arcs written on both sides, and junctions that only such meet, once they are most of the pool."""
        gone = self._gone.values
        if gone.size < _WORTH_COMPACTING or np.count_nonzero(gone) < 0.75 * gone.size:
            return
        arcs, corners, junctions = forget_gone(self._web(), self._corners.values, self._serial.values)
        for column, n in (
            *((column, arcs) for column in (self._sides, self._slots, self._smallest, self._gone, self._next)),
            *((column, junctions) for column in (self._serial, self._edges, self._leaving)),
            (self._starts, arcs + 1),
            (self._corners, corners),
        ):
            column.keep(n)
        link_halves(self._web(), 0)
