"""Score rasters beside a class raster, read by rows or windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Grid, Window

_COUNTED_PX = 1 << 21


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
    with opened_layers(path, grid, single=True) as (_, read):
        yield lambda first, last: read(Window(0, first, grid.width, last - first))[0]


@contextmanager
def opened_class_scores(path: Path, grid: Grid, name: str) -> Iterator[Callable[[int, int], NDArray[Any]]]:
    """A function that gives one class's scores (row, col; uint8, 255 = 1.0) of rows first … last - 1, for one thread.

    Args:
        path: raster of all classes' scores on exactly this grid, a band each, called as the classes are.
        grid: grid of the class raster.
        name: of the class.

    Raises:
        InputMissingError: there is no such file.
        InputError: it is no such raster, or has no band of this name; the function raises it when rows cannot be read.
    """
    with opened_layers(path, grid) as (names, read):
        if name not in names:
            raise InputError(
                f"{path} has no band {name!r}, but {', '.join(map(str, names))}: name the model's own class."
            )
        layer = names.index(name)
        yield lambda first, last: read(Window(0, first, grid.width, last - first), [layer + 1])[0]


def score_counts(path: Path, grid: Grid) -> NDArray[np.int64]:
    """(256,) pixels of a score raster by stored value; 0 is nodata.

    Memory: some 10 bytes for each of `_COUNTED_PX` pixels, at least of a row.

    Args:
        path: raster on exactly this grid.
        grid: grid of the class raster.

    Raises:
        InputMissingError: there is no such file.
        InputError: it is no confidence raster of this grid, or cannot be read.
    """
    rows = max(1, _COUNTED_PX // grid.width)
    counts = np.zeros(256, np.int64)
    with opened_scores(path, grid) as read:
        for row in range(0, grid.height, rows):
            counts += np.bincount(read(row, min(row + rows, grid.height)).ravel(), minlength=256)
    return counts


@contextmanager
def opened_layers(
    path: Path, grid: Grid, *, single: bool = False
) -> Iterator[tuple[tuple[str | None, ...], Callable[..., NDArray[np.uint8]]]]:
    """Names of a score raster's layers, and a function that gives a window of them (layer, row, col), for one thread.

    The function takes the window and, if not all are wanted, the numbers of the layers, from 1 on.

    Args:
        path: uint8 raster on exactly this grid.
        grid: grid of the class raster.
        single: whether it must have one layer, and not any number.

    Raises:
        InputMissingError: there is no such file.
        InputError: it is no score raster of this class raster; the function raises it when a window cannot be read.
    """
    if not path.exists():
        raise InputMissingError(f"confidence raster {path} does not exist: check --scores.")
    try:
        dataset = rasterio.open(path)
    except RasterioIOError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    with dataset:
        _check(path, dataset, grid, single=single)

        def read(window: Window, wanted: list[int] | None = None) -> NDArray[np.uint8]:
            spot = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
            try:
                layers: NDArray[np.uint8] = dataset.read(wanted, window=spot)
            except RasterioIOError as error:
                raise InputError(f"{path} cannot be read: {error}") from error
            return layers

        yield tuple(dataset.descriptions), read


def _check(path: Path, dataset: Any, grid: Grid, *, single: bool) -> None:
    if set(dataset.dtypes) != {"uint8"} or (single and dataset.count != 1) or dataset.crs is None:
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
