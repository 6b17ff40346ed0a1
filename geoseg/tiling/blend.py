"""From a chip's scores to its own cell: trimming, and back to the output's pixel size."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import ClassMap
from geoseg.classes import ClassScheme
from geoseg.tiling.plan import Axis, Cell, TilePlan

Scores = NDArray[np.float32]


def trim(scores: Scores, cell: Cell, plan: TilePlan) -> Scores:
    """Scores (class, row, col) of a whole chip → those of the cell's own output pixels."""
    if not plan.resampled:
        rows, cols = cell.core.relative_to(cell.read).slices
        return scores[:, rows, cols]
    core, read = cell.core, cell.read
    low, high, weight = _neighbors(plan.rows, core.row_off, core.row_end, read.row_off, read.row_end)
    down = weight[:, None]
    scores = scores[:, low] * (1 - down) + scores[:, high] * down
    low, high, weight = _neighbors(plan.cols, core.col_off, core.col_end, read.col_off, read.col_end)
    return scores[:, :, low] * (1 - weight) + scores[:, :, high] * weight


def _neighbors(
    axis: Axis, first: int, end: int, origin: int, origin_end: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The two network pixels around each output pixel's centre and the weight of the second.

        network    |   0   |   1   |   2   |      centre of pixel n at n + 0.5
        output       x   x   x   x   x   x        position = (x + 0.5) / zoom − 0.5

    In absolute coordinates, so that the weights do not depend on chip or tile. Without a margin, the chip's
    own edge pixels stand in for the neighbors that it has not seen.
    """
    position = (np.arange(first, end) + 0.5) / axis.zoom - 0.5
    position = position.clip(0, axis.network_size - 1)
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, axis.network_size - 1)
    weight = (position - low).astype(np.float32)
    return low.clip(origin) - origin, high.clip(max=origin_end - 1) - origin, weight


def classify(
    scores: Scores, valid: NDArray[np.bool_], cell: Cell, scheme: ClassScheme, *, layers: Collection[str] = ()
) -> ClassMap:
    """Winning class (the first of equals) and the score layers asked for; confidence is 1…255 = round(255·p).

    Args:
        scores: (class, row, col), summing to 1 over classes.
        valid: (row, col); False becomes the scheme's `no_index`, in score layers 0.
        cell: whose core the scores cover.
        scheme: classes in the order of the scores.
        layers: names from `settings.SCORE_LAYERS`.
    """
    winner = scores.argmax(axis=0).astype(scheme.index_dtype)
    index = np.where(valid, winner, scheme.index_dtype.type(scheme.no_index))
    found: dict[str, NDArray[np.uint8]] = {}
    if "confidence" in layers:
        best = np.rint(scores.max(axis=0) * np.float32(255)).clip(1, 255)
        found["confidence"] = np.where(valid, best, 0).astype(np.uint8)
    return ClassMap(index, cell.core, found)
