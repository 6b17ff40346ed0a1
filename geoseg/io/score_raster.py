"""Confidence rasters as polygons take their scores from them, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Grid


@contextmanager
def opened_scores(path: Path, grid: Grid) -> Iterator[Callable[[int, int], NDArray[Any]]]:
    """A function that gives scores (row, col; uint8, 255 = 1.0) of rows first … last - 1, for one thread.

    Args:
        path: raster on exactly this grid.
        grid: grid of the class raster.

    Raises:
        InputMissingError: there is no such file.
        InputError: it is no confidence raster of this class raster; the function raises it when rows cannot be read.
    """
    if not path.exists():
        raise InputMissingError(f"confidence raster {path} does not exist: check --scores.")
    try:
        dataset = rasterio.open(path)
    except RasterioIOError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    with dataset:
        _check(path, dataset, grid)

        def read_rows(first: int, last: int) -> NDArray[Any]:
            try:
                rows: NDArray[Any] = dataset.read(1, window=RasterioWindow(0, first, grid.width, last - first))
            except RasterioIOError as error:
                raise InputError(f"{path} cannot be read: {error}") from error
            return rows

        yield read_rows


def _check(path: Path, dataset: Any, grid: Grid) -> None:
    if dataset.dtypes != ("uint8",) or dataset.crs is None:
        raise InputError(
            f"{path} has bands {dataset.dtypes} and CRS {dataset.crs}: a confidence raster has "
            "one uint8 band and the class raster's CRS; name the right one with --scores."
        )
    theirs = Grid(CRS.from_user_input(dataset.crs), dataset.transform, dataset.width, dataset.height)
    if not theirs.same_as(grid):
        raise InputError(
            f"{path} ({theirs.width} × {theirs.height} pixels) is not on the class raster's grid "
            f"({grid.width} × {grid.height}): name the right one with --scores."
        )
