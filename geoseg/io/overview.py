"""Small pictures of large rasters, for people: never an input of the network."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.handles import dataset_for, trusted
from geoseg.io.limits import cpu_count
from geoseg.io.mosaic import Mosaic
from geoseg.io.sample import aoi_window
from geoseg.io.scene import BandSource, Scene, path_name
from geoseg.model.normalize import reflectance

Small = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Reflectance (band, row, col) and validity (row, col)."""
STRIP_PX = 1024
"""Rows of a scene that are read at once: a tenth of a second for 10,000 columns."""
AROUND = 20
"""A picture shows this part of the AOI's longer side around it."""


def small_shape(height: int, width: int, longest: int) -> tuple[int, int]:
    """(rows, columns) of a picture whose longer side has at most `longest` pixels."""
    factor = max(1.0, max(height, width) / longest)
    return max(1, round(height / factor)), max(1, round(width / factor))


def picture_window(scene: Scene) -> Window:
    """What a picture of a scene shows: the area of interest with a little around it, without one everything."""
    frame = aoi_window(scene)
    if scene.aoi is None or frame is None:
        return scene.grid.window
    return frame.pad(1 + max(frame.shape) // AROUND).intersection(scene.grid.window) or scene.grid.window


def small_image(
    scene: Scene, longest: int = 1024, window: Window | None = None, stop: threading.Event | None = None
) -> Small:
    """Reflectance (band, row, col) and validity (row, col) of a window (default: all), averaged down.

    Args:
        scene: one or a mosaic.
        longest: side in pixels, at most.
        window: of the scene.
        stop: set by another thread when nobody wants the picture any more.

    Raises:
        InputError: the file cannot be decoded.
        CancelledError: it was stopped.
    """
    window, stop = window or scene.grid.window, stop or threading.Event()
    shape = small_shape(*window.shape, longest)
    if scene.mosaic is None:
        return _small(scene, window, shape, stop)
    return _small_mosaic(scene, scene.mosaic, window, shape, stop)


def _small_mosaic(scene: Scene, mosaic: Mosaic, window: Window, shape: tuple[int, int], stop: threading.Event) -> Small:
    """Each scene's picture in its place, the first one's above; clouds stay to be seen."""
    image, valid = np.zeros((len(scene.bands), *shape), np.float32), np.zeros(shape, bool)
    for part, common in mosaic.under(window):
        spot = _shrunk(common.relative_to(window), window, shape)
        if spot is not None:
            seen, there = _small(part.scene, common.relative_to(part.window), spot.shape, stop)
            there &= ~valid[spot.slices]
            np.copyto(image[(slice(None), *spot.slices)], seen, where=there)
            valid[spot.slices] |= there
    return image, valid


def _shrunk(part: Window, whole: Window, shape: tuple[int, int]) -> Window | None:
    """Where a part of a window lies on its picture; neighbors meet. None where it is smaller than half a pixel."""
    rows, cols = (
        [round(edge * small / large) for edge in edges]
        for edges, small, large in (
            ((part.row_off, part.row_end), shape[0], whole.height),
            ((part.col_off, part.col_end), shape[1], whole.width),
        )
    )
    if rows[0] == rows[1] or cols[0] == cols[1]:
        return None
    return Window.from_edges(left=cols[0], top=rows[0], right=cols[1], bottom=rows[1])


def _small(scene: Scene, window: Window, shape: tuple[int, int], stop: threading.Event) -> Small:
    planes, valid = [], np.ones(shape, bool)
    # Without overviews every block is decoded: seconds for a large scene. One processor is left to whoever waits.
    with ThreadPoolExecutor(max(1, cpu_count() - 1)) as pool:
        small = list(pool.map(lambda band: _small_plane(scene, band, window, shape, stop), scene.bands))
    for band, plane in zip(scene.bands, small, strict=True):
        valid &= ~np.ma.getmaskarray(plane)
        if plane.dtype.kind == "f":
            valid &= np.isfinite(plane.data)
        if band.validity.nodata is not None:  # the user's word, which the file's own mask does not know
            valid &= plane.data != band.validity.nodata
        planes.append(plane.data)
    data: NDArray[Any] = np.stack(planes)
    if scene.collar is not None:
        valid &= ~(data == scene.collar).all(axis=0)
    return reflectance(data, scene.scale, scene.offset), valid


def _small_plane(scene: Scene, band: BandSource, window: Window, shape: tuple[int, int], stop: threading.Event) -> Any:
    """A band as masked array (row, col); a mask that is but a comparison is made here, GDAL makes it at full size."""
    dataset = dataset_for(band, scene.grid)
    flags = set(dataset.mask_flag_enums[band.index - 1])  # empty: a mask of the band's own
    derived = bool(flags) and flags <= {MaskFlags.all_valid, MaskFlags.nodata}
    # GDAL turns to an overview at whole pixels of it: strips would not meet. Nor is there much to decode.
    block = window.height if dataset.overviews(band.index) else dataset.block_shapes[band.index - 1][0]
    asked = {"resampling": Resampling.average, "masked": not derived}
    strips = []
    try:
        with trusted(band, scene.grid):
            for strip, rows in _strips(window, shape[0], block):
                if stop.is_set():
                    raise CancelledError
                strips.append(dataset.read(band.index, window=strip, out_shape=(rows, shape[1]), **asked))
    except RasterioIOError as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise InputError(
            f"{path_name(band.path)} cannot be decoded for a picture ({cause}); the file or its overviews are "
            f"damaged, copy it again."
        ) from error
    plane: Any = np.ma.concatenate(strips)  # type: ignore[no-untyped-call]
    nodata = dataset.nodatavals[band.index - 1]
    if derived and nodata is not None:
        plane[plane.data == nodata] = np.ma.masked
    return plane


def _strips(window: Window, rows: int, block: int) -> Iterator[tuple[RasterioWindow, int]]:
    """A window cut across, no finer than its blocks are high, and the rows of the picture that each part gives.

    Edges may lie within a pixel: GDAL takes the share of it.
    """
    factor = window.height / rows
    step = math.ceil(max(block, STRIP_PX) / factor)
    for first in range(0, rows, step):
        count = min(step, rows - first)
        top = window.row_off + first * factor
        yield RasterioWindow(window.col_off, top, window.width, count * factor), count


def small_classes(raster: Path, longest: int = 1024, window: Window | None = None) -> NDArray[Any]:
    """Codes (row, col) of a window (default: all) of a class raster, from its overviews (by mode)."""
    with rasterio.open(raster) as dataset:
        window = window or Window(0, 0, dataset.width, dataset.height)
        shape = small_shape(*window.shape, longest)
        codes: NDArray[Any] = dataset.read(1, window=_spot(window), out_shape=shape, resampling=Resampling.nearest)
        return codes


def _spot(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col_off, window.row_off, window.width, window.height)
