"""The compiled loops of cutting; `cut` says how they work."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Int32s

Ints = NDArray[np.int64]

WHOLE = 31
"""Level of the one block that holds the whole raster: what is on this level is not cut."""
_LEVEL, _ROW = 58, 29  # bits of a block's key above its row and above its column


class Cuts(NamedTuple):
    """Which blocks of which components are split further (a tuple, as the compiler knows no other record)."""

    starts: Ints
    """(component + 1,) first entry of each component, then the number of entries."""
    blocks: Ints
    """(entry,) keys of blocks, ascending within a component."""
    levels: NDArray[np.int8]
    """(entry,) level of the blocks that it is split into."""


class Outline(NamedTuple):
    """What is counted of each polygon's boundary; all arrays are (number,)."""

    n_vertices: Int32s
    """Vertices of all rings, turns and junctions, the repeated last ones not counted."""
    west: Int32s
    """Its smallest column of pixels."""
    east: Int32s
    """The column after its last one."""


@njit(cache=True, nogil=True)
def block_key(level: int, row: int, col: int) -> int:
    """Key of the block that holds a pixel; levels up to WHOLE, fewer than 2²⁹ rows and columns."""
    return (level << _LEVEL) | ((row >> level) << _ROW) | (col >> level)


@njit(cache=True, nogil=True)
def level_at(cuts: Cuts, component: int, row: int, col: int) -> int:
    """Level of the block that a component's pixel belongs to."""
    level, first, end = WHOLE, cuts.starts[component], cuts.starts[component + 1]
    while first < end:
        key = block_key(level, row, col)
        entry = first + np.searchsorted(cuts.blocks[first:end], key)
        if entry == end or cuts.blocks[entry] != key:
            break
        level = cuts.levels[entry]
    return level


@njit(cache=True, nogil=True)
def block_keys(cuts: Cuts, components: Ints, rows: Ints, cols: Ints, out: Ints) -> None:
    """Fill `out` (pixel,) with the keys of the blocks that some components' pixels belong to."""
    for i in range(len(out)):
        row, col = int(rows[i]), int(cols[i])
        out[i] = block_key(level_at(cuts, int(components[i]), row, col), row, col)


@njit(cache=True, nogil=True)
def paint_cells(cuts: Cuts, numbers: Int32s, first_row: int, out: Ints) -> None:
    """Turn component numbers into codes that are equal within, and differ between neighboring, cells.

    A cell is the part of a component in one block. Neighboring blocks of one level differ in the parity of row +
    column, so component, level and parity tell any two cells apart that share an edge.

    Args:
        cuts: what is split.
        numbers: (row, col) component numbers.
        first_row: row of the raster that the first one is.
        out: (row, col) gets the codes; NOTHING where no component is.
    """
    for i in range(len(numbers)):
        row = first_row + i
        before, level, end = NOTHING, WHOLE, 0
        for col in range(numbers.shape[1]):
            component = int(numbers[i, col])
            if component == NOTHING:
                out[i, col] = NOTHING
            else:
                if component != before or col >= end:
                    level = level_at(cuts, component, row, col)
                    end = ((col >> level) + 1) << level
                parity = ((row >> level) + (col >> level)) & 1
                out[i, col] = (component << 6) | (level << 1) | parity
            before = component


@njit(cache=True, nogil=True)
def count_vertices(numbers: Int32s, outline: Outline) -> None:
    """Count the vertices at the corners above each row of a band.

    Around a corner each stretch of equal pixels is one passage of a ring; where a line runs straight on, between two
    and two, there is no vertex.

    Args:
        numbers: (1 + row, 1 + col + 1) with the row above and a frame, as `Survey.painted_bands` gives them.
        outline: counted on.
    """
    for row in range(1, len(numbers)):
        nw, sw = numbers[row - 1, 0], numbers[row, 0]
        for col in range(numbers.shape[1] - 1):
            ne, se = numbers[row - 1, col + 1], numbers[row, col + 1]
            if not ((nw == sw and ne == se) or (nw == ne and sw == se)):
                _pass(outline, nw, sw, col)
                _pass(outline, ne, nw, col)
                _pass(outline, se, ne, col)
                _pass(outline, sw, se, col)
            nw, sw = ne, se


@njit(cache=True, nogil=True)
def _pass(outline: Outline, number: int, before: int, col: int) -> None:
    if number != before and number != NOTHING:  # noqa: PLR1714 (numba would build a set each time)
        outline.n_vertices[number] += 1
        outline.west[number] = min(outline.west[number], col)
        outline.east[number] = max(outline.east[number], col)
