"""Scenes with labels on disk, of every kind that `geoseg train` takes; what is right is known by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from affine import Affine
from builders import NORTH_UP, UTM, write_raster
from chipmaker import recipe

from geoseg.grid import Window
from geoseg.training.chips import IGNORE
from geoseg.training.data import TrainingData
from geoseg.training.recipe import Recipe, recipe_of

CHIP = 16
CODES = (10, 20, 30)


def shifted(cols: float, rows: float) -> Affine:
    """The scenes' grid, moved by pixels."""
    return NORTH_UP @ Affine.translation(cols, rows)


def write_scene(path: Path, height: int = 64, width: int = 80, **profile: Any) -> Path:
    """Bands red and nir hold each pixel's row and column, plus 1: 0 is nodata."""
    rows, cols = np.mgrid[0:height, 0:width]
    data = np.stack([rows, cols]).astype(np.uint16) + 1
    return write_raster(path, data, names=("red", "nir"), nodata=0, **profile)


def box(left: float, top: float, right: float, bottom: float) -> Any:
    """Pixel edges of a scene → polygon in its CRS."""
    import shapely

    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return shapely.Polygon([NORTH_UP @ corner for corner in corners])


def write_shapes(path: Path, shapes: Sequence[tuple[Any, Any]], crs: str = UTM, **columns: Any) -> Path:
    """(value, geometry in UTM) pairs → vector file with the field `kind`."""
    table = gpd.GeoDataFrame({"kind": [v for v, _ in shapes], **columns}, geometry=[g for _, g in shapes], crs=UTM)
    table.to_crs(crs).to_file(path)
    return path


def scene_recipe(folder: Path, scenes: Sequence[dict[str, Any]], **data: Any) -> Recipe:
    """A recipe of three classes (codes 10, 20, 30; texts a, b, c) for scenes in a folder."""
    content = recipe()
    content["model"]["gsd_m"] = [5, 40]
    content["data"] = {"scenes": list(scenes), "chip": CHIP, **data}
    content["bands"] = [{"name": "red"}, {"name": "nir"}]
    content["classes"] = [
        {"code": code, "name": name, "color": color, "labels": [code, name]}
        for code, name, color in zip(CODES, "abc", ("#ff0000", "#00ff00", "#0000ff"), strict=True)
    ]
    content["augment"]["crop"] = 16
    return recipe_of(content, folder / "recipe.yaml")


def training_map(data: TrainingData, height: int = 64, width: int = 80) -> np.ndarray:
    """Class index (row, col) of the one scene's training and validation pixels, `IGNORE` elsewhere.

    Places are taken from the pixels themselves, which hold their own row and column.
    """
    out = np.full((height, width), IGNORE, np.uint8)
    for image, labels, valid in zip(data.chips.images, data.chips.labels, data.chips.valid, strict=True):
        used = valid & (labels != IGNORE)
        rows, cols = (image[band][used].astype(int) - 1 for band in (0, 1))
        assert (out[rows, cols] == IGNORE).all(), "a pixel was cut twice"
        out[rows, cols] = labels[used]
    return out


def window_of(data: TrainingData, chip: int) -> Window:
    """Where a chip was cut, by its first pixel."""
    red, nir = data.chips.images[chip, :, 0, 0].astype(int) - 1
    return Window(int(nir), int(red), CHIP, CHIP)
