"""How ambiguous a map is, cell by cell, and the boxes that are made of some cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Grid, Window
from geoseg.io.points import write_features
from geoseg.io.score_raster import opened_scores

Floats = NDArray[np.float64]

LAYER = "boxes"
_BAND_PX = 2**23


@dataclass(frozen=True)
class Box:
    """A place to digitize."""

    window: Window
    """Pixels of the map."""
    ambiguity: float
    """Mean of its pixels, 0…1."""
    classes: str
    """What the map says there, largest first."""


def is_ambiguity(path: Path) -> bool:
    """True for geoseg's ambiguity rasters, which say so; any other score raster tells confidence.

    Raises:
        InputMissingError: there is no such file.
        InputError: it cannot be read.
    """
    if not path.exists():
        raise InputMissingError(f"score raster {path} does not exist: check --scores.")
    try:
        with rasterio.open(path) as dataset:
            return bool(dataset.descriptions[0] == "ambiguity")
    except RasterioIOError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def cell_ambiguity(scores: Path, grid: Grid, *, height: int, width: int) -> Floats:
    """Mean ambiguity of the cells of a lattice from the raster's first pixel, read in bands of bounded memory.

    Args:
        scores: raster of ambiguity, or of confidence, whose ambiguity is 1 − confidence.
        grid: the class raster's.
        height: of a cell in pixels, at most the raster's.
        width: of a cell.

    Returns:
        (row, col) of the whole cells, 0…1; NaN where less than half of a cell has scores.

    Raises:
        InputMissingError, InputError: see `geoseg.io.score_raster.opened_scores`.
    """
    turned = not is_ambiguity(scores)
    rows, cols = grid.height // height, grid.width // width
    at_once = max(1, _BAND_PX // (height * grid.width))
    out = np.full((rows, cols), np.nan)
    with opened_scores(scores, grid) as read:
        for first in range(0, rows, at_once):
            last = min(first + at_once, rows)
            values = read(first * height, last * height)[:, : cols * width]
            cells = values.reshape(last - first, height, cols, width)
            valid = (cells > 0).sum(axis=(1, 3))
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = cells.sum(axis=(1, 3), dtype=np.int64) / (255.0 * valid)
            out[first:last] = np.where(2 * valid >= height * width, 1 - mean if turned else mean, np.nan)
    return out


def write_boxes(path: Path, boxes: Sequence[Box], grid: Grid) -> None:
    """Write boxes as polygons of a GeoPackage: rank (1 = most ambiguous), ambiguity, classes.

    Raises:
        OutputExistsError: the file cannot be created.
        OutputError: writing failed.
    """
    outlines = [shapely.normalize(shapely.Polygon(grid.corners(box.window))) for box in boxes]
    table = pa.table(
        {
            "geometry": pa.array([shapely.to_wkb(outline) for outline in outlines], pa.binary()),
            "rank": pa.array(range(1, len(boxes) + 1), pa.int32()),
            "ambiguity": pa.array([round(box.ambiguity, 4) for box in boxes], pa.float64()),
            "classes": pa.array([box.classes for box in boxes], pa.string()),
        }
    )
    write_features(table, path, layer=LAYER, geometry_type="Polygon", crs=grid.crs)
