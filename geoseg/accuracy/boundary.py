"""Boundary IoU: how well a map keeps to the outlines, class by class, whatever the size of the areas.

    |(P_d ∩ P) ∩ (G_d ∩ G)| / |(P_d ∩ P) ∪ (G_d ∩ G)|

for the pixels P of a class in the map and G in the reference; P_d are those within d pixels of P's outline (Cheng et
al. 2021, arXiv 2103.16562). Distances are those of the authors' own code, which erodes d times by 3 × 3: a pixel is
near the outline when one of the (2d + 1)² around it is of another class. That does not depend on the class asked for,
so all classes share two erosions.

Where a pixel does not count (nodata, no reference, the end of the raster) nobody knows what is there, so it draws no
outline; the authors' code, for whole photographs, draws one round the frame.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.grid import Window

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]

_BLOCK = 512
"""Worked on at a time: so many pixels stay in the processor's cache."""


def boundary_counts(
    reference: NDArray[Any], predicted: NDArray[Any], around: Window, core: Window, n: int, distance_px: int
) -> Counts:
    """Pixels of each class near its outlines, within a core.

    Args:
        reference: labels (row, col) of `around`; those from n on do not count.
        predicted: labels of the map.
        around: the core and all pixels of the raster within the distance of it.
        core: what is counted.
        n: number of classes.
        distance_px: d, at least 1.

    Returns:
        (3, n): in both maps, in the reference, in the map. Sums over cores are those of the whole.
    """
    out = np.zeros((3, n), np.int64)
    for block in core.split(_BLOCK):
        shown = block.pad(distance_px).intersection(around) or block
        place, inner = shown.relative_to(around).slices, block.relative_to(shown).slices
        true, told = reference[place], predicted[place]
        counted = (true < n) & (told < n)
        near_true = near_outline(true, counted, shown, block, distance_px)
        near_told = near_outline(told, counted, shown, block, distance_px)
        _count(true[inner], told[inner], near_true, near_told, out)
    return out


def boundary_ious(counts: Counts) -> list[float | None]:
    """Boundary IoU of each class; None where neither map has an outline of it.

    Args:
        counts: as `boundary_counts` gives them.
    """
    both, true, told = counts
    return [
        b / (t + p - b) if t + p else None for b, t, p in zip(*(c.tolist() for c in (both, true, told)), strict=True)
    ]


def near_outline(labels: NDArray[Any], counted: Bools, around: Window, core: Window, distance_px: int) -> Bools:
    """(row, col) of the core: True where a counted pixel has one of another label within the distance.

    Args:
        labels: (row, col) of `around`, unsigned.
        counted: where labels mean something.
        around: what the arrays show.
        core: part of it; what `around` does not show of its surroundings counts as uncounted.
        distance_px: in rows and columns.
    """
    top = np.iinfo(labels.dtype).max
    shown = around.relative_to(core.pad(distance_px))
    low = np.full((core.height + 2 * distance_px, core.width + 2 * distance_px), top, labels.dtype)
    high = np.zeros_like(low)
    place, part = _common(shown, low.shape)
    np.copyto(low[place], labels[part], where=counted[part])
    np.copyto(high[place], labels[part], where=counted[part])
    differs = _spread(low, distance_px, np.minimum) != _spread(high, distance_px, np.maximum)
    return np.asarray(differs & counted[core.relative_to(around).slices])


@njit(cache=True, nogil=True)
def _count(reference: NDArray[Any], predicted: NDArray[Any], near_true: Bools, near_told: Bools, out: Counts) -> None:
    for row in range(reference.shape[0]):
        for col in range(reference.shape[1]):
            true, told = reference[row, col], predicted[row, col]
            if near_true[row, col]:
                out[1, true] += 1
            if near_told[row, col]:
                out[2, told] += 1
                if near_true[row, col] and true == told:
                    out[0, true] += 1


def _common(shown: Window, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where `shown` lies in an array of a shape, and which part of it does."""
    common = Window(0, 0, shape[1], shape[0]).intersection(shown)
    if common is None:
        raise ValueError(f"{shown} shows nothing of {shape}.")
    return common.slices, common.relative_to(shown).slices


def _spread(values: NDArray[Any], distance: int, join: np.ufunc) -> NDArray[Any]:
    """The extreme of each (2d + 1)² square that lies in the array, by doubling: log₂(2d + 1) passes an axis."""
    size = 2 * distance + 1
    for axis in (0, 1):
        reach, length = 1, values.shape[axis]
        while reach < size:
            step = min(reach, size - reach)
            length -= step
            values = join(_cut(values, axis, 0, length), _cut(values, axis, step, length))
            reach += step
    return values


def _cut(values: NDArray[Any], axis: int, start: int, length: int) -> NDArray[Any]:
    return values[start : start + length] if axis == 0 else values[:, start : start + length]
