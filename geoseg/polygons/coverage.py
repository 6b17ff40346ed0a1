"""The polygons of a class raster as an exact coverage: edges meet, nothing overlaps, nodata stays free."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.components import Components, Ints, ReadRows, Survey, survey
from geoseg.polygons.label import Codes, Int32s
from geoseg.polygons.ring_kernels import sort_by_row
from geoseg.polygons.rings import ArcPool, PolygonBatch
from geoseg.polygons.trace import Tracer

_TRACED_AT_ONCE = 1 << 18  # pixels whose numbers and vertices stay in a core's cache


def coverage(
    read_rows: ReadRows,
    surveyed: Survey,
    *,
    final: Ints | None = None,
    code: Int32s | None = None,
    shape_arcs: Callable[[Arcs], Arcs] | None = None,
    see_vertices: Callable[[Int32s], None] | None = None,
) -> Iterator[PolygonBatch]:
    """Pass B: trace the boundaries of surveyed components and build their polygons, band by band.

    A polygon is given out with the band in which the sweep has passed its last row. Memory: 8 bytes a component
    and the arcs of the polygons still open.

    Args:
        read_rows: gives the codes that were surveyed; not called if the survey kept its runs.
        surveyed: what pass A found.
        final: (component,) component that each now belongs to, as `Components.absorbed` takes it; None: its own.
        code: (component,) class codes after that.
        shape_arcs: gives each complete arc the vertices to be written, for both neighbors alike; ends stay, arcs
            keep their order.
        see_vertices: gets (vertex, 2) column and row of all vertices that a stretch of rows holds, also of arcs not
            yet complete, before `shape_arcs` gets those that are; junctions repeat.

    Yields:
        one batch a band, possibly empty; all components with pixels, each once.
    """
    height, width = surveyed.shape
    table = surveyed.components if final is None else surveyed.components.absorbed(final, code)
    pool, tracer = ArcPool(table), Tracer(width)
    ends, order = _order_by_last_row(table, height)

    def sweep(numbers: Int32s, first_row: int) -> None:
        traced = tracer.trace(numbers, first_row)
        if see_vertices is not None:
            see_vertices(traced.vertices)
        pool.add(traced, traced.arcs if shape_arcs is None else shape_arcs(traced.arcs))

    step = max(1, _TRACED_AT_ONCE // width)
    passed = 0
    for first_row, painted in surveyed.painted_bands(read_rows, final):
        for start in range(0, len(painted) - 1, step):
            sweep(painted[start : start + step + 1], first_row + start)
        last = int(ends[first_row + len(painted) - 2])  # the lower edge of the band's last row is not swept yet
        yield pool.emit(np.sort(order[passed:last]))
        passed = last
    sweep(np.stack([painted[-1], np.full(width + 2, NOTHING, np.int32)]), height)
    yield pool.emit(np.sort(order[passed:]))


def trace_array(codes: Codes, nodata: int | None, skip: Collection[int] = ()) -> PolygonBatch:
    """The polygons of a class map in memory, one for each 4-connected component of equal code.

    Args:
        codes: (row, col) uint8, uint16 or int32.
        nodata: code of what is not there; None: all pixels are.
        skip: codes of the classes that get no polygons.
    """
    found = survey(
        lambda first, last: codes[first:last], (codes.shape[0], codes.shape[1]), nodata=nodata, skip=skip, keep_runs=True
    )
    return join_batches(list(coverage(lambda first, last: codes[first:last], found)))


def join_batches(batches: list[PolygonBatch]) -> PolygonBatch:
    """One batch of all polygons, ordered by component.

    Args:
        batches: at least one.
    """
    numbers = np.concatenate([batch.numbers for batch in batches])
    order = np.argsort(numbers, kind="stable")
    corners = np.concatenate([batch.corners for batch in batches])
    ring_starts = _joined([batch.ring_starts for batch in batches])
    polygon_starts = _joined([batch.polygon_starts for batch in batches])
    rings, polygon_starts = _reordered(polygon_starts, order)
    vertices, ring_starts = _reordered(ring_starts, rings)
    rows = [batch.components for batch in batches]
    table = Components(*(np.concatenate([getattr(row, name) for row in rows]) for name in Components.__annotations__))
    held = max(batch.open_bytes for batch in batches)
    return PolygonBatch(corners[vertices], ring_starts, polygon_starts, numbers[order], table.take(order), held)


def _joined(starts: list[Ints]) -> Ints:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(part) for part in starts]))])


def _reordered(starts: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Which items to take so that their groups come in another order, and the groups' new starts."""
    sizes = np.diff(starts)[order]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return np.repeat(starts[:-1][order] - ends[:-1], sizes) + np.arange(ends[-1]), ends


def _order_by_last_row(table: Components, height: int) -> tuple[Ints, Int32s]:
    """(row + 1,) how many components end above each row, and (component,) those with pixels, ordered by that."""
    ends = np.zeros(height + 1, np.int64)
    order: NDArray[np.int32] = np.empty(int(np.count_nonzero(table.n_pixels)), np.int32)
    sort_by_row(table.last_row, table.n_pixels, ends, order)
    return ends, order
