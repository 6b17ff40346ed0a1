"""What `--update` may cost: which chips see a change, and which are sent through the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from geoseg.grid import Window
from geoseg.model.predictor import Predictor
from geoseg.tiling.blend import taper_weights
from geoseg.tiling.plan import Cell, TilePlan
from geoseg.tiling.seam import sampled_pairs


def _folded(start: int, end: int, size: int) -> np.ndarray:
    """Pixel numbers, mirrored about the edge pixels."""
    return np.pad(np.arange(size), (max(0, -start), max(0, end - size)), "reflect")[max(0, start) :][: end - start]


def sees(window: Window, changed: np.ndarray) -> bool:
    """True when a read window meets a changed pixel (row, col), beyond the edges its mirror image."""
    rows = _folded(window.row_off, window.row_end, changed.shape[0])
    cols = _folded(window.col_off, window.col_end, changed.shape[1])
    return bool(changed[np.ix_(rows, cols)].any())


def cells_of(plan: TilePlan) -> list[Cell]:
    return [plan.cell(row, col) for row in range(plan.rows.count) for col in range(plan.cols.count)]


def stale_cells(plan: TilePlan, changed: np.ndarray) -> set[Cell]:
    """Cells whose read window changed; nothing may be resampled."""
    return {cell for cell in cells_of(plan) if sees(cell.read, changed)}


def touched_pairs(plan: TilePlan, changed: np.ndarray) -> int:
    """Sampled pairs of the seam number that must be compared again."""
    pairs = [
        (plan.cell(row, col), plan.cell(row + below, col + (not below))) for row, col, below in sampled_pairs(plan)
    ]
    return sum(sees(first.read, changed) or sees(second.read, changed) for first, second in pairs)


def _reach(plan: TilePlan, cell: Cell) -> Window:
    """Pixels for which a tapered chip speaks."""
    (top, down), (left, across) = taper_weights(plan.rows, cell.row), taper_weights(plan.cols, cell.col)
    return Window(left, top, len(across), len(down))


def most_chips(plan: TilePlan, changed: np.ndarray) -> int:
    """Chips that may be sent for the map: those that see the change; tapered, also those that speak beside them,
    once for every tile in which they do."""
    stale = stale_cells(plan, changed)
    if not plan.tapered:
        return len(stale)
    total = 0
    for tile in plan:
        parts = [_reach(plan, cell).intersection(tile.core) for cell in stale]
        for cell in plan.reaching(tile):
            own = _reach(plan, cell).intersection(tile.core)
            total += own is not None and any(part is not None and own.intersection(part) is not None for part in parts)
    return total


@contextmanager
def forwarded() -> Iterator[list[Window]]:
    """Windows of all chips that runs of this process send through the network, for the map and for the seam number."""
    sent: list[Window] = []
    originals = {name: getattr(Predictor, name) for name in ("scores", "reduced")}

    def counted(name: str):
        def call(self, chips, *more):
            sent.extend(chip.window for chip in chips)
            return originals[name](self, chips, *more)

        return call

    for name in originals:
        setattr(Predictor, name, counted(name))
    try:
        yield sent
    finally:
        for name, original in originals.items():
            setattr(Predictor, name, original)
