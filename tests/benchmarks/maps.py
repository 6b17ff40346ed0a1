"""Seeded class maps for the benchmarks: white noise, smoothed by a Gaussian and cut into classes of equal area.

    smooth      sigma 16 px, 5 classes:      about 250 components a megapixel
    realistic   sigma 4.5 px, 5 classes:   about 4 000
    noisy       sigma 1.6 px, 3 classes:  about 30 000

Maps larger than `PIECE` are mosaics of shifted and flipped copies of one that wraps around, made row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import scipy.ndimage  # type: ignore[import-untyped]
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

NODATA = 255
MAPS = {"smooth": (16.0, 5), "realistic": (4.5, 5), "noisy": (1.6, 3)}
PIECE = 4096
Codes = NDArray[np.uint8]


def seeded_map(size: int, sigma: float, classes: int, seed: int = 0) -> Codes:
    """(row, col) codes 0 … classes - 1 of equal shares; opposite borders fit."""
    noise = np.random.default_rng(seed).standard_normal((size, size), np.float32)
    field = scipy.ndimage.gaussian_filter(noise, sigma, mode="wrap")
    limits = np.quantile(field[:: max(1, size // 512)], np.arange(1, classes) / classes)
    codes: Codes = np.digitize(field, limits).astype(np.uint8)
    return codes


def map_bands(size: int, name: str) -> Iterator[tuple[int, Codes]]:
    """First row and (row, col) codes of the bands of a map of any size."""
    piece = seeded_map(min(size, PIECE), *MAPS[name])
    side, rng = len(piece), np.random.default_rng(1)
    for first in range(0, size, side):
        copies = []
        for _ in range(0, size, side):
            shift, flip = rng.integers(0, side, 2), rng.integers(0, 2, 2)
            moved = np.roll(piece, shift, (0, 1)) if size > side else piece
            copies.append(moved[:: 1 - 2 * flip[0], :: 1 - 2 * flip[1]])
        yield first, np.concatenate(copies, axis=1)[: size - first, :size]


def whole_map(size: int, name: str) -> Codes:
    """(row, col) all bands in memory."""
    return np.concatenate([codes for _, codes in map_bands(size, name)])


def write_map(path: Path, size: int, name: str) -> None:
    """A class raster in UTM 32 N with pixels of 10 m."""
    place = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000), "nodata": NODATA}
    kind = {"driver": "GTiff", "dtype": "uint8", "count": 1, "compress": "deflate", "zlevel": 1, "tiled": True}
    sizes = {"width": size, "height": size, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(path, "w", **kind, **sizes, **place, num_threads="all_cpus") as dataset:
        for first, codes in map_bands(size, name):
            dataset.write(codes, 1, window=Window(0, first, *codes.shape[::-1]))
