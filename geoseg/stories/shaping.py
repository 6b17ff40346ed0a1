"""How lines are simplified and smoothed, once for both neighbors, as they are completed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Grid
from geoseg.ground import AreaModel
from geoseg.polygons.arcs import Arcs
from geoseg.polygons.assemble import MapFacts
from geoseg.polygons.simplify import Lenses, simplify_arcs
from geoseg.polygons.smooth import smooth_arcs
from geoseg.polygons.vertex_bits import VertexBits
from geoseg.settings import VectorSettings

BITS_IN_MEMORY = 1 << 28
"""Bytes; the vertices of larger rasters are marked in a file."""


class Shaper:
    """Simplifies and smooths arcs as they are completed."""

    def __init__(
        self, last_row: NDArray[np.int32], facts: MapFacts, settings: VectorSettings, scratch: Path | None
    ) -> None:
        grid = facts.grid
        large = scratch is not None and (grid.height + 1) * (grid.width + 1) > 8 * BITS_IN_MEMORY
        self.bits = VertexBits(grid.height, grid.width, scratch / "vertices" if scratch and large else None)
        self._lenses = Lenses(last_row)
        self._tolerance_px2 = tolerance_px2(settings.simplify, grid, facts.model)
        self._outer, self._smooth = settings.simplify_outer, settings.smooth

    def shape(self, arcs: Arcs) -> Arcs:
        """The same arcs with the vertices to be written."""
        self._lenses.add(arcs)
        arcs = simplify_arcs(arcs, self.bits, self._lenses, tolerance_px2=self._tolerance_px2, outer=self._outer)
        return smooth_arcs(arcs, self.bits, outer=self._outer) if self._smooth else arcs


def tolerance_px2(tolerance_m: float, grid: Grid, model: AreaModel) -> float:
    """A tolerance in ground meters as an area in pixels: M² / ground area of a pixel in the raster's middle row.

    Raises:
        InputError: that row lies where the CRS has no place on the ground.
    """
    pixel_m2 = float(model.pixel_areas(grid, np.array([grid.height // 2]))[0])
    if not pixel_m2 > 0:
        raise InputError(
            f"the middle of the raster lies outside the domain of {model.crs.name!r}: meters mean nothing there; "
            "warp it to another CRS or leave --simplify out."
        )
    return tolerance_m**2 / pixel_m2
