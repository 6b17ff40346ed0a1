"""The landscape that objects are the hills of: distance to the rim of a thing, or its smoothed scores.

Heights are whole numbers that depend on the pixels within a radius and on nothing else, so bands with that much around
them give the same heights for any cut into bands. The rim is whatever is not the same component: other classes,
nodata, and what lies beyond the raster's frame, where nobody knows that the thing goes on.

distance   min(d, R)², d the exact Euclidean distance in pixels to the center of the nearest pixel of the rim
           (columns first, then the lower envelope of parabolas along rows: Meijster, Roerdink & Hesselink 2000)
scores     the sum of the scores of thing pixels under a tent of (R + 1 - |x|) · (R + 1 - |y|)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Int32s
from geoseg.polygons.survey import ReadRows

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Stretch:
    """A stretch of rows of a painted raster with what is around it."""

    first: int
    """First row of the core."""
    rows: int
    """Rows of the core."""
    top: int
    """Row of the raster that the array begins with; -1: the row above the raster's first."""
    numbers: Int32s
    """(row, 1 + col + 1) component numbers with a frame of NOTHING on both sides."""

    @property
    def core(self) -> slice:
        """Rows of the array that are the core's."""
        return slice(self.first - self.top, self.first - self.top + self.rows)


def stretches(bands: Iterator[tuple[int, Int32s]], height: int, halo: int, rows: int) -> Iterator[Stretch]:
    """Cut a raster into stretches of rows with as many rows around them as there are.

    Above the first and below the last row of the raster there is one row of NOTHING.

    Args:
        bands: as `Survey.painted_bands` yields them.
        height: rows of the raster.
        halo: rows wanted above and below.
        rows: rows of a stretch, at least `halo` lest all be read many times over.
    """
    held: Int32s = np.zeros((0, 0), np.int32)
    top, first = -1, 0
    for at, painted in bands:
        held = np.concatenate([held, painted[1:]]) if len(held) else painted
        if at + len(painted) - 1 == height:
            held = np.concatenate([held, np.full((1, held.shape[1]), NOTHING, np.int32)])
        while first < height and top + len(held) >= min(first + rows + halo, height + 1):
            count = min(rows, height - first)
            yield Stretch(first, count, top, held[: min(first + count + halo, height + 1) - top])
            first += count
            keep = max(-1, first - halo)
            held, top = held[keep - top :], keep


def distance_heights(stretch: Stretch, things: Bools, radius: int) -> Int32s:
    """Squared distances to the rim, cut at the radius.

    Args:
        stretch: with at least radius + 1 rows around it, or to the raster's frame.
        things: (component,) whether it is a thing.
        radius: R in pixels.

    Returns:
        (1 + row + 1, 1 + col + 1) of the core and a pixel around it; 0 where no thing is.
    """
    numbers = stretch.numbers
    steps = np.empty(numbers.shape, np.int32)
    _steps_in_columns(numbers, radius, steps)
    out = np.zeros((stretch.rows + 2, numbers.shape[1]), np.int32)
    _nearest_in_rows(numbers, steps, things, radius, stretch.core.start - 1, out)
    return out


def score_heights(stretch: Stretch, things: Bools, radius: int, scores: NDArray[Any]) -> Int32s:
    """Scores of things under a tent; the most possible is 255 · (radius + 1)⁴.

    Args:
        stretch: with at least radius + 1 rows around it, or to the raster's frame.
        things: (component,) whether it is a thing.
        radius: R in pixels.
        scores: (row, col) 0…255 of those rows of the stretch that lie in the raster.

    Returns:
        as `distance_heights`.
    """
    numbers = stretch.numbers
    inside = np.zeros(numbers.shape, np.int32)
    above = -min(stretch.top, 0)
    inside[above : above + len(scores), 1:-1] = scores
    inside[~np.append(things, False)[numbers]] = 0
    first = stretch.core.start - 1
    summed = tent_sums(inside, radius, slice(first, first + stretch.rows + 2))
    there = np.append(things, False)[numbers[first : first + len(summed)]]
    return np.where(there, np.maximum(summed, 1), np.int32(0))  # a thing without a score is no hole


def tent_sums(values: Int32s, radius: int, rows: slice | None = None) -> Int32s:
    """Sums under a tent of (R + 1 - |x|) · (R + 1 - |y|); what lies outside counts nothing.

    Args:
        values: (row, col) 0…255.
        radius: R, at most 32, lest sums do not fit 31 bits.
        rows: those that are wanted, with a start and a stop; None: all.

    Returns:
        (row, col) of those rows.
    """
    tent = np.concatenate([np.arange(1, radius + 2), np.arange(radius, 0, -1)]).astype(np.int32)
    first, last = (0, len(values)) if rows is None else (rows.start, rows.stop)
    columns = np.zeros((last - first, values.shape[1]), np.int32)
    _tent_in_columns(values, tent, first, columns)
    summed = np.zeros_like(columns)
    _tent_in_rows(columns, tent, summed)
    return summed


def read_around(read_scores: ReadRows, stretch: Stretch, height: int) -> NDArray[Any]:
    """Scores of the rows of a stretch that lie in the raster."""
    return read_scores(max(0, stretch.top), min(stretch.top + len(stretch.numbers), height))


@njit(cache=True, nogil=True)
def _steps_in_columns(numbers: Int32s, radius: int, out: Int32s) -> None:
    """Rows to the nearest pixel of another number above or below, at most the radius."""
    rows, cols = numbers.shape
    out[0] = radius
    for row in range(1, rows):
        for col in range(cols):
            same = numbers[row - 1, col] == numbers[row, col]
            out[row, col] = min(out[row - 1, col] + 1, radius) if same else 1
    for row in range(rows - 2, -1, -1):
        for col in range(cols):
            same = numbers[row + 1, col] == numbers[row, col]
            out[row, col] = min(out[row, col], out[row + 1, col] + 1 if same else 1)


@njit(cache=True, nogil=True)
def _nearest_in_rows(numbers: Int32s, steps: Int32s, things: Bools, radius: int, first: int, out: Int32s) -> None:
    """Each stretch of one thing in a row, with a pixel of the rim at both ends, has distances of its own."""
    cols = numbers.shape[1]
    site, begin = np.empty(cols, np.int64), np.empty(cols, np.int64)
    for row in range(len(out)):
        line, col = numbers[first + row], 1
        while col < cols - 1:
            end = col + 1
            while line[end] == line[col]:  # the frame is another number
                end += 1
            if line[col] != NOTHING and things[line[col]]:
                _envelope(steps[first + row], col - 1, end, radius, site, begin, out[row])
            col = end


@njit(cache=True, nogil=True)
def _envelope(down: Int32s, left: int, right: int, radius: int, site: Ints, begin: Ints, out: Int32s) -> None:
    """Squared distances between two pixels of the rim: the lower envelope of a parabola for each column.

    `site[k]` is the column whose parabola is the lowest from column `begin[k]` on.
    """
    last = 0
    site[0], begin[0] = left, left
    for col in range(left + 1, right + 1):
        own = 0 if col == right else down[col] * down[col]
        while last >= 0 and _parabola(down, left, right, site[last], begin[last]) > (begin[last] - col) ** 2 + own:
            last -= 1
        if last < 0:
            last, site[0] = 0, col
        else:
            old = site[last]
            meet = (col * col - old * old + own - _parabola(down, left, right, old, old)) // (2 * (col - old)) + 1
            if meet <= right:
                last += 1
                site[last], begin[last] = col, meet
    for col in range(right, left, -1):
        if col < right:
            out[col] = min(_parabola(down, left, right, site[last], col), radius * radius)
        if col == begin[last]:
            last -= 1


@njit(cache=True, nogil=True)
def _parabola(down: Int32s, left: int, right: int, site: int, col: int) -> int:
    height = down[site] * down[site] if left < site < right else 0
    return (col - site) ** 2 + height


@njit(cache=True, nogil=True)
def _tent_in_columns(values: Int32s, tent: Int32s, first: int, out: Int32s) -> None:
    radius = len(tent) // 2
    for row in range(len(out)):
        for k in range(len(tent)):
            source = first + row + k - radius
            if 0 <= source < len(values):
                for col in range(values.shape[1]):
                    out[row, col] += tent[k] * values[source, col]


@njit(cache=True, nogil=True)
def _tent_in_rows(values: Int32s, tent: Int32s, out: Int32s) -> None:
    radius, cols = len(tent) // 2, values.shape[1]
    for row in range(len(values)):
        for col in range(cols):
            total = 0
            for k in range(max(0, radius - col), min(len(tent), cols + radius - col)):
                total += tent[k] * values[row, col + k - radius]
            out[row, col] = total
