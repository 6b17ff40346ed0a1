"""The polygons of a class raster as an exact coverage: edges meet, nothing overlaps, nodata stays free."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.components import Components, Ints
from geoseg.polygons.label import Codes, Int32s
from geoseg.polygons.ring_kernels import sort_by_row
from geoseg.polygons.rings import ArcPool, PolygonBatch
from geoseg.polygons.survey import ReadRows, Survey, run_ahead, survey
from geoseg.polygons.trace import Traced, Tracer

_TRACED_AT_ONCE = 1 << 18  # pixels whose numbers and vertices stay in a core's cache


def coverage(
    read_rows: ReadRows,
    surveyed: Survey,
    *,
    final: Ints | None = None,
    code: Int32s | None = None,
    shape_arcs: Callable[[Arcs], Arcs] | None = None,
    see_vertices: Callable[[Int32s], None] | None = None,
    most_bytes: int | None = None,
) -> Iterator[PolygonBatch]:
    """Pass B: trace the boundaries of surveyed components and build their polygons, band by band.

    A polygon is given out with the band in which the sweep has passed its last row. Memory: 8 bytes a component,
    the arcs of the polygons still open, three batches. `shape_arcs` and `see_vertices` are called by one other thread.

    Args:
        read_rows: gives the codes that were surveyed; not called if the survey kept its runs.
        surveyed: what pass A found.
        final: (component,) component that each now belongs to, as `Components.absorbed` takes it; None: its own.
        code: (component,) class codes after that.
        shape_arcs: gives each complete arc the vertices to be written, for both neighbors alike; ends stay, arcs
            keep their order.
        see_vertices: gets (vertex, 2) column and row of all vertices that a stretch of rows holds, also of arcs not
            yet complete, before `shape_arcs` gets those that are; junctions repeat.
        most_bytes: what open polygons and those being made may take; None: there is no limit.

    Yields:
        one batch a band, possibly empty; all components with pixels, each once.

    Raises:
        MemoryLimitError: open polygons take more.
    """
    table = surveyed.components if final is None else surveyed.components.absorbed(final, code)
    pool = ArcPool(table, most_bytes)
    ends, order = _order_by_last_row(table, surveyed.shape[0])
    passed = 0

    def finish(swept: int, traced: tuple[Traced, ...]) -> PolygonBatch:
        nonlocal passed
        for part in traced:
            if see_vertices is not None:
                see_vertices(part.vertices)
            pool.add(part, part.arcs if shape_arcs is None else shape_arcs(part.arcs))
        first, passed = passed, int(ends[swept])
        return pool.emit(np.sort(order[first:passed]).astype(np.int64))

    yield from run_ahead(finish, traced_bands(read_rows, surveyed, final), threads=1)


def trace_array(codes: Codes, nodata: int | None, skip: Collection[int] = ()) -> PolygonBatch:
    """The polygons of a class map in memory, one for each 4-connected component of equal code.

    Args:
        codes: (row, col) uint8, uint16 or int32.
        nodata: code of what is not there; None: all pixels are.
        skip: codes of the classes that get no polygons.
    """

    def read_rows(first: int, last: int) -> Codes:
        return codes[first:last]

    found = survey(read_rows, (codes.shape[0], codes.shape[1]), nodata=nodata, skip=skip, keep_runs=True)
    pool = ArcPool(found.components)
    for _, traced in traced_bands(read_rows, found, None):
        for part in traced:
            pool.add(part, part.arcs)
    return pool.emit(np.arange(len(found.components)))


def traced_bands(read_rows: ReadRows, surveyed: Survey, final: Ints | None) -> Iterator[tuple[int, tuple[Traced, ...]]]:
    """How many rows of pixels the sweep has passed, lower edge included, and the arcs completed since.

    Bands are read here, painted by threads and traced, in order, by one more.
    """
    height, width = surveyed.shape
    tracer = Tracer(width)
    step = max(1, _TRACED_AT_ONCE // width)

    def framed() -> Iterator[tuple[int, Int32s]]:
        for first_row, painted in surveyed.painted_bands(read_rows, final):
            yield first_row, painted
        yield height, np.stack([painted[-1], np.full(width + 2, NOTHING, np.int32)])

    def trace(first_row: int, painted: Int32s) -> tuple[int, tuple[Traced, ...]]:
        starts = range(0, len(painted) - 1, step)
        parts = tuple(tracer.trace(painted[start : start + step + 1], first_row + start) for start in starts)
        return first_row + len(painted) - 2, parts

    return run_ahead(trace, framed(), threads=1)


def _order_by_last_row(table: Components, height: int) -> tuple[Ints, Int32s]:
    """(row + 1,) how many components end above each row, and (component,) those with pixels, ordered by that."""
    ends = np.zeros(height + 1, np.int64)
    order: NDArray[np.int32] = np.empty(int(np.count_nonzero(table.n_pixels)), np.int32)
    sort_by_row(table.last_row, table.n_pixels, ends, order)
    return ends, order
