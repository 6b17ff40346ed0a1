"""Windows of a mosaic: each pixel is that of the first scene in which it is usable, with all of its bands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.mosaic import Mosaic
from geoseg.io.scene import Scene
from geoseg.model.normalize import reflectance

Bools = NDArray[np.bool_]
Seen = tuple[NDArray[Any], Bools, NDArray[np.uint8] | None]
"""Numbers (band, row, col), what of them is there (1 or band, row, col), and why pixels are masked (row, col)."""


def overlaid(scene: Scene, mosaic: Mosaic, window: Window, look: Callable[[Scene, Window], Seen]) -> Seen:
    """A window of a mosaic, which lies within it.

    Where no scene has a usable pixel, the first that holds a masked one says why; where none has either, nothing is
    there. Only scenes under the window are read, and of these only what no earlier one gives.

    Args:
        scene: the mosaic as a scene.
        mosaic: its parts.
        window: of the mosaic's grid.
        look: how a window of one part is read.
    """
    canvas = _Canvas(scene, window)
    for part, common in mosaic.under(window):
        spot = common.relative_to(window)
        if canvas.open[spot.slices].any():
            data, present, reason = look(part.scene, common.relative_to(part.window))
            canvas.lay(spot, _meant(data, part.scene, scene), present, reason)
    return canvas.data, canvas.present, canvas.reason


def _meant(data: NDArray[Any], part: Scene, scene: Scene) -> NDArray[Any]:
    """Stored numbers, or reflectance where the scenes of the mosaic do not store it alike."""
    if (part.scale, part.offset) == (scene.scale, scene.offset):
        return data
    return reflectance(data, part.scale, part.offset)


class _Canvas:
    """A window that is filled scene by scene."""

    def __init__(self, scene: Scene, window: Window) -> None:
        self.any = scene.valid_rule == "any"
        self.data = np.zeros((len(scene.bands), *window.shape), scene.dtype)
        self.present = np.zeros((len(scene.bands) if self.any else 1, *window.shape), bool)
        self.reason: NDArray[np.uint8] | None = None
        self.open = np.ones(window.shape, bool)
        """(row, col) where no usable pixel was found yet."""

    def lay(self, spot: Window, data: NDArray[Any], present: Bools, reason: NDArray[np.uint8] | None) -> None:
        """Take from a scene, which covers `spot` of the window, what the earlier ones lack."""
        at = (slice(None), *spot.slices)
        free = self.open[spot.slices]
        take = free & (present.any(axis=0) if self.any else present.all(axis=0))
        if reason is not None:
            if self.reason is None:
                self.reason = np.zeros(self.open.shape, np.uint8)
            usable = take & (reason == 0)
            # A masked pixel counts as long as no scene has a usable one, and the first as well as any.
            take = usable | (take & (self.reason[spot.slices] == 0))
        else:
            usable = take
        np.copyto(self.data[at], data, where=take, casting="same_kind")
        np.copyto(self.present[at], present, where=take)
        if self.reason is not None:
            np.copyto(self.reason[spot.slices], 0 if reason is None else reason, where=take)
        free &= ~usable
