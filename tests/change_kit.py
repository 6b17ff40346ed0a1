"""Pairs of class rasters for tests of what happens between two dates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from builders import write_raster
from scipy import ndimage
from zone_kit import THREE, class_raster

NODATA = 255
CODES = np.array(THREE.codes, np.uint8)


def blobs(seed: int, shape: tuple[int, int] = (60, 80), *, holes: bool = True) -> np.ndarray:
    """(row, col) codes of three classes in patches of all sizes, with nodata at a corner and inside."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    codes = CODES[np.digitize(field, np.quantile(field, [0.35, 0.7]))]
    if holes:
        row, col = np.indices(shape)
        codes[(row + col < 12) | (np.hypot(row - 30, col - 20 - 7 * (seed % 4)) < 6)] = NODATA
    return codes


def scores(seed: int, codes: np.ndarray) -> np.ndarray:
    """(row, col) score bytes: 1…255 where there is a class."""
    found = np.random.default_rng(seed).integers(1, 256, codes.shape).astype(np.uint8)
    return np.where(codes == NODATA, 0, found).astype(np.uint8)


def scene(folder: Path, name: str, codes: np.ndarray, *, score: np.ndarray | None = None, **profile: Any) -> Path:
    """A class raster `NAME.classes.tif`, with its confidence raster if wished."""
    folder.mkdir(parents=True, exist_ok=True)
    if score is not None:
        write_raster(folder / f"{name}.confidence.tif", score, nodata=0, **profile)
    return class_raster(folder / f"{name}.classes.tif", codes, **profile)


def date(path: Path, when: str) -> Path:
    """The same raster, taken then."""
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(GEOSEG_DATETIME=when)
    return path


def as_item(path: Path, when: str) -> None:
    """A STAC item beside a class raster that says when."""
    item = path.with_name(path.name.replace(".classes.tif", ".json"))
    item.write_text(json.dumps({"type": "Feature", "properties": {"datetime": when}}))
