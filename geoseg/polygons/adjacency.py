"""Which components touch, and along how many pixel edges: the graph that the minimum mapping unit works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.polygons.arcs import NOTHING

Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
Painted = NDArray[np.integer[Any]]

EMPTY = -1
ROOM = 1 << 12  # slots of a new hash table; 48 KB stay in a core's cache
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing: Knuth, TAOCP 3, 6.4
_MOST = 2**31


class Contacts(NamedTuple):
    """Pairs of components that touch in one band; all arrays are (pair,)."""

    a: Int32s
    """The smaller component number."""
    b: Int32s
    """The larger component number."""
    length: Int32s
    """Shared pixel edges; 0 where they only meet at corners."""


@dataclass(frozen=True)
class Adjacency:
    """The neighbors of each component, in compressed rows; 16 bytes a pair and 8 a component.

    A pair that several bands have seen stands several times: its border is the sum.
    """

    starts: Ints
    """(component + 1,) first entry of each component, then the number of entries."""
    to: Int32s
    """(entry,) the neighbor."""
    length: Int32s
    """(entry,) shared pixel edges; 0 for a contact at corners."""

    def __post_init__(self) -> None:
        if self.starts[-1] != len(self.to) or len(self.to) != len(self.length):
            raise ValueError(f"{len(self.to)} neighbors with {len(self.length)} borders end at {self.starts[-1]}.")

    def __len__(self) -> int:
        return len(self.starts) - 1


def adjacency_of_band(above: Painted | None, numbers: Painted, *, diagonals: bool = False) -> Contacts:
    """Contacts within a band of rows and with the row above it.

    Args:
        above: (col,) component numbers of the row above the band; None: the band is the raster's first.
        numbers: (row, col) component numbers, NOTHING where no component is; columns beyond the frame may be
            painted, too, as NOTHING.
        diagonals: also give pairs that meet at a corner only, whatever their classes: what is of two classes now may
            be of one after a merge.

    Returns:
        Each pair once, in no particular order. Summed over bands of any heights the lengths are the same.
    """
    painted = np.ascontiguousarray(numbers, np.int32)
    first = np.full(painted.shape[1], NOTHING, np.int32) if above is None else np.ascontiguousarray(above, np.int32)
    keys, lengths, _ = _contacts(first, painted, diagonals)
    seen = keys != EMPTY
    keys = keys[seen]
    return Contacts((keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32), lengths[seen])


def merge_adjacency(parts: Sequence[Contacts], count: int) -> Adjacency:
    """The graph of a raster from the contacts of its bands.

    Memory: 28 bytes a pair, 12 of them the parts', and 8 a component. A planar graph has at most 3 pairs a component
    (4 with corners), so this is less than what `generalize` needs afterwards: 64 a component and 16 a pair.

    Args:
        parts: contacts of each band, in any order; a pair of a component with itself (labels of two bands that became
            one component) is left out.
        count: number of components.

    Raises:
        InputError: there are more components or contacts than 32 bits can count.
    """
    if count >= _MOST:
        raise InputError(f"the raster has {count} components, more than {_MOST - 1}: cut it with --aoi.")
    starts = np.zeros(count + 1, np.int64)
    for part in parts:
        _count_entries(part.a, part.b, starts)
    np.cumsum(starts, out=starts)
    to, length = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for part in parts:
        _fill_entries(part, starts, to, length)
    return Adjacency(starts, to, length)


def survey_neighbors(
    bands: Iterable[tuple[int, Painted]], count: int, by_row: Ints | None = None, *, diagonals: bool = False
) -> tuple[Adjacency, Ints]:
    """The graph of a raster, and the exact size of each component, from one sweep over its painted bands.

    Args:
        bands: first row of each band, and its (1 + row, col) component numbers below the last row of the band above
            (NOTHING above the first), as `Survey.painted_bands` yields them.
        count: number of components.
        by_row: (row,) size of a pixel in each row of the raster; None: 1.
        diagonals: also keep contacts at corners.

    Returns:
        the graph, and (component,) sizes.

    Raises:
        InputError: there are more components than 32 bits can count.
    """
    sizes = np.zeros(count, np.int64)
    parts = []
    for first_row, painted in bands:
        rows = len(painted) - 1
        of_rows = np.ones(rows, np.int64) if by_row is None else by_row[first_row : first_row + rows]
        _add_sizes(np.ascontiguousarray(painted[1:], np.int32), of_rows, sizes)
        parts.append(adjacency_of_band(painted[0], painted[1:], diagonals=diagonals))
    return merge_adjacency(parts, count), sizes


def component_sizes(bands: Iterable[tuple[int, Painted]], count: int, by_row: Ints | None = None) -> Ints:
    """(component,) exact sizes; arguments as for `survey_neighbors`."""
    sizes = np.zeros(count, np.int64)
    for first_row, painted in bands:
        rows = len(painted) - 1
        of_rows = np.ones(rows, np.int64) if by_row is None else by_row[first_row : first_row + rows]
        _add_sizes(np.ascontiguousarray(painted[1:], np.int32), of_rows, sizes)
    return sizes


@njit(cache=True, nogil=True)
def _add_sizes(numbers: Int32s, by_row: Ints, sizes: Ints) -> None:
    for row in range(numbers.shape[0]):
        for number in numbers[row]:
            if number >= 0:
                sizes[number] += by_row[row]


@njit(cache=True, nogil=True)
def _contacts(above: Int32s, numbers: Int32s, diagonals: bool) -> tuple[Ints, Int32s, int]:
    """A hash table from pairs (smaller number << 32 | larger number) to edges: keys, edges, pairs held."""
    keys, lengths, used = np.full(ROOM, EMPTY, np.int64), np.zeros(ROOM, np.int32), 0
    height, width = numbers.shape
    for row in range(height):
        upper, lower = numbers[row - 1] if row else above, numbers[row]
        for col in range(width):
            if 2 * (used + 4) > len(keys):
                keys, lengths = roomier(keys, lengths)
            here = lower[col]
            used += _count(keys, lengths, here, upper[col], 1)
            if col:
                used += _count(keys, lengths, here, lower[col - 1], 1)
                if diagonals:
                    used += _count(keys, lengths, here, upper[col - 1], 0)
                    used += _count(keys, lengths, lower[col - 1], upper[col], 0)
    return keys, lengths, used


@njit(cache=True, nogil=True)
def _count(keys: Ints, lengths: Int32s, one: int, other: int, edges: int) -> int:
    """Add edges to a pair's border, if it is a pair; returns how many pairs are new."""
    if one == other or one < 0 or other < 0:
        return 0
    key = min(np.int64(one), np.int64(other)) << 32 | max(np.int64(one), np.int64(other))
    slot = slot_of(keys, key)
    lengths[slot] += edges
    if keys[slot] == key:
        return 0
    keys[slot] = key
    return 1


@njit(cache=True, nogil=True)
def slot_of(keys: Ints, key: np.int64) -> np.int64:
    """Where a key is, or is to be put; the number of slots is a power of two."""
    last = np.uint64(len(keys) - 1)
    slot = (np.uint64(key) * _GOLDEN >> np.uint64(32)) & last
    while keys[slot] != EMPTY and keys[slot] != key:  # `not in {…}` would build a set each turn
        slot = (slot + np.uint64(1)) & last
    return np.int64(slot)


@njit(cache=True, nogil=True)
def roomier(keys: Ints, lengths: Int32s) -> tuple[Ints, Int32s]:
    """The same table with four times the slots."""
    new_keys, new_lengths = np.full(4 * len(keys), EMPTY, np.int64), np.zeros(4 * len(keys), np.int32)
    for old in range(len(keys)):
        if keys[old] != EMPTY:
            slot = slot_of(new_keys, keys[old])
            new_keys[slot], new_lengths[slot] = keys[old], lengths[old]
    return new_keys, new_lengths


@njit(cache=True, nogil=True)
def _count_entries(a: Int32s, b: Int32s, counts: Ints) -> None:
    for pair in range(len(a)):
        if a[pair] != b[pair]:
            counts[a[pair]] += 1
            counts[b[pair]] += 1


@njit(cache=True, nogil=True)
def _fill_entries(part: Contacts, ends: Ints, to: Int32s, length: Int32s) -> None:
    """Fill each component's entries from their end; when all parts are in, the ends have become the starts."""
    for pair in range(len(part.a)):
        a, b = part.a[pair], part.b[pair]
        if a != b:
            ends[a] -= 1
            to[ends[a]], length[ends[a]] = b, part.length[pair]
            ends[b] -= 1
            to[ends[b]], length[ends[b]] = a, part.length[pair]
