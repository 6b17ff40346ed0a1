"""Arcs: the boundary lines between components, each held once for both neighbors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOTHING = -1
"""Component number of what gets no polygon: nodata, skipped classes, everything beyond the raster's frame."""


@dataclass(frozen=True)
class Arcs:
    """Complete arcs in whole pixels.

    A corner (col, row) is the upper left corner of pixel (col, row). A junction is a corner where three or four edges
    meet; an open arc runs from junction to junction (possibly the same), a free ring meets none. Canonical: open arcs
    start at the smaller (row, col) end (of a loop at one junction: the direction whose first step is smaller),
    rings at their smallest (row, col) corner, first step east.

        left and right as seen on the screen by someone who walks along the arc, rows growing downward:

             left (row - 1)
          ●────────────────►      a step east
             right (row)
    """

    corners: NDArray[np.int32]
    """(vertex, 2) column and row; only ends and turns are vertices; rings repeat their first vertex at the end."""
    starts: NDArray[np.int64]
    """(arc + 1,) first vertex of each arc, then the number of vertices."""
    left: NDArray[np.int64]
    """(arc,) component on the left, or NOTHING."""
    right: NDArray[np.int64]
    """(arc,) component on the right, or NOTHING."""
    ring: NDArray[np.bool_]
    """(arc,) True for free rings."""

    def __post_init__(self) -> None:
        if self.starts[-1] != len(self.corners):
            raise ValueError("arcs are inconsistent: offsets do not end at the number of vertices.")
        if not len(self.left) == len(self.right) == len(self.ring) == len(self):
            raise ValueError(f"{len(self)} arcs with {len(self.left)} left, {len(self.right)} right sides.")

    def __len__(self) -> int:
        return len(self.starts) - 1
