"""The minimum mapping unit: components that are too small go to a neighbor.

The law, word for word: repeat: take the smallest component below the unit that has a neighbor (ties: first pixel in
row order); give it to the neighbor with the longest shared border (ties: larger area, smaller class code, first
pixel); components of one class that now touch become one at once.

- A neighbor shares a pixel edge. Nodata and skipped classes are no components: they neither absorb nor are absorbed.
- What is given away takes the receiver's class. A kept class is never given away but may receive.
- "Below the unit" is tested with the component's own size or, with `connect=8`, with the size of its *group*: all
  components of its class, as the map is at that moment, that it reaches over edges and corners. Everything else
  (which one is the smallest, whose area is larger) goes by the component's own size, and what goes is the component,
  not its group. A group that a merge extended counts with all that it has now; one that lost the member in its
  middle counts as the two that are left.
- All sizes are exact integers in one measure, so that equal is equal: see `mmu_size`.

It is a global queue over the component table: no tiling shows in the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.adjacency import Adjacency, Int32s, Ints
from geoseg.polygons.mmu_kernels import NONE, Graph, Heap, Sets, absorb_all, name_sets
from geoseg.polygons.mmu_size import Unit

Bools = NDArray[np.bool_]

BYTES_PER_COMPONENT = 64
"""What `generalize` holds at most for each component: its own arrays, its result and the starts of `Adjacency`."""
BYTES_PER_PAIR = 16
"""What `Adjacency` holds for each pair of neighbors in a band."""


@dataclass(frozen=True)
class Generalized:
    """What became of the components; arrays are (component,)."""

    final: Ints
    """Component that each now belongs to: the smallest number, hence the first pixel, of all its parts."""
    code: Int32s
    """Class code that each has now."""
    changed: Mapping[tuple[int, int], int]
    """(code before, code now) → summed size of the original components that changed class; ordered."""

    def __post_init__(self) -> None:
        if len(self.final) != len(self.code):
            raise ValueError(f"{len(self.final)} components with {len(self.code)} class codes.")

    def __len__(self) -> int:
        return len(self.final)


def generalize(
    code: Int32s, size: Ints, first: Ints, adjacency: Adjacency, unit: Unit, objects: Bools | None = None
) -> Generalized:
    """Apply a minimum mapping unit to a component table.

    Objects are never given away and never become one, whatever touches; they receive as others do. Where border and
    area tie, what is no object comes before them, and among them the first pixel decides.

    Time grows as n log n; with `connect=8` besides each group below the unit is walked through whenever it has grown;
    it has fewer members than the unit has pixels. Memory: `BYTES_PER_COMPONENT` and `BYTES_PER_PAIR`, the table itself
    not counted.

    Args:
        code: (component,) class codes.
        size: (component,) sizes, at least 1: pixels, or ground area in whole steps (see `mmu_size`).
        first: (component,) row · width + column of the first pixel; increasing, since components are numbered by it.
        adjacency: which components touch; with contacts at corners if `unit.connect` is 8.
        unit: what is too small.
        objects: (component,) which are objects; None: none.

    Raises:
        ValueError: the arrays do not fit each other, components are not numbered by first pixel, or a size is below 1.
    """
    if not len(code) == len(size) == len(first) == len(adjacency):
        raise ValueError(f"{len(code)} codes, {len(size)} sizes, {len(first)} firsts, {len(adjacency)} in the graph.")
    if (first[1:] <= first[:-1]).any():
        raise ValueError("components are not numbered by first pixel.")
    if size.min(initial=1) < 1:
        raise ValueError(f"a component has size {size.min()}; the smallest is 1.")
    codes = np.unique(code)
    units, ranks = unit.of(codes), np.searchsorted(codes, code).astype(np.int32)
    if objects is not None:  # each is of a class of its own, which is never given away
        ranks[objects] = len(codes) + np.arange(np.count_nonzero(objects), dtype=np.int32)
        codes = np.append(codes, code[objects])
        units = np.append(units, np.zeros(len(codes) - len(units), np.int64))
    parent, rank = _absorbed(ranks, size, adjacency, units, unit)
    now = codes[rank[parent]]
    return Generalized(parent.astype(np.int64), now, _changes(code, now, size))


def _absorbed(rank: Int32s, size: Ints, adjacency: Adjacency, units: Ints, unit: Unit) -> tuple[Int32s, Int32s]:
    """(component,) survivor of each, and rank of the class of the survivors."""
    n = len(rank)
    candidates = np.flatnonzero(size < units[rank]).astype(np.int32)
    candidates = candidates[np.argsort(size[candidates], kind="stable")]  # what is sorted is a heap
    names = np.arange(n, dtype=np.int32)
    sets = Sets(
        parent=names,
        following=np.full(n, NONE, np.int32),
        last=names.copy(),
        size=size.astype(np.int64),
        rank=rank,
        known=np.zeros(n, np.uint8),
        border=np.zeros(n, np.int64),
        chain=np.empty(n, np.int32),
    )
    heap = Heap(size[candidates].astype(np.int64, copy=False), candidates)
    absorb_all(sets, Graph(adjacency.starts, adjacency.to, adjacency.length), heap, units, unit.connect == 8)
    name_sets(sets.parent)
    return sets.parent, sets.rank


def _changes(before: Int32s, now: Int32s, size: Ints) -> dict[tuple[int, int], int]:
    changed = before != now
    keys = before[changed].astype(np.int64)  # both codes in one number: the arrays may be as long as the table
    keys <<= 32
    keys |= now[changed].view(np.uint32)
    pairs = np.unique(keys)
    sums = np.zeros(len(pairs), np.int64)
    np.add.at(sums, np.searchsorted(pairs, keys), size[changed])
    codes = zip((pairs >> 32).tolist(), pairs.astype(np.int32).tolist(), strict=True)
    return dict(zip(codes, sums.tolist(), strict=True))
