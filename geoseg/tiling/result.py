"""What a finished tile is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.arrays import ClassMap
from geoseg.grid import Window
from geoseg.tiling.reads import no_digests


@dataclass(frozen=True)
class TileResult:
    """A finished tile: its pixels and what happened to them."""

    map: ClassMap
    outside_by_row: NDArray[np.int64]
    """(row,) pixels of the core outside the area of interest."""
    masked_by_row: NDArray[np.int64]
    """(reason, row) pixels of the core that hold data and are masked; in the order of `geoseg.quality.REASONS`."""
    chips: int
    """Chips that were sent through the network."""
    seam: NDArray[np.int64]
    """(pair, 4) what `geoseg.tiling.seam.count_differences` gives, of each of `geoseg.tiling.seam.pairs_of`."""
    events: tuple[str, ...] = ()
    number: int = 0
    """Of the tile in its plan."""
    digests: NDArray[np.uint8] = field(default_factory=no_digests)
    """(cell, byte) digest of what the chip of each of `TilePlan.reaching` read; 0 where nothing was read."""
    seam_digests: NDArray[np.uint8] = field(default_factory=no_digests)
    """(pair, byte) digest of what both chips of a sampled pair read; 0 where they were not compared."""
    fresh: tuple[Window, ...] | None = None
    """Windows of the core that were predicted; the rest is to come from a finished run, see `completed`. None: all."""

    def completed(self, finished: Callable[[Window], ClassMap]) -> TileResult:
        """The result with the pixels of a finished run where nothing was predicted.

        Args:
            finished: gives the finished run's pixels of a window, with the same score layers.
        """
        core = self.map.window
        if self.fresh is None:
            return self
        kept = np.ones(core.shape, bool)
        for window in self.fresh:
            kept[window.relative_to(core).slices] = False
        if not kept.any():
            return replace(self, fresh=None)
        old = finished(core)
        index = np.where(kept, old.index, self.map.index)
        scores = {name: np.where(kept, old.scores[name], layer) for name, layer in self.map.scores.items()}
        return replace(self, map=ClassMap(index, core, scores), fresh=None)
