"""Class rasters on the grid of another: each pixel takes the class at its center, whichever window is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geoseg.grid import Grid, Window
from geoseg.io.class_raster import ClassRaster, open_dataset, read_errors, recoded
from geoseg.io.recode import Recoding


@contextmanager
def opened_on(raster: ClassRaster, grid: Grid, recoding: Recoding) -> Iterator[Callable[[Window], NDArray[Any]]]:
    """A function, for one thread, that gives what a recoding makes of the stored values in a window of a grid.

    Where the raster does not reach, or has no class, that is `recoding.other`. A raster on another grid is seen
    through one virtual raster over the whole of `grid`, by nearest neighbor and with exact coordinates.

    Args:
        raster: anyone's, of any grid and CRS.
        grid: where the windows lie.
        recoding: of stored values.

    Raises:
        InputError: the file cannot be opened; the function raises it when a window cannot be read.
    """
    with ExitStack() as stack:
        with read_errors(raster.path):
            dataset = stack.enter_context(open_dataset(raster.path))
            if not raster.grid.same_as(grid):
                dataset = stack.enter_context(seen_through(dataset, raster.grid, grid, raster.stored_nodata))

        def read(window: Window) -> NDArray[Any]:
            with read_errors(raster.path):
                return recoded(dataset, window, recoding)

        yield read


def seen_through(dataset: Any, own: Grid, grid: Grid, nodata: float | None) -> Any:
    """An open raster on another grid, by nearest neighbor.

    As `geoseg.io.handles` sees images; the tolerance switches GDAL's approximate transformer off.

    Args:
        dataset: rasterio's.
        own: its grid.
        grid: the other one.
        nodata: its value for no data, which stands where it does not reach; None: it has none.
    """
    return WarpedVRT(
        dataset,
        src_crs=None if dataset.crs else rasterio.CRS.from_wkt(own.crs.to_wkt()),
        crs=rasterio.CRS.from_wkt(grid.crs.to_wkt()),
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=Resampling.nearest,
        tolerance=1e-6,
        src_nodata=nodata,
        nodata=nodata,
        # Without a nodata value only an alpha band tells where the file has pixels at all.
        add_alpha=nodata is None and dataset.count == 1,
    )
