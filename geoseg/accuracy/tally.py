"""Everything that a comparison of two maps counts, added up part by part in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.boundary import boundary_counts
from geoseg.accuracy.calibration import LEVELS, Reliability, count_levels, squared_errors
from geoseg.accuracy.confusion import NONE, REASONS, count_pairs, label_dtype
from geoseg.grid import Window

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """What is known of a piece of both maps."""

    core: Window
    """What it stands for."""
    around: Window
    """What its labels show: the core and, as far as the frame reaches, the boundary distance around it."""
    reference: NDArray[Any]
    """Labels (row, col) of `around`, see `geoseg.accuracy.confusion`."""
    predicted: NDArray[Any]
    scores: NDArray[np.uint8] | None = None
    """Confidence (row, col) of the core."""
    probabilities: NDArray[np.uint8] | None = None
    """(layer, row, col) of the core."""

    def __post_init__(self) -> None:
        if self.core.intersection(self.around) != self.core:
            raise ValueError(f"{self.core} is not inside {self.around}.")
        if not self.reference.shape == self.predicted.shape == self.around.shape:
            raise ValueError(f"labels {self.reference.shape}, {self.predicted.shape} do not fit {self.around}.")


@dataclass
class MapTally:
    """Sums over the parts of a frame; equal for every way to cut it into parts."""

    n: int
    """Number of classes."""
    frame: Window
    """What is compared."""
    picture: tuple[int, int]
    """(rows, columns) of the small pictures."""
    distance_px: int = 0
    """Of the boundary IoU; 0: not asked for."""
    layer_of: Counts | None = None
    """(label,) see `geoseg.accuracy.calibration.squared_errors`."""
    pairs: Counts = field(init=False)
    """(n + 3, n + 3), see `geoseg.accuracy.confusion.count_pairs`."""
    boundary: Counts = field(init=False)
    """(3, n), see `geoseg.accuracy.boundary.boundary_counts`."""
    levels: Counts = field(init=False)
    """(2, 256), see `geoseg.accuracy.calibration.count_levels`."""
    squares: Counts = field(init=False)
    """(2,), see `geoseg.accuracy.calibration.squared_errors`."""
    small_reference: NDArray[Any] = field(init=False)
    """Labels (row, col) of the reference, every so many pixels; what is not compared is n."""
    small_predicted: NDArray[Any] = field(init=False)
    counted: Window | None = field(init=False, default=None)
    """The smallest window that holds all counted pixels."""

    def __post_init__(self) -> None:
        size = self.n + REASONS
        self.pairs = np.zeros((size, size), np.int64)
        self.boundary = np.zeros((3, self.n), np.int64)
        self.levels = np.zeros((2, LEVELS), np.int64)
        self.squares = np.zeros(2, np.int64)
        self.small_reference = np.full(self.picture, self.n + NONE, label_dtype(self.n))
        self.small_predicted = self.small_reference.copy()

    def add(self, part: Part) -> None:
        """Count a part."""
        inner = part.core.relative_to(part.around).slices
        reference, predicted = part.reference[inner], part.predicted[inner]
        self.pairs += count_pairs(reference, predicted, self.n)
        if self.distance_px:
            maps = (part.reference, part.predicted)
            self.boundary += boundary_counts(*maps, part.around, part.core, self.n, self.distance_px)
        if part.scores is not None:
            self.levels += count_levels(reference, predicted, part.scores, self.n)
        if part.probabilities is not None and self.layer_of is not None:
            self.squares += squared_errors(reference, part.probabilities, self.layer_of)
        self._draw(part.core, reference, predicted)
        self._widen(part.core, (reference < self.n) & (predicted < self.n))

    @property
    def matrix(self) -> Counts:
        """(reference class, class of the map): the confusion matrix."""
        return self.pairs[: self.n, : self.n]

    @property
    def reliability(self) -> Reliability:
        """Confidence beside accuracy."""
        return Reliability(self.levels)

    def uncounted(self, reason: int) -> int:
        """Pixels that do not count for a reason of the reference's, whatever the map says there."""
        return int(self.pairs[self.n + reason].sum())

    @property
    def unmapped(self) -> int:
        """Pixels with a reference class for which the map has none."""
        return int(self.pairs[: self.n, self.n :].sum())

    def _draw(self, core: Window, reference: NDArray[Any], predicted: NDArray[Any]) -> None:
        rows = _sampled(self.frame.row_off, self.frame.height, self.picture[0])
        cols = _sampled(self.frame.col_off, self.frame.width, self.picture[1])
        (top, bottom), (left, right) = (
            np.searchsorted(rows, (core.row_off, core.row_end)),
            np.searchsorted(cols, (core.col_off, core.col_end)),
        )
        here = np.ix_(rows[top:bottom] - core.row_off, cols[left:right] - core.col_off)
        self.small_reference[top:bottom, left:right] = reference[here]
        self.small_predicted[top:bottom, left:right] = predicted[here]

    def _widen(self, core: Window, counted: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(counted.any(axis=1))
        if not len(rows):
            return
        cols = np.flatnonzero(counted.any(axis=0))
        known = self.counted
        top, bottom = core.row_off + int(rows[0]), core.row_off + int(rows[-1]) + 1
        left, right = core.col_off + int(cols[0]), core.col_off + int(cols[-1]) + 1
        if known is not None:
            top, bottom = min(top, known.row_off), max(bottom, known.row_end)
            left, right = min(left, known.col_off), max(right, known.col_end)
        self.counted = Window.from_edges(left=left, top=top, right=right, bottom=bottom)


def _sampled(start: int, length: int, count: int) -> NDArray[np.int64]:
    """`count` pixels of start … start + length − 1, evenly spread."""
    return start + ((2 * np.arange(count) + 1) * length) // (2 * count)
