"""How far from a chip's border a network's answer still depends on the border: measured, not derived."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError
from geoseg.training.score import Forward


@dataclass(frozen=True)
class MarginReport:
    """The measured margin and what it was chosen by."""

    margin: int
    """Smallest multiple of the stride that keeps the tolerance, in pixels."""
    disagreement: dict[int, float]
    """For each margin tried: share of pixels whose class changes when the margin is doubled."""


def measure_margin(
    forward: Forward,
    image: NDArray[np.float32],
    *,
    chip: int,
    stride: int,
    tolerance: float = 1e-3,
    counted: NDArray[np.bool_] | None = None,
) -> MarginReport:
    """Find the smallest margin m, a multiple of the stride, whose class map agrees with that of margin 2m.

    A network of receptive radius r gives equal maps for every m ≥ r; with a tolerance a smaller m may do.

    Args:
        forward: the network.
        image: normalized input (band, row, col) of real pixels, some chips large.
        chip: side of a chip in pixels.
        stride: chip, margin and step are multiples of it.
        tolerance: share of pixels that may differ; at 0 the maps must be equal.
        counted: (row, col) pixels that are compared, at least one; None: all.

    Raises:
        ConfigError: no margin that the chip has room for will do.
    """
    maps: dict[int, NDArray[np.intp]] = {}
    seen: dict[int, float] = {}
    for margin in range(stride, chip // 4 + 1, stride):
        if chip - 4 * margin < stride:
            break
        for each in (margin, 2 * margin):
            if each not in maps:
                maps[each] = stitched(forward, image, chip=chip, margin=each)
        differ = maps[margin] != maps[2 * margin]
        seen[margin] = float(np.mean(differ if counted is None else differ[counted]))
        if seen[margin] < tolerance or seen[margin] == 0:
            return MarginReport(margin, seen)
    shown = ", ".join(f"{m} px: {share:.2%}" for m, share in seen.items()) or "none fits"
    raise ConfigError(f"no margin keeps {tolerance:.2%} disagreement in chips of {chip} pixels ({shown}).")


def stitched(forward: Forward, image: NDArray[np.float32], *, chip: int, margin: int) -> NDArray[np.intp]:
    """Class index (row, col) of an image predicted chip by chip, each trimmed by the margin.

    Chips step by chip − 2·margin from the first pixel on; beyond the edge the image is mirrored.
    """
    rows, cols = image.shape[1:]
    step = chip - 2 * margin
    frame = [(margin, -size % step + margin) for size in (rows, cols)]
    padded = np.pad(image, [(0, 0), *frame], mode="reflect")
    result = np.empty((rows + frame[0][1] - margin, cols + frame[1][1] - margin), np.intp)
    inner = slice(margin, margin + step)
    for row in range(0, rows, step):
        for col in range(0, cols, step):
            scores = forward(padded[None, :, row : row + chip, col : col + chip])[0]
            result[row : row + step, col : col + step] = scores[:, inner, inner].argmax(axis=0)
    return result[:rows, :cols]


def mosaic(images: NDArray[Any], count: int) -> NDArray[Any]:
    """Count² of the images (chip, band, row, col), evenly spread over all, as one (band, row, col)."""
    picked = images[np.linspace(0, len(images) - 1, count * count).round().astype(int)]
    chips, bands, rows, cols = picked.shape
    grid = picked.reshape(count, chips // count, bands, rows, cols)
    return np.ascontiguousarray(grid.transpose(2, 0, 3, 1, 4)).reshape(bands, count * rows, count * cols)
