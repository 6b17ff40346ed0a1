"""Counting while tiles come in: what became of each pixel, in pixels and in ground area."""

from __future__ import annotations

from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.grid import Grid
from geoseg.ground import AreaModel, area_model
from geoseg.quality import REASONS
from geoseg.tiling.result import TileResult
from geoseg.tiling.seam import Seam


class Tally:
    """Pixels per raster row of every class, of nodata, masked, and of what lies outside the area of interest.

    Per row, because a row of a lon/lat grid has pixels of one ground area. Memory: 8 bytes a row and class.
    """

    def __init__(self, grid: Grid, scheme: ClassScheme) -> None:
        self.grid = grid
        self.scheme = scheme
        self.model: AreaModel = area_model(grid)
        self.chips = 0
        self._events: list[tuple[int, str]] = []
        self._seam: NDArray[np.int64] = np.zeros(4, np.int64)
        self._outside: NDArray[np.int64] = np.full(grid.height, grid.width, np.int64)
        self._masked: NDArray[np.int64] = np.zeros((grid.height, len(REASONS)), np.int64)
        self._classes: NDArray[np.int64] = np.zeros((grid.height, len(scheme)), np.int64)

    def add(self, result: TileResult) -> None:
        """Count a finished tile; tiles never added count as outside."""
        window = result.map.window
        rows, n = slice(window.row_off, window.row_end), len(self.scheme)
        index = np.minimum(result.map.index, n).astype(np.int64)
        index += (np.arange(window.height) * (n + 1))[:, None]
        counts = np.bincount(index.ravel(), minlength=window.height * (n + 1)).reshape(window.height, n + 1)
        self._classes[rows] += counts[:, :n]
        self._masked[rows] += result.masked_by_row.T
        self._outside[rows] -= window.width - result.outside_by_row
        self.chips += result.chips
        self._seam += result.seam.sum(axis=0)
        self._events += [(result.number, event) for event in result.events]

    @property
    def events(self) -> list[str]:
        """What happened, in the order of the tiles, which is not that in which they finished."""
        return [event for _, event in sorted(self._events, key=itemgetter(0))]

    @property
    def seam(self) -> Seam | None:
        """How much neighboring chips disagree; None when no two of them were compared."""
        return Seam.of(self._seam.tolist())

    @property
    def pixels(self) -> dict[str, int]:
        """Pixels by class name."""
        return dict(zip(self.scheme.names, self._classes.sum(axis=0).tolist(), strict=True))

    @property
    def outside_px(self) -> int:
        """Pixels outside the area of interest."""
        return int(self._outside.sum())

    @property
    def nodata_px(self) -> int:
        """Pixels inside the area of interest that hold no data."""
        return int(self._nodata.sum())

    @property
    def masked_px(self) -> dict[str, int]:
        """Pixels inside the area of interest that hold data and are masked, by reason; reasons that occur."""
        found = zip(REASONS, self._masked.sum(axis=0).tolist(), strict=True)
        return {reason: pixels for reason, pixels in found if pixels}

    @property
    def masked_m2(self) -> dict[str, float]:
        """Ground area by reason, of the same pixels."""
        areas = dict(zip(REASONS, (self._areas @ self._masked).tolist(), strict=True))
        return {reason: areas[reason] for reason in self.masked_px}

    @property
    def areas_m2(self) -> dict[str, float]:
        """Ground area by class name."""
        areas = self._areas @ self._classes
        return dict(zip(self.scheme.names, areas.tolist(), strict=True))

    @property
    def outside_m2(self) -> float:
        """Ground area outside the area of interest."""
        return float(self._areas @ self._outside)

    @property
    def nodata_m2(self) -> float:
        """Ground area inside the area of interest that holds no data."""
        return float(self._areas @ self._nodata)

    @property
    def _nodata(self) -> NDArray[np.int64]:
        rest: NDArray[np.int64] = self.grid.width - self._outside - self._masked.sum(axis=1) - self._classes.sum(axis=1)
        return rest

    @property
    def _areas(self) -> NDArray[np.float64]:
        return self.model.pixel_areas(self.grid)
