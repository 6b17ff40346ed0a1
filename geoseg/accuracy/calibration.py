"""Whether scores mean what they say: of all pixels that score 0.8, are 80 % right?

Scores are those of geoseg's rasters, 1…255 = round(255·p) and 0 for none, so all sums are exact integers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Counts = NDArray[np.int64]

BINS = 15
"""As in Guo et al. 2017; a bin holds exactly 17 of the 255 levels."""
LEVELS = 256
_FULL = LEVELS - 1


@dataclass(frozen=True)
class Bin:
    """Pixels of similar confidence: low < confidence ≤ high."""

    low: float
    high: float
    pixels: int
    confidence: float | None
    """Mean; None without pixels."""
    accuracy: float | None
    """Part of them that is right."""


@dataclass(frozen=True)
class Reliability:
    """Confidence beside accuracy."""

    levels: Counts
    """(2, 256): pixels by stored confidence that are wrong, that are right."""

    def __post_init__(self) -> None:
        if self.levels.shape != (2, LEVELS):
            raise ValueError(f"counts are (2, {LEVELS}), got {self.levels.shape}.")

    @property
    def pixels(self) -> int:
        """Counted pixels with a confidence."""
        return int(self.levels[:, 1:].sum())

    @property
    def bins(self) -> list[Bin]:
        """`BINS` of equal width, from 0 to 1."""
        width = _FULL // BINS
        out = []
        for number in range(BINS):
            first = 1 + number * width
            wrong, right = self.levels[:, first : first + width]
            pixels, hits = int((wrong + right).sum()), int(right.sum())
            told = int(((wrong + right) * np.arange(first, first + width)).sum())
            means = (told / _FULL / pixels, hits / pixels) if pixels else (None, None)
            out.append(Bin(number / BINS, (number + 1) / BINS, pixels, *means))
        return out

    @property
    def expected_error(self) -> float | None:
        """Expected calibration error: Σ pixels/all · |accuracy − confidence| over bins; None without pixels.

        Guo et al. 2017, arXiv 1706.04599, eq. 3.
        """
        if not self.pixels:
            return None
        filled = [(b.pixels, b.accuracy or 0.0, b.confidence or 0.0) for b in self.bins if b.pixels]
        return sum(n * abs(accuracy - confidence) for n, accuracy, confidence in filled) / self.pixels

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"pixels": self.pixels, "ece": self.expected_error, "bins": [asdict(one) for one in self.bins]}


def count_levels(reference: NDArray[Any], predicted: NDArray[Any], scores: NDArray[np.uint8], n: int) -> Counts:
    """Counted pixels by stored confidence and by whether the map is right.

    Args:
        reference: labels (row, col); those from n on do not count.
        predicted: labels of the map.
        scores: (row, col) confidence, 0 = none.
        n: number of classes.

    Returns:
        (2, 256): wrong, right.
    """
    out = np.zeros((2, LEVELS), np.int64)
    true, told, stored = (np.ascontiguousarray(a).ravel() for a in (reference, predicted, scores))
    _levels(true, told, stored, n, out)
    out[:, 0] = 0
    return out


def squared_errors(reference: NDArray[Any], scores: NDArray[np.uint8], layer_of: NDArray[np.int64]) -> Counts:
    """What Brier's score is made of (Brier 1950): Σ over classes of (probability − truth)².

    Args:
        reference: labels (row, col).
        scores: (layer, row, col) probabilities as stored; a pixel without a score in any layer does not count.
        layer_of: (label,) layer of each label; -1: the model has no such class (its probability is 0), -2: pixels of
            this label do not count.

    Returns:
        (2,): sum in units of 1/255², pixels.
    """
    out = np.zeros(2, np.int64)
    _squares(np.ascontiguousarray(reference), np.ascontiguousarray(scores), layer_of, out)
    return out


def brier(sums: Counts) -> float | None:
    """Mean squared error of the probabilities, 0 (perfect) … 2; None without pixels.

    Args:
        sums: as `squared_errors` gives them.
    """
    return int(sums[0]) / _FULL**2 / int(sums[1]) if sums[1] else None


@njit(cache=True, nogil=True)
def _levels(reference: NDArray[Any], predicted: NDArray[Any], scores: NDArray[Any], n: int, out: Counts) -> None:
    for i in range(len(reference)):
        if reference[i] < n and predicted[i] < n:
            out[int(reference[i] == predicted[i]), scores[i]] += 1


@njit(cache=True, nogil=True)
def _squares(reference: NDArray[Any], scores: NDArray[Any], layer_of: Counts, out: Counts) -> None:
    layers, height, width = scores.shape
    for row in range(height):
        for col in range(width):
            truth = layer_of[reference[row, col]]
            total = _FULL * _FULL if truth == -1 else 0
            known = truth != -2
            for layer in range(layers):
                value = int(scores[layer, row, col])
                known &= value > 0
                gap = value - _FULL if layer == truth else value
                total += gap * gap
            if known:
                out[0] += total
                out[1] += 1
