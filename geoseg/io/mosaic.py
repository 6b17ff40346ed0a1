"""Neighboring scenes as one: what a mosaic is. `geoseg.io.neighbors` makes one, `geoseg.io.overlay` reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Grid, Window
from geoseg.io.lattice import covering
from geoseg.io.scene import Scene
from geoseg.settings import Overlap


def edges_of(windows: Sequence[Window]) -> NDArray[np.int64]:
    """(4, window) first column and row, column and row behind the last."""
    return np.array([(w.col_off, w.row_off, w.col_end, w.row_end) for w in windows], np.int64).T


def meeting(edges: NDArray[np.int64], window: Window) -> NDArray[np.intp]:
    """Numbers of the windows, as edges (4, window), that share a pixel with one.

    Whole numbers compared at once: 40 µs for ten thousand windows, and no tree to build in every process.
    """
    left, top, right, bottom = edges
    across = (left < window.col_end) & (window.col_off < right)
    return np.flatnonzero(across & (top < window.row_end) & (window.row_off < bottom))


@dataclass(frozen=True)
class Part:
    """One scene of a mosaic."""

    scene: Scene
    window: Window
    """Where it lies on the mosaic's grid; of the scene's own size."""

    def __post_init__(self) -> None:
        if self.window.shape != self.scene.grid.shape:
            raise ValueError(f"a scene of {self.scene.grid.shape} pixels cannot fill a window of {self.window.shape}.")


@dataclass(frozen=True)
class Mosaic:
    """The scenes of a mosaic, and how they became one. A pixel is that of the first part where it is usable."""

    parts: tuple[Part, ...]
    overlap: Overlap
    """The rule by which they are in this order."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a mosaic needs at least one scene.")

    @cached_property
    def _edges(self) -> NDArray[np.int64]:
        return edges_of([part.window for part in self.parts])

    def under(self, window: Window) -> Iterator[tuple[Part, Window]]:
        """The parts that lie under a window, in their order, each with the pixels that both share."""
        for number in meeting(self._edges, window).tolist():
            part = self.parts[number]
            common = window.intersection(part.window)
            if common is not None:
                yield part, common

    def each(self, change: Callable[[Scene], Scene]) -> Mosaic:
        """The same mosaic of changed scenes, whose grids stay."""
        return replace(self, parts=tuple(replace(part, scene=change(part.scene)) for part in self.parts))

    def on_grid(self, own: Grid, grid: Grid) -> Mosaic:
        """The same scenes, each resampled onto its own piece of another grid in the same CRS.

        Args:
            own: the mosaic's.
            grid: the other one.
        """
        if own.crs != grid.crs:
            raise ValueError(f"a mosaic in {own.crs.name} cannot be seen in {grid.crs.name}.")
        parts = []
        for part in self.parts:
            window = covering(grid, own.corners(part.window))
            if window is not None:
                parts.append(Part(part.scene.on_grid(grid.crop(window)), window))
        return replace(self, parts=tuple(parts))
