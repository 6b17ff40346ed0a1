"""Objects around the peaks of one class's score: crowns in a canopy, whose classes have no line between them.

The score is smoothed: its mean under a tent of (S + 1 - |x|) · (S + 1 - |y|), over valid pixels. A peak is a pixel of a
thing class whose mean is at least `least` and higher than that of every thing pixel within `apart` pixels (as high: if
it comes first in row order). From all peaks at once objects grow over thing pixels, edge by edge, in rounds: a pixel
that is still free goes to the peak that one of its neighbors was given to in the round before, if that is at most
`reach` pixels away (of several: to the peak that comes first). After as many rounds as it takes to fill a disc, √2 ·
reach, what is free is no object. Every object is 4-connected: a pixel belongs to the peak of a neighbor.

A pixel's object depends on nothing but the pixels within √2 · reach + apart + S rows and columns: in a round it depends
on its neighbors, so after all of them on peaks no more steps away than there are rounds; whether a pixel is a peak is
told by means within `apart`, and those by scores within S. So no cut into stretches with that much around them shows.

An object's number is its peak's place on a lattice that repeats every 2 · reach + 2 pixels. Pixels that share an edge
have peaks at most 2 · reach + 1 apart, so neighboring objects differ, and one object has one number in all stretches:
there is no table of peaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Int32s
from geoseg.polygons.landscape import Bools, Ints, Stretch, tent_sums


@dataclass(frozen=True)
class PeakRule:
    """What is a peak, and what belongs to it; lengths in pixels."""

    smooth: int
    """S: half the width of the tent; 0: scores as they are."""
    apart: int
    """Within this distance of a peak there is no other."""
    reach: int
    """Most distance of an object's pixel from its peak."""
    least: float
    """Least smoothed score of a peak, 0 … 1."""

    @property
    def rounds(self) -> int:
        """Steps over pixel edges to the farthest pixel of a disc."""
        return isqrt(2 * self.reach**2)

    @property
    def halo(self) -> int:
        """Rows that must be known around a stretch."""
        return self.smooth + self.apart + self.rounds

    @property
    def period(self) -> int:
        """After so many rows or columns the numbers of objects repeat."""
        return 2 * self.reach + 2


def smoothed(scores: NDArray[Any], radius: int) -> Int32s:
    """Means under the tent in steps of 1 / (255 · (radius + 1)⁴).

    Args:
        scores: (row, col) 1…255, 0 where nobody knows.
        radius: S, at most 32, lest sums do not fit 31 bits.

    Returns:
        (row, col); 0 where nothing valid is near.
    """
    values = np.ascontiguousarray(scores, np.int32)
    means = tent_sums(values, radius).astype(np.int64)
    means *= (radius + 1) ** 4
    weights = tent_sums((values > 0).astype(np.int32), radius)
    means //= np.maximum(weights, 1, out=weights)
    return means.astype(np.int32)


def around_peaks(stretch: Stretch, things: Bools, scores: NDArray[Any], rule: PeakRule) -> Int32s:
    """Objects of a stretch.

    Args:
        stretch: with at least `rule.halo` rows around it, or to the raster's frame.
        things: (component,) whether it is of a thing class.
        scores: (row, col) 0…255 of those rows of the stretch that lie in the raster.
        rule: what is a peak, and what belongs to it.

    Returns:
        (row, col) place of the peak on the lattice, row · period + col, of the core's pixels; NOTHING without one.
    """
    numbers = stretch.numbers
    known = np.zeros(numbers.shape, np.uint8)
    above = -min(stretch.top, 0)
    known[above : above + len(scores), 1:-1] = scores
    there = np.append(things, False)[numbers]
    heights = smoothed(known, rule.smooth)
    least = int(np.ceil(rule.least * 255 * (rule.smooth + 1) ** 4))
    peaks = _peaks(heights, there, rule.apart, max(least, 1))
    labels = np.full(numbers.shape, NOTHING, np.int32)
    labels[peaks[:, 0], peaks[:, 1]] = np.arange(len(peaks), dtype=np.int32)
    _grow(labels, peaks, there, rule.reach, rule.rounds)
    period = rule.period
    places = (peaks[:, 0] + stretch.top) % period * period + (peaks[:, 1] - 1) % period
    core = np.ascontiguousarray(labels[stretch.core, 1:-1])
    return np.append(places, NOTHING).astype(np.int32)[core]


@njit(cache=True, nogil=True)
def _peaks(heights: Int32s, there: Bools, apart: int, least: int) -> Ints:
    """(peak, 2) row and column in row order; rows and columns of the frame are never there."""
    rows, cols = heights.shape
    found, n = np.empty((64, 2), np.int64), 0
    for row in range(rows):
        for col in range(cols):
            if there[row, col] and heights[row, col] >= least and _is_peak(heights, there, row, col, apart):
                if n == len(found):
                    larger = np.empty((2 * n, 2), np.int64)
                    larger[:n] = found
                    found = larger
                found[n] = row, col
                n += 1
    return found[:n]


@njit(cache=True, nogil=True)
def _is_peak(heights: Int32s, there: Bools, row: int, col: int, apart: int) -> bool:
    own = heights[row, col]
    for y in range(max(0, row - apart), min(len(heights), row + apart + 1)):
        for x in range(max(0, col - apart), min(heights.shape[1], col + apart + 1)):
            if there[y, x] and (y - row) ** 2 + (x - col) ** 2 <= apart * apart:
                other = heights[y, x]
                if other > own or (other == own and (y < row or (y == row and x < col))):
                    return False
    return True


@njit(cache=True, nogil=True)
def _grow(labels: Int32s, peaks: Ints, there: Bools, reach: int, rounds: int) -> None:
    """Hand pixels to peaks in place; labels are those of the peaks, NOTHING elsewhere."""
    rows, cols = labels.shape
    given = np.full(labels.shape, -1, np.int32)
    queue = np.empty((labels.size, 2), np.int32)
    for peak in range(len(peaks)):
        queue[peak] = peaks[peak]
        given[peaks[peak, 0], peaks[peak, 1]] = 0
    first, end = 0, len(peaks)
    for now in range(1, rounds + 1):
        last = end
        for i in range(first, last):
            row, col = queue[i]
            label = labels[row, col]
            for down, right in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                y, x = row + down, col + right
                if not (0 <= y < rows and 0 <= x < cols and there[y, x]):
                    continue
                if (y - peaks[label, 0]) ** 2 + (x - peaks[label, 1]) ** 2 > reach * reach:
                    continue
                if given[y, x] < 0:
                    given[y, x] = now
                    labels[y, x] = label
                    queue[end] = y, x
                    end += 1
                elif given[y, x] == now:
                    labels[y, x] = min(labels[y, x], label)
        first = last
