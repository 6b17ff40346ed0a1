"""Windows of a scene as pixels: boundless with mirrored edges, and with honest validity."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from rasterio.windows import Window as RasterioWindow
from shapely import box, intersects

from geoseg.arrays import Chip
from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.burn import touched
from geoseg.io.handles import dataset_for, presence_for, trusted
from geoseg.io.masks import masked
from geoseg.io.overlay import Seen, overlaid
from geoseg.io.scene import BandSource, Scene, path_name
from geoseg.quality import worst

Bools = NDArray[np.bool_]


def read_chip(scene: Scene, window: Window) -> Chip:
    """Read a window, which may reach beyond the raster.

    Beyond the edge, pixels are mirrored about the edge pixel's centre (… 2 1 | 0 1 2 …) and `valid` is False. What
    the scene's masks cover is neither present nor valid.

        scene      0 1 2 3 4
        window  -2 ─────► 3        data 2 1 0 1 2,  valid F F T T T

    Raises:
        InputError: a block of the file cannot be decoded; the message names the window.
        TemporaryError: a server did not give it.
    """
    rows = _mirror(window.row_off, window.row_end, scene.grid.height)
    cols = _mirror(window.col_off, window.col_end, scene.grid.width)
    inner = Window.from_edges(
        left=int(cols.min()), top=int(rows.min()), right=int(cols.max()) + 1, bottom=int(rows.max()) + 1
    )
    data, present, reason = _seen(scene, inner)
    for axis, numbers, size in ((-2, rows - inner.row_off, inner.height), (-1, cols - inner.col_off, inner.width)):
        if not np.array_equal(numbers, np.arange(size)):
            # One axis after the other: both at once was seen to take three times as long.
            data, present = data.take(numbers, axis), present.take(numbers, axis)
            reason = None if reason is None else reason.take(numbers, axis)
    valid: Bools = np.any(present, axis=0) if scene.valid_rule == "any" else np.all(present, axis=0)
    valid = valid & inside(scene, window)
    if reason is None:
        return Chip(data, present, valid, window)
    clear = reason == 0
    return Chip(data, present & clear, valid & clear, window, np.where(valid, reason, np.uint8(0)))


def _seen(scene: Scene, window: Window) -> Seen:
    """A window within the raster, with the reasons (row, col) why pixels that are there are masked."""
    reason: NDArray[np.uint8] | None = None
    if scene.mosaic is None:
        data, present = read_inside(scene, window)
    else:
        data, present, reason = overlaid(scene, scene.mosaic, window, _seen)
    if scene.masks:
        own = masked(scene.masks, scene.grid, window, scene.mask_buffer_m)
        reason = own if reason is None else worst([reason, own])
    return data, present, reason


def read_inside(scene: Scene, window: Window) -> tuple[NDArray[Any], Bools]:
    """Stored numbers (band, row, col) and presence (1 or band, row, col) of a window within the raster.

    Masks are not asked, but by a mosaic, whose pixels come from the scenes where they are clear.
    """
    if scene.mosaic is not None:
        return overlaid(scene, scene.mosaic, window, _seen)[:2]
    data = np.empty((len(scene.bands), *window.shape), scene.dtype)
    present = np.ones((len(scene.bands), *window.shape), bool)
    for indices, bands in _by_file(scene):
        _read_file(scene, bands, indices, window, data, present)
    if scene.collar is not None:
        present &= ~(data == scene.collar).all(axis=0)
    if scene.valid_rule == "all":
        present = np.all(present, axis=0, keepdims=True)
    return data, present


def inside(scene: Scene, window: Window) -> Bools:
    """(row, col): True where a pixel lies in the raster and the area of interest covers some of it."""
    result = np.zeros(window.shape, bool)
    common = window.intersection(scene.grid.window)
    if common is None:
        return result
    result[common.relative_to(window).slices] = True
    if scene.aoi_wkb is not None:
        result[common.relative_to(window).slices] = touched(scene.aoi_wkb, scene.grid, common)
    return result


def touches_aoi(scene: Scene, window: Window) -> bool:
    """False when no pixel of the window can lie in the area of interest, so that it need not be read."""
    aoi = scene.aoi
    if aoi is None:
        return True
    # The area is snapped to 1/1024 pixel, which may bring it into a pixel that it only touched.
    corners = scene.grid.corners(window.pad(1))
    xs, ys = zip(*corners, strict=True)
    return bool(intersects(aoi, box(min(xs), min(ys), max(xs), max(ys))))


def _mirror(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Pixel numbers start … stop-1 folded into 0 … size-1, edge pixels not repeated."""
    period = max(1, 2 * (size - 1))
    folded = np.arange(start, stop) % period
    return np.minimum(folded, period - folded) if size > 1 else np.zeros(stop - start, np.intp)


def _by_file(scene: Scene) -> Iterator[tuple[list[int], list[BandSource]]]:
    """Bands of one file and rule together, so that a pixel-interleaved file is decoded once."""

    def key(item: tuple[int, BandSource]) -> tuple[str, str, bool]:
        return item[1].path, repr(item[1].validity), item[1].warped

    for _, group in groupby(sorted(enumerate(scene.bands), key=key), key=key):
        numbered = list(group)
        yield [i for i, _ in numbered], [band for _, band in numbered]


def _read_file(
    scene: Scene, bands: list[BandSource], to: list[int], window: Window, data: NDArray[Any], present: Bools
) -> None:
    dataset, seen = dataset_for(bands[0], scene.grid), presence_for(bands[0], scene.grid)
    spot = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
    try:
        with trusted(bands[0], scene.grid):
            pixels = dataset.read([band.index for band in bands], window=spot)
            stored = pixels if seen is dataset else seen.read([band.index for band in bands], window=spot)
            usable = _told(seen, bands[0], spot, stored)
    except RasterioIOError as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise InputError(
            f"{path_name(bands[0].path)} cannot be decoded at columns {window.col_off}…{window.col_end - 1}, "
            f"rows {window.row_off}…{window.row_end - 1} ({cause}); the file is damaged, copy it again."
        ) from error
    data[to] = pixels
    for array in [pixels] if stored is pixels else [pixels, stored]:
        if array.dtype.kind == "f":  # NaN and ±inf are never usable
            usable = usable & np.isfinite(array)
    present[to] = usable


def _told(dataset: Any, band: BandSource, spot: RasterioWindow, pixels: NDArray[Any]) -> Bools:
    """(1 or band, row, col): where there is data by the file's one rule."""
    rule = band.validity
    told: Bools = np.ones((1, *pixels.shape[1:]), bool)
    if rule.nodata is not None:
        if not np.isnan(rule.nodata):
            told = pixels != _as_stored(rule.nodata, pixels.dtype)
    elif rule.alpha is not None:
        told = dataset.read([rule.alpha], window=spot) > 0
    elif band.warped:
        told = dataset.read([dataset.count], window=spot) > 0
    elif rule.mask:
        told = dataset.read_masks([1], window=spot) > 0
    return told


def _as_stored(nodata: float, dtype: np.dtype[Any]) -> Any:
    """Nodata in the raster's own type: -3.4e38 as a double is no float32 value, and 1e20 no uint16.

    NumPy would compare whole numbers with a float one by one as doubles, in five times the time.
    """
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(nodata)
    return int(nodata) if nodata.is_integer() else nodata
