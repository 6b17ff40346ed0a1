"""Polygons with too many vertices are cut along a fixed power-of-two grid of pixels, before they are traced.

What is cut is the map of numbers, not the polygons: a component with more vertices than allowed is split into the
4-connected pieces that it has in the blocks of a grid. So a cut is a boundary line as any other. Its ends are
junctions and thereby vertices of all neighbors, and what is simplified or smoothed afterwards keeps the coverage valid.

Blocks of level k have 2^k × 2^k pixels, the first corner is the raster's origin. A piece of n > N vertices and an
extent of e pixels is split by blocks of level ⌈log₂ e⌉ - max(1, ⌈log₄(n / N)⌉): smaller than the piece, and, if its
vertices were spread evenly, small enough. Then all is counted again, as a cut's ends are vertices of the neighbors,
too, until no piece has more than N. One pixel has 4 vertices, nothing but its corners, so N = 4 is always reached.
Neither bands nor order enter this, so the parts do not depend on them.

      │           │
    ──●═══════════●──     the pieces of a component in the four blocks around; its cuts (═, ║) end in junctions (●)
      │     ║     │
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError, UsageError
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.components import Components, Ints
from geoseg.polygons.cut_kernels import Cuts, Outline, block_keys, count_vertices, paint_cells
from geoseg.polygons.label import Int32s
from geoseg.polygons.rings import PolygonBatch
from geoseg.polygons.survey import ReadRows, Survey, survey

FEWEST = 4
"""Vertices of one pixel: no limit can be lower."""
BYTES_PER_COMPONENT = 140
"""What `cut` holds besides the survey: its own, the parts' table, their outlines."""
_LARGEST = 1 << 29


@dataclass(frozen=True)
class Parts:
    """Components, those with too many vertices in parts; `coverage` takes them as it takes components.

        for batch in coverage(parts.read_rows, parts.surveyed, final=parts.final, code=parts.code, …):
            batch = parts.described(batch)

    Arcs name parts, so `Lenses` counts on `parts.table.last_row`.
    """

    surveyed: Survey
    read_rows: ReadRows
    """Gives what was surveyed: in row order, from the first row again as often as wanted."""
    final: Ints | None
    """As `coverage` takes it; None once something was cut."""
    code: Int32s | None
    """As `coverage` takes it."""
    owner: Ints
    """(part,) number of the component that it is a part of."""
    components: Components
    """What the parts belong to."""

    @property
    def table(self) -> Components:
        """The parts' own table: pixels, first pixel and last row of each part, the class of its component."""
        if self.final is None:
            return self.surveyed.components
        return self.surveyed.components.absorbed(self.final, self.code)

    def described(self, batch: PolygonBatch) -> PolygonBatch:
        """The batch with the rows of whole components: parts share first pixel, number of pixels and score."""
        return replace(batch, components=self.components.take(self.owner[batch.numbers]))


def cut(
    read_rows: ReadRows, surveyed: Survey, most: int, *, final: Ints | None = None, code: Int32s | None = None
) -> Parts:
    """Split components whose polygons would have too many vertices.

    Vertices are counted as traced, neither simplified nor smoothed: turns and junctions, in all rings, without the
    repetition that closes a ring. Simplification only lowers the number; smoothing may double it.

    Time: one pass over the raster to count, and for each round of cutting (one to ten) two passes that label twice.
    Memory: 28 bytes a part besides the survey's own, and 9 for each block that is split further.

    Args:
        read_rows: gives the codes that were surveyed.
        surveyed: what pass A found.
        most: vertices that a polygon may have.
        final: (component,) component that each now belongs to, as `coverage` takes it.
        code: (component,) class codes after that.

    Raises:
        UsageError: fewer than 4 vertices.
        InputError: the raster has 2²⁹ rows or columns, or more parts than 32 bits can count.
    """
    if most < FEWEST:
        raise UsageError(f"--max-vertices {most}: one pixel has {FEWEST} vertices, give at least as many.")
    if max(surveyed.shape) >= _LARGEST:
        raise InputError(f"a raster of {surveyed.shape[0]} × {surveyed.shape[1]} pixels cannot be cut: take --aoi.")
    table = surveyed.components if final is None else surveyed.components.absorbed(final, code)
    whole = _Whole(read_rows, surveyed, final)
    parts = Parts(surveyed, read_rows, final, code, np.arange(len(table)), table)
    cuts = Cuts(np.zeros(len(table) + 1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int8))
    while True:
        outline = _outline(parts)
        if outline.n_vertices.max(initial=0) <= most:
            return parts
        cuts = _cut_further(cuts, parts, outline, most)
        parts = _split(whole, table, cuts)


@dataclass(frozen=True)
class _Whole:
    """The raster before it is cut."""

    read_rows: ReadRows
    surveyed: Survey
    final: Ints | None

    def rows(self) -> ReadRows:
        """(row, col) final component numbers, for a reader that goes down in bands and begins again at the top."""
        bands: Iterator[tuple[int, Int32s]] = iter(())

        def read(first: int, last: int) -> Int32s:
            nonlocal bands
            if first == 0:
                bands = self.surveyed.painted_bands(self.read_rows, self.final)
            at, painted = next(bands)
            if (at, at + len(painted) - 1) != (first, last):
                raise ValueError(f"rows {first} … {last - 1} were read out of order: the next are from {at} on.")
            if last == self.surveyed.shape[0]:
                next(bands, None)  # lets its threads go
            return painted[1:, 1:-1]

        return read


def _split(whole: _Whole, table: Components, cuts: Cuts) -> Parts:
    """Survey the cells: 4-connected pieces of components within their blocks."""
    read_numbers = whole.rows()
    numbers = np.zeros((0, 0), np.int32)

    def read_cells(first: int, last: int) -> Ints:
        nonlocal numbers
        numbers = read_numbers(first, last)
        cells = np.empty(numbers.shape, np.int64)
        paint_cells(cuts, numbers, first, cells)
        return cells

    def read_owners(first: int, last: int) -> Int32s:  # noqa: ARG001 (the rows that read_cells has just read)
        return numbers

    # An owner is what its number sums to over a part, divided by the number of pixels.
    shape, band_rows = whole.surveyed.shape, whole.surveyed.band_rows
    found = survey(read_cells, shape, nodata=NOTHING, band_rows=band_rows, read_scores=read_owners)
    owner = found.components.score_sum // found.components.n_pixels
    components = replace(found.components, code=table.code[owner], score_sum=np.zeros(len(owner), np.int64))
    return Parts(replace(found, components=components), read_cells, None, None, owner, table)


def _outline(parts: Parts) -> Outline:
    """Count the vertices of all parts in one pass."""
    n, (_, width) = len(parts.owner), parts.surveyed.shape
    outline = Outline(np.zeros(n, np.int32), np.full(n, width, np.int32), np.zeros(n, np.int32))
    painted = np.full((1, width + 2), NOTHING, np.int32)
    for _, painted in parts.surveyed.painted_bands(parts.read_rows, parts.final):
        count_vertices(painted, outline)
    count_vertices(np.stack([painted[-1], np.full(width + 2, NOTHING, np.int32)]), outline)
    return outline


def _cut_further(cuts: Cuts, parts: Parts, outline: Outline, most: int) -> Cuts:
    """The cuts and those of all blocks that hold a part with too many vertices."""
    large = np.flatnonzero(outline.n_vertices > most)
    owner, table = parts.owner[large], parts.table
    rows, cols = np.divmod(table.first[large], parts.surveyed.shape[1])
    height, width = table.last_row[large] + 1 - rows, outline.east[large] - outline.west[large]
    smaller = np.maximum(1, np.ceil(np.log2(outline.n_vertices[large] / most) / 2))
    wanted = np.maximum(0, np.ceil(np.log2(np.maximum(height, width))) - smaller).astype(np.int8)
    keys = np.empty(len(large), np.int64)
    block_keys(cuts, owner, rows, cols, keys)
    # Several parts of a component may lie in one block: the coarsest wish counts, the others come in the next round.
    order = np.lexsort((-wanted, keys, owner))
    owner, keys, wanted = owner[order], keys[order], wanted[order]
    first: NDArray[np.bool_] = np.append(True, (np.diff(owner) != 0) | (np.diff(keys) != 0))
    owners = np.concatenate([np.repeat(np.arange(len(cuts.starts) - 1), np.diff(cuts.starts)), owner[first]])
    blocks, levels = np.concatenate([cuts.blocks, keys[first]]), np.concatenate([cuts.levels, wanted[first]])
    order = np.lexsort((blocks, owners))
    starts = np.searchsorted(owners[order], np.arange(len(cuts.starts)))
    return Cuts(starts.astype(np.int64), blocks[order], levels[order])
