"""Open datasets: one handle per thread and file, since GDAL handles must not be shared (they return wrong pixels)."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import rasterio
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.vrt import WarpedVRT

from geoseg.errors import InputError
from geoseg.grid import Grid
from geoseg.io.limits import spare_files
from geoseg.io.ranges import WebFile
from geoseg.io.remote import confirm, is_remote, open_remote
from geoseg.io.scene import BandSource

MAX_OPEN = 64
"""Bands a thread keeps open: fewer where the process may not open many files, see `_spare`."""


@dataclass
class _Open:
    """A file, and what sees it through another grid."""

    datasets: list[Any]
    file: WebFile | None = None
    """Behind the datasets, where it stands on a server."""

    def close(self) -> None:
        for dataset in reversed(self.datasets):
            dataset.close()


class _Handles(threading.local):
    def __init__(self) -> None:
        self.open: OrderedDict[tuple[Any, ...], _Open] = OrderedDict()


_handles = _Handles()


def dataset_for(band: BandSource, grid: Grid) -> Any:
    """The open dataset to read a band from: the file itself, or the file seen through the scene's grid.

    The handle belongs to the calling thread and is closed when more than `MAX_OPEN` others were used since. What is
    read from it counts only within `trusted`.

    Raises:
        InputError: the file cannot be opened (any more).
        GeosegError: a server does not give it, see `geoseg.io.ranges.look_at`.
    """
    return _chain(band, grid).datasets[1 if band.warped else 0]


def presence_for(band: BandSource, grid: Grid) -> Any:
    """The open dataset that tells where a band has data: as `dataset_for`, but seen by the nearest neighbor.

    Bilinear pixels have a value wherever one of their four sources has one: nodata would lose a rim of half a pixel.

    Raises:
        InputError: the file cannot be opened (any more).
        GeosegError: a server does not give it, see `geoseg.io.ranges.look_at`.
    """
    chain = _chain(band, grid).datasets
    if not band.warped or band.nearest:
        return chain[-1]
    if len(chain) == 2:  # on the same open file, whose blocks are decoded once for both
        chain.append(_seen_through(chain[0], replace(band, nearest=True), grid))
    return chain[2]


@contextmanager
def trusted(band: BandSource, grid: Grid) -> Iterator[None]:
    """Reads in the block count only when it ends: a server's failure inside GDAL may have become pixels.

    Raises:
        GeosegError: why a server did not give a part of the file; the handle is closed.
    """
    found = _chain(band, grid)
    try:
        yield
    finally:
        if found.file is not None and found.file.failures:
            _handles.open.pop(_key(band, grid), found).close()
            confirm(found.file)


def _key(band: BandSource, grid: Grid) -> tuple[Any, ...]:
    return (band.path, _version(band.path), band.validity, (grid, band.nearest) if band.warped else None)


def _chain(band: BandSource, grid: Grid) -> _Open:
    key = _key(band, grid)
    if key in _handles.open:
        _handles.open.move_to_end(key)
        return _handles.open[key]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            chain = _Open(*open_remote(band.path)) if is_remote(band.path) else _Open([rasterio.open(band.path)])
            if band.warped:
                chain.datasets.append(_seen_through(chain.datasets[0], band, grid))
    except RasterioIOError as error:
        raise InputError(f"{band.path} cannot be opened: {error}") from error
    _handles.open[key] = chain
    while len(_handles.open) > min(MAX_OPEN, _spare()):
        _, oldest = _handles.open.popitem(last=False)
        oldest.close()
    return chain


def _spare() -> int:
    """Handles a thread may keep so that all threads together stay within what the process may open; at least one."""
    return max(1, spare_files() // max(1, threading.active_count()))


def _version(path: str) -> tuple[int, int, int]:
    """Another one when the file is another: an old handle would mix the old file's directory with new pixels."""
    try:
        status = Path(path).stat()
    except OSError:  # a GDAL virtual path
        return 0, 0, 0
    return status.st_ino, status.st_size, status.st_mtime_ns


def close_all() -> None:
    """Close the calling thread's handles."""
    while _handles.open:
        _handles.open.popitem()[1].close()


def _seen_through(dataset: Any, band: BandSource, grid: Grid) -> Any:
    """One virtual raster over the whole grid: windows of it never depend on which window is asked.

    The tolerance of 1e-6 pixels switches GDAL's approximate transformer off; with its default (0.125) and
    another origin per window a third of the pixels were seen to differ.
    """
    crs = rasterio.CRS.from_wkt(grid.crs.to_wkt())
    assumed = crs if band.crs_wkt is None else rasterio.CRS.from_wkt(band.crs_wkt)
    nodata = band.validity.nodata
    return WarpedVRT(
        dataset,
        src_crs=None if dataset.crs else assumed,
        crs=crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=Resampling.nearest if band.nearest else Resampling.bilinear,
        tolerance=1e-6,
        src_nodata=nodata,
        nodata=nodata,
        # Else nodata of one band counts as data as long as another band holds something else.
        UNIFIED_SRC_NODATA="NO",
        # Without a nodata value only an alpha band tells where the file has pixels at all.
        add_alpha=nodata is None and band.validity.alpha is None,
    )
