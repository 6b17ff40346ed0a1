"""Rasters of object numbers, and reference polygons as such, on the grid of a map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MergeAlg
from rasterio.features import rasterize
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.io.aligned import seen_through
from geoseg.io.class_raster import open_dataset, read_errors
from geoseg.io.raster import check_file, place
from geoseg.io.reference import BurnedClasses

CONTESTED = -1
"""Number of pixels that two reference objects claim."""
ReadIds = Callable[[Window], NDArray[Any]]


@contextmanager
def opened_instances(path: Path, own: Grid, grid: Grid) -> Iterator[ReadIds]:
    """A function, for one thread, that gives the object numbers (row, col) of a window of a grid; 0: none.

    Args:
        path: raster of one band of whole numbers.
        own: grid of the class raster that it goes with; it must be the same.
        grid: where the windows lie; another one is reached by nearest neighbor, as its class raster is.

    Raises:
        InputMissingError: there is no such file.
        InputError: it is no such raster; the function raises it when a window cannot be read.
    """
    check_file(str(path))
    with ExitStack() as stack:
        with read_errors(path):
            dataset = stack.enter_context(open_dataset(path))
            found, _ = place(str(path), dataset, None)
        if dataset.count != 1 or np.dtype(dataset.dtypes[0]).kind not in "iu":
            raise InputError(
                f"{path} has bands {dataset.dtypes}: a raster of object numbers has one band of whole numbers."
            )
        if not found.same_as(own):
            raise InputError(
                f"{path} ({found.width} × {found.height} pixels) is not on the grid of its class raster "
                f"({own.width} × {own.height})."
            )
        if not own.same_as(grid):
            dataset = stack.enter_context(seen_through(dataset, own, grid, 0))

        def read(window: Window) -> NDArray[Any]:
            box = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
            with read_errors(path):
                ids: NDArray[Any] = dataset.read(1, window=box)
            return ids

        yield read


@dataclass
class BurnedObjects(BurnedClasses):
    """Reference polygons as numbers of objects, 1 + place, block by block; for one thread."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `read` gives."""
        return np.dtype(np.int32)

    def _burn(self, block: Window) -> NDArray[Any]:
        xs, ys = zip(*self.grid.corners(block), strict=True)
        near = self.near(min(xs), min(ys), max(xs), max(ys))
        transform = self.grid.crop(block).transform
        if not len(near):
            return np.zeros(block.shape, np.int32)
        shapes = [(self.polygons[i], int(i) + 1) for i in sorted(near.tolist())]
        ids = rasterize(shapes, block.shape, transform=transform, dtype=np.int32)
        ones = [(shape, 1) for shape, _ in shapes]
        claims = rasterize(ones, block.shape, transform=transform, dtype=np.int32, merge_alg=MergeAlg.add)
        return np.where(claims > 1, np.int32(CONTESTED), ids)
