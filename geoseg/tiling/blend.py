"""From chips' scores to a tile's, trimmed or tapered, at the output's pixel size; then to classes and score layers."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import ClassMap
from geoseg.classes import ClassScheme
from geoseg.grid import Window
from geoseg.tiling.plan import Axis, Cell, Tile, TilePlan

Scores = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]


def trim(scores: Scores, cell: Cell, plan: TilePlan) -> Scores:
    """Scores (class, row, col) of a whole chip → those of the cell's own output pixels."""
    return cut(scores, cell.core, cell, plan)


def cut(scores: Scores, window: Window, cell: Cell, plan: TilePlan) -> Scores:
    """Scores (class, row, col) of a whole chip → those of a window of output pixels that it sees.

    Args:
        scores: on the network's grid, over the cell's read window.
        window: on the output grid.
        cell: whose chip it is.
        plan: where both grids lie.
    """
    if not plan.resampled:
        rows, cols = window.relative_to(cell.read).slices
        return scores[:, rows, cols]
    read = cell.read
    low, high, weight = _neighbors(plan.rows, window.row_off, window.row_end, read.row_off, read.row_end)
    down = weight[:, None]
    scores = scores[:, low] * (1 - down) + scores[:, high] * down
    low, high, weight = _neighbors(plan.cols, window.col_off, window.col_end, read.col_off, read.col_end)
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


def taper_weights(axis: Axis, cell: int) -> tuple[int, NDArray[np.float32]]:
    """How much a chip's answer counts along one axis.

    A raised cosine over the zone that two neighbors share, flat between (the Tukey window of F. J. Harris, "On the use
    of windows for harmonic analysis with the discrete Fourier transform", Proc. IEEE 66, 1978), divided by the sum
    over all chips that speak for the pixel: positive, 1 in sum, and exactly 1 where a chip speaks alone.

    Returns:
        the first output pixel for which the chip speaks, and (pixel,) weights from there on.
    """
    low, high = axis.reach(cell)
    first, end = max(0, int(low * axis.zoom) - 1), min(axis.size, int(high * axis.zoom) + 2)
    position: Floats = (np.arange(first, end) + 0.5) / axis.zoom
    own = _raw_weights(axis, cell, position)
    # Chips overlap with a fixed number of others, and are summed in the order of the lattice.
    around = -(-axis.ramp // axis.step)
    others = range(max(0, cell - around), min(axis.count, cell + around + 1))
    total = sum((_raw_weights(axis, other, position) for other in others), np.zeros_like(position))
    spoken = np.flatnonzero(own)
    keep = slice(spoken[0], spoken[-1] + 1)
    return first + int(spoken[0]), (own[keep] / total[keep]).astype(np.float32)


def _raw_weights(axis: Axis, cell: int, position: Floats) -> Floats:
    """Rises over `ramp` network pixels from both ends of the chip's reach; 0 beyond."""
    low, high = axis.reach(cell)
    depth = np.minimum(position - low, high - position) / axis.ramp
    weights: Floats = np.sin(np.pi / 2 * depth.clip(0, 1)) ** 2
    return weights


class Trim:
    """Each cell's pixels are its own chip's."""

    def __init__(self, plan: TilePlan) -> None:
        self.plan = plan

    def add(self, cell: Cell, scores: Scores) -> Iterator[tuple[Window, Scores]]:
        """Take a chip's scores (class, row, col); gives windows of the output that are finished, and their scores."""
        yield cell.core, trim(scores, cell, self.plan)

    def finish(self) -> Iterator[tuple[Window, Scores]]:
        """What is left after the last chip."""
        yield from ()


class Taper:
    """Weighted mean of all chips that speak for a pixel of a tile's core.

    Chips come row by row (some may be left out), so each pixel's sum is made in one order whatever the tile (law 2);
    only the rows that the present row of chips reaches are held.
    """

    def __init__(self, plan: TilePlan, tile: Tile) -> None:
        self.plan = plan
        self.core = tile.core
        self._top = tile.core.row_off
        self._sums: Scores | None = None

    def add(self, cell: Cell, scores: Scores) -> Iterator[tuple[Window, Scores]]:
        """See `Trim.add`."""
        top, down = taper_weights(self.plan.rows, cell.row)
        left, across = taper_weights(self.plan.cols, cell.col)
        reach = Window(left, top, len(across), len(down))
        yield from self._before(min(max(top, self._top), self.core.row_end))
        window = reach.intersection(self.core)
        if window is None:
            return
        rows, cols = window.relative_to(reach).slices
        part = cut(scores, window, cell, self.plan) * (down[rows, None] * across[cols])
        self._sums = self._grown(self._sums, len(scores), window.row_end)
        held = Window(self.core.col_off, self._top, self.core.width, self._sums.shape[1])
        rows, cols = window.relative_to(held).slices
        self._sums[:, rows, cols] += part

    def finish(self) -> Iterator[tuple[Window, Scores]]:
        """See `Trim.finish`."""
        yield from self._before(self.core.row_end)

    def _before(self, row: int) -> Iterator[tuple[Window, Scores]]:
        """Rows above one that no later chip reaches."""
        if self._sums is not None and row > self._top:
            sums, count = self._grown(self._sums, len(self._sums), row), row - self._top
            self._sums = sums[:, count:]
            yield Window(self.core.col_off, self._top, self.core.width, count), sums[:, :count]
        self._top = row

    def _grown(self, sums: Scores | None, classes: int, end: int) -> Scores:
        """The sums, long enough for the rows before `end`."""
        if sums is None:
            sums = np.zeros((classes, 0, self.core.width), np.float32)
        more = end - self._top - sums.shape[1]
        fresh = np.zeros((classes, max(0, more), self.core.width), np.float32)
        return np.concatenate([sums, fresh], axis=1) if more > 0 else sums


def stitcher(plan: TilePlan, tile: Tile) -> Trim | Taper:
    """How the plan wants the chips of a tile put together."""
    return Taper(plan, tile) if plan.tapered else Trim(plan)


def spoken(plan: TilePlan, tile: Tile, cell: Cell) -> Window | None:
    """The pixels of a tile's core for which a chip speaks."""
    if not plan.tapered:
        return cell.core
    top, down = taper_weights(plan.rows, cell.row)
    left, across = taper_weights(plan.cols, cell.col)
    return Window(left, top, len(across), len(down)).intersection(tile.core)


def classify(
    scores: Scores, valid: NDArray[np.bool_], window: Window, scheme: ClassScheme, *, layers: Collection[str] = ()
) -> ClassMap:
    """Winning class (the first of equals) and the score layers asked for, each 1…255 = round(255·value).

    Args:
        scores: (class, row, col), summing to 1 over classes.
        valid: (row, col); False becomes the scheme's `no_index`, in score layers 0.
        window: of the output grid, which the scores cover.
        scheme: classes in the order of the scores.
        layers: names from `settings.SCORE_LAYERS`.
    """
    winner, best, second = _ranked(scores, scheme)
    values: dict[str, Scores] = {}
    if "confidence" in layers:
        values["confidence"] = best
    if "ambiguity" in layers:
        values["ambiguity"] = 1 - (best - second)
    if "probabilities" in layers:
        values["probabilities"] = scores
    index = np.where(valid, winner, scheme.index_dtype.type(scheme.no_index))
    return ClassMap(index, window, {name: _coded(value, valid) for name, value in values.items()})


def _ranked(scores: Scores, scheme: ClassScheme) -> tuple[NDArray[Any], Scores, Scores]:
    """Index of the first best class, best and second best score, (row, col) each.

    One pass over the classes, plane by plane: `argmax` along the first axis takes twice as long for the winner alone.
    """
    winner = np.zeros(scores.shape[1:], scheme.index_dtype)
    best, second = scores[0].copy(), np.zeros_like(scores[0])
    for number in range(1, len(scores)):
        layer = scores[number]
        np.copyto(winner, scheme.index_dtype.type(number), where=layer > best)
        np.maximum(second, np.minimum(best, layer), out=second)
        np.maximum(best, layer, out=best)
    return winner, best, second


def _coded(values: Scores, valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """0 is kept for "no data": even a vanishing score is coded 1."""
    codes = np.rint(values * np.float32(255)).clip(1, 255)
    return np.where(valid, codes, 0).astype(np.uint8)
