"""The compiled loops behind an area on a lattice; `clip_area` says what they are for."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@njit(cache=True, nogil=True)
def strip_span(edge: Ints, top: int, bottom: int) -> tuple[int, int, int]:
    """Smallest and largest x that an edge has between two heights, exactly: multiples of 1 / the third number.

    Args:
        edge: x, y of both ends, the upper one first.
        top: upper height of the strip, which the edge reaches; one that is level lies in it.
        bottom: lower height.
    """
    dx, dy = edge[2] - edge[0], edge[3] - edge[1]
    if dy == 0:
        return min(edge[0], edge[2]), max(edge[0], edge[2]), 1
    a = edge[0] * dy + (max(edge[1], top) - edge[1]) * dx
    b = edge[0] * dy + (min(edge[3], bottom) - edge[1]) * dx
    return min(a, b), max(a, b), dy


@njit(cache=True, nogil=True)
def downward(edge: Ints) -> Ints:
    """The edge with its upper end first."""
    out = edge.copy()
    if edge[1] > edge[3]:
        out[:2], out[2:] = edge[2:], edge[:2]
    return out


@njit(cache=True, nogil=True)
def bin_edges(edges: Ints, size: int, shape: tuple[int, int], starts: Ints, members: Ints) -> None:
    """Put edges into the square bins that they pass, upper and left borders included.

    Args:
        edges: (edge, 4) x, y of both ends.
        size: side of a bin.
        shape: rows and columns of bins; with one column an edge goes into each row that it passes, whatever its x.
        starts: (bin + 1,) zeros: gets the number of members of each bin at its own place + 1; else their first places.
        members: (member,) gets edges, bin by bin, unless it is empty.
    """
    n_rows, n_cols = shape
    for i in range(len(edges)):
        edge = downward(edges[i])
        for row in range(max(edge[1] // size, 0), min(edge[3] // size, n_rows - 1) + 1):
            first, last = 0, 0
            if n_cols > 1:
                low, high, parts = strip_span(edge, row * size, (row + 1) * size)
                first, last = low // (parts * size), high // (parts * size)
            for col in range(max(first, 0), min(last, n_cols - 1) + 1):
                place = row * n_cols + col
                if len(members):
                    members[starts[place]] = i
                    starts[place] += 1
                else:
                    starts[place + 1] += 1


@njit(cache=True, nogil=True)
def mark_pixels(
    edges: Ints,
    starts: Ints,
    members: Ints,
    size: int,
    pixel: int,
    corner: tuple[int, int],
    passed: Bools,
    flips: NDArray[np.uint8],
) -> None:
    """Mark the pixels whose open interior an edge passes, and where inside and outside change along the rows' middles.

    Args:
        edges: (edge, 4) x, y of both ends.
        starts: (bin row + 1,) first member of each.
        members: edges of each bin row.
        size: pixels that a bin row has.
        pixel: side of a pixel.
        corner: row and column of the window's first pixel.
        passed: (row, col) False: gets True.
        flips: (row, col + 1) zeros: gets 1 where the number of edges between a pixel's center and the one before it is
            odd; the first column counts all edges west of it.
    """
    height, width = passed.shape
    top, left = corner
    for bin_row in range(max(top // size, 0), min((top + height - 1) // size, len(starts) - 2) + 1):
        low, high = max(bin_row * size, top), min((bin_row + 1) * size, top + height) - 1
        for place in range(starts[bin_row], starts[bin_row + 1]):
            edge = downward(edges[members[place]])
            dx, dy = edge[2] - edge[0], edge[3] - edge[1]
            if dy == 0 and edge[1] % pixel == 0:
                continue
            last = (edge[3] - 1) // pixel if dy else edge[3] // pixel
            for row in range(max(low, edge[1] // pixel), min(high, last) + 1):
                west, east, parts = strip_span(edge, row * pixel, (row + 1) * pixel)
                first, end = west // (parts * pixel), -(-east // (parts * pixel))
                passed[row - top, max(first - left, 0) : max(end - left, 0)] = True
                middle = row * pixel + pixel // 2
                if edge[1] <= middle < edge[3]:
                    x = edge[0] * dy + (middle - edge[1]) * dx
                    col = (x - dy * (pixel // 2)) // (dy * pixel) + 1
                    flips[row - top, min(max(col - left, 0), width)] ^= 1
