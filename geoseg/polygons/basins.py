"""The hills of a landscape: every pixel belongs to the maximum that it reaches by steepest ascent.

A pixel points to the highest of its four neighbors within the same component if that one is higher, or as high and
earlier in row order. Pointers never meet in a circle, so they are trees, and a tree, whose links are shared pixel
edges, is 4-connected. Within a band trees are sets of union-find, over a seam the pointers of the two rows there unite
them: no order of flooding, and no band, shows in the result.

Two neighboring hills meet in a saddle: the highest pair of pixels, one of each, the lower of the pair. From the highest
saddle down, the lower of the two hills (as they are by then) joins the higher one if its peak rises less than `depth`
above the saddle, or not at all; else both stay. That is the merging of ToMATo (Chazal, Guibas, Oudot & Skraba 2013, doi
10.1145/2535927), on a table of hills and saddles; ties go by the hills' numbers, which are those of their first pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.errors import MemoryLimitError
from geoseg.polygons.adjacency import EMPTY, ROOM, roomier, slot_of
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.components import Ints
from geoseg.polygons.label import Int32s, number_sets, root, unite
from geoseg.polygons.landscape import Bools
from geoseg.polygons.survey import unite_over_seams

Floats = NDArray[np.float64]
BYTES_PER_HILL = 32
"""Owners, peaks, numbers, what they are merged by."""
BYTES_PER_SADDLE = 80
"""A pair with its height, while all are brought into order."""


@dataclass(frozen=True)
class Slopes:
    """A band of the landscape with its hills, as far as the band itself tells."""

    numbers: Int32s
    """(1 + row, 1 + col + 1) component numbers with the row above the band and the frame."""
    heights: Int32s
    """(1 + row, 1 + col + 1) of the same pixels."""
    labels: Int32s
    """(row, col) hill within the band, numbered by first pixel; NOTHING where no thing is."""
    n: int
    up: Bools
    """(col,) whether a pixel of the first row points to the row above."""
    down: Bools
    """(col,) whether a pixel of the last row points to the row below."""


@dataclass(frozen=True)
class Hills:
    """All hills of a raster; arrays are (hill,), numbered by first pixel."""

    number_of: Int32s
    """(label,) hill of every label of every band, band after band."""
    owner: Int32s
    """Component that it is a part of."""
    peak: Int32s
    """Height of its highest pixel."""
    pairs: Ints
    """(saddle, 2) hills that meet, the smaller number first; each pair once."""
    saddle: Int32s
    """(saddle,) where they do."""

    def __len__(self) -> int:
        return len(self.owner)

    def merged(self, peak: Floats, saddle: Floats, depth: float) -> Int32s:
        """(hill,) the hill that each is a part of when low saddles alone divide them.

        Args:
            peak: (hill,) heights, in any unit that grows with `self.peak`.
            saddle: (saddle,) likewise.
            depth: in that unit.
        """
        order = np.lexsort((self.pairs[:, 1], self.pairs[:, 0], -saddle))
        parents = np.arange(len(self), dtype=np.int32)
        _merge(self.pairs[order], saddle[order], peak, depth, parents)
        return parents


def slopes(numbers: Int32s, heights: Int32s) -> Slopes:
    """Let the pixels of a band point uphill.

    Args:
        numbers: (1 + row + 1, 1 + col + 1) component numbers, with the pixels around the band.
        heights: of the same pixels, at least 1 where a thing is and 0 elsewhere.
    """
    shape = (numbers.shape[0] - 2, numbers.shape[1] - 2)
    parents = np.empty(shape[0] * shape[1], np.int32)
    up, down = np.zeros(shape[1], np.bool_), np.zeros(shape[1], np.bool_)
    _climb(numbers, heights, parents, up, down)
    n = number_sets(parents)
    return Slopes(numbers[:-1], heights[:-1], parents.reshape(shape), n, up, down)


class HillTable:
    """Gathers the hills of bands in row order."""

    def __init__(self, width: int, most_bytes: int | None = None) -> None:
        """An empty table.

        Args:
            width: columns of the raster.
            most_bytes: what it may take; None: there is no limit.
        """
        self._offsets, self._most = [0], most_bytes
        self._links: list[Ints] = []
        self._owners: list[Int32s] = []
        self._peaks: list[Int32s] = []
        self._saddles: list[tuple[Ints, Int32s]] = []
        self._above, self._down = np.full(width, NOTHING, np.int32), np.zeros(width, np.bool_)

    def add(self, band: Slopes) -> Int32s:
        """Take in the next band.

        Returns:
            (row, col) label of each pixel, numbered over all bands so far; NOTHING where no thing is.

        Raises:
            MemoryLimitError: there are too many hills.
        """
        first = self._offsets[-1]
        labels = np.where(band.labels >= 0, band.labels + first, NOTHING).astype(np.int32)
        self._check(first + band.n)
        owner, peak = np.zeros(band.n, np.int32), np.zeros(band.n, np.int32)
        _measure(band.labels, band.numbers, band.heights, owner, peak)
        self._links.append(linked(self._above, labels[0], self._down | band.up))
        self._saddles.append(_saddles(np.concatenate([self._above[None], labels]), band.numbers, band.heights))
        self._owners.append(owner)
        self._peaks.append(peak)
        self._offsets.append(first + band.n)
        self._above, self._down = labels[-1], band.down
        return labels

    def finished(self) -> Hills:
        """All that was taken in, hills joined over the seams."""
        number_of = unite_over_seams(self._offsets[-1], self._links)
        n = int(number_of.max(initial=-1)) + 1
        owner, peak = np.zeros(n, np.int32), np.zeros(n, np.int32)
        owner[number_of] = np.concatenate([np.zeros(0, np.int32), *self._owners])
        np.maximum.at(peak, number_of, np.concatenate([np.zeros(0, np.int32), *self._peaks]))
        keys = np.concatenate([np.zeros(0, np.int64), *(keys for keys, _ in self._saddles)])
        heights = np.concatenate([np.zeros(0, np.int32), *(heights for _, heights in self._saddles)])
        pairs = np.sort(number_of[np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1)], axis=1).astype(np.int64)
        apart = pairs[:, 0] != pairs[:, 1]
        pairs, heights = pairs[apart], heights[apart]
        order = np.lexsort((-heights, pairs[:, 1], pairs[:, 0]))
        pairs, heights = pairs[order], heights[order]
        new: Bools = np.append(True, (np.diff(pairs, axis=0) != 0).any(axis=1))[: len(pairs)]
        return Hills(number_of, owner, peak, pairs[new], heights[new])

    def _check(self, n: int) -> None:
        needed = BYTES_PER_HILL * n + BYTES_PER_SADDLE * sum(len(keys) for keys, _ in self._saddles)
        if self._most is not None and needed > self._most:
            raise MemoryLimitError(
                f"the table of the first {n} hills needs {needed / 1e6:.1f} MB, {self._most / 1e6:.1f} MB of memory "
                "are left for it: cut the raster (--aoi), smooth more (--split-radius with --split scores), take "
                "--split components or allow more (--max-memory)."
            )


def linked(above: Int32s, below: Int32s, points: Bools) -> Ints:
    """(link, 2) labels on the two sides of a seam that a pointer unites."""
    return np.stack([above[points], below[points]], axis=1).astype(np.int64)


def _saddles(labels: Int32s, numbers: Int32s, heights: Int32s) -> tuple[Ints, Int32s]:
    """Pairs of labels (smaller << 32 | larger) that meet in a band or at the seam above it, and their saddles."""
    keys, found, _ = _meetings(labels, numbers, heights)
    seen = keys != EMPTY
    return keys[seen], found[seen]


@njit(cache=True, nogil=True)
def _climb(numbers: Int32s, heights: Int32s, parents: Int32s, up: Bools, down: Bools) -> None:
    rows, cols = numbers.shape[0] - 2, numbers.shape[1] - 2
    for i in range(rows * cols):
        parents[i] = i
    for row in range(1, rows + 1):
        for col in range(1, cols + 1):
            here = (row - 1) * cols + col - 1
            if heights[row, col] == 0:
                parents[here] = NOTHING
                continue
            way = _steepest(numbers, heights, row, col)
            if way == 1 and row == 1:
                up[col - 1] = True
            elif way == 4 and row == rows:
                down[col - 1] = True
            elif way:
                unite(parents, here, here + (0, -cols, -1, 1, cols)[way])


@njit(cache=True, nogil=True)
def _steepest(numbers: Int32s, heights: Int32s, row: int, col: int) -> int:
    """Which neighbor a pixel points to: 0 none, 1 above, 2 left, 3 right, 4 below."""
    number, best, way = numbers[row, col], heights[row, col], 0
    if numbers[row - 1, col] == number and heights[row - 1, col] >= best:
        best, way = heights[row - 1, col], 1
    if numbers[row, col - 1] == number and heights[row, col - 1] >= best + (way > 0):
        best, way = heights[row, col - 1], 2
    if numbers[row, col + 1] == number and heights[row, col + 1] > best:
        best, way = heights[row, col + 1], 3
    if numbers[row + 1, col] == number and heights[row + 1, col] > best:
        way = 4
    return way


@njit(cache=True, nogil=True)
def _measure(labels: Int32s, numbers: Int32s, heights: Int32s, owner: Int32s, peak: Int32s) -> None:
    for row in range(labels.shape[0]):
        for col in range(labels.shape[1]):
            label = labels[row, col]
            if label >= 0:
                owner[label] = numbers[row + 1, col + 1]
                peak[label] = max(peak[label], heights[row + 1, col + 1])


@njit(cache=True, nogil=True)
def _meetings(labels: Int32s, numbers: Int32s, heights: Int32s) -> tuple[Ints, Int32s, int]:
    """A hash table of pairs; labels, numbers and heights begin with the row above the band."""
    keys, lows, used = np.full(ROOM, EMPTY, np.int64), np.zeros(ROOM, np.int32), 0
    for row in range(1, labels.shape[0]):
        for col in range(labels.shape[1]):
            if 2 * (used + 2) > len(keys):
                keys, lows = roomier(keys, lows)
            for up, left in ((1, 0), (0, 1)):
                if col < left:
                    continue
                one, other = labels[row, col], labels[row - up, col - left]
                same = numbers[row, col + 1] == numbers[row - up, col + 1 - left]
                if one >= 0 and other >= 0 and one != other and same:
                    low = min(heights[row, col + 1], heights[row - up, col + 1 - left])
                    key = min(np.int64(one), np.int64(other)) << 32 | max(np.int64(one), np.int64(other))
                    slot = slot_of(keys, key)
                    used += keys[slot] == EMPTY
                    keys[slot] = key
                    lows[slot] = max(lows[slot], low)
    return keys, lows, used


@njit(cache=True, nogil=True)
def _merge(pairs: Ints, saddle: Floats, peak: Floats, depth: float, parents: Int32s) -> None:
    """Join hills from the highest saddle down; the parents become the names of the wholes."""
    for i in range(len(pairs)):
        high, low = root(parents, pairs[i, 0]), root(parents, pairs[i, 1])
        if peak[low] > peak[high] or (peak[low] == peak[high] and low < high):
            high, low = low, high
        if high != low and (peak[low] - saddle[i] < depth or peak[low] == saddle[i]):
            parents[low] = high
    for hill in range(len(parents)):
        parents[hill] = root(parents, hill)
