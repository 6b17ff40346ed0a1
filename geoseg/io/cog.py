"""Class and score rasters as Cloud Optimized GeoTIFFs, read back before anyone may believe them.

The COG driver copies a spool as `geoseg.io.spool_view` describes it: palette, tags and scale into the TIFF, names and
table into `<name>.aux.xml`. All is set before the copy, since a COG edited afterwards is none any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError  # rasterio.shutil lets GDAL's own errors through
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from geoseg.classes import ClassScheme
from geoseg.errors import OutputError
from geoseg.grid import Grid, Window
from geoseg.io import posix
from geoseg.io.class_raster import ClassRaster, read_codes
from geoseg.io.failpoint import failpoint
from geoseg.io.recode import Recoding
from geoseg.io.spool import RasterSpool, row_bands
from geoseg.io.spool_view import write_class_view, write_count_view, write_score_view
from geoseg.style import raster_qml

_BLOCK = 512
_COG_OPTIONS = {
    "BLOCKSIZE": str(_BLOCK),
    "OVERVIEWS": "FORCE_USE_EXISTING",
    "COMPRESS": "DEFLATE",  # ZSTD would be missing in some GDAL builds of the people who open it
    "LEVEL": "1",
    "NUM_THREADS": "ALL_CPUS",
    "BIGTIFF": "IF_SAFER",
}
_PLAIN_OVERVIEWS = {"GDAL_DISABLE_READDIR_ON_OPEN": "FALSE", "USE_RRD": "NO", "COMPRESS_OVERVIEW": "DEFLATE"}
"""Whatever the environment says: overviews stand in a TIFF beside the view, are found there, and lose nothing."""


def class_cog_files(destination: Path) -> tuple[Path, Path, Path]:
    """What `write_class_cog` writes: the TIFF, its `.aux.xml` (names and table) and its `.qml` (style for QGIS)."""
    names = destination.with_name(f"{destination.name}.aux.xml")
    return destination, names, destination.with_suffix(".qml")


def write_class_cog(
    spool: RasterSpool, destination: Path, *, scheme: ClassScheme, tags: Mapping[str, str]
) -> list[Path]:
    """Write a class raster with palette, names and mode overviews, and compare it with its source.

    Args:
        spool: codes (row, col) in the scheme's type; the scheme's nodata where there is no class.
        destination: the `.tif`; its folder exists, the file may not be published yet.
        scheme: classes; they also go into the tag `GEOSEG_CLASSES`, so that a renamed file keeps its names.
        tags: more metadata items: model, version, …

    Returns:
        The files written, `class_cog_files`.

    Raises:
        OutputError: the disk refuses, or what was written does not read back.
        ValueError: the spool is not of the scheme's type.
    """
    with _view_of(spool) as view:
        write_class_view(spool, view, scheme=scheme, tags=tags)
        _copy(spool, view, destination, overviews=Resampling.mode)
    _read_back(spool, destination, nodata=scheme.nodata)
    _, names, style = class_cog_files(destination)
    if not names.is_file():
        raise OutputError(f"GDAL did not write the class names of {destination} into {names.name}.")
    with posix.disk_errors("style", style):
        style.write_text(raster_qml(scheme, scheme.nodata), encoding="utf-8")
    return [destination, names, style]


def write_score_cog(
    spool: RasterSpool, destination: Path, *, bands: Sequence[str], tags: Mapping[str, str]
) -> list[Path]:
    """Write a raster of scores: 1…255 = round(255·score), 0 = nodata; overviews by average of valid pixels.

    Args:
        spool: uint8.
        destination: the `.tif`; its folder exists.
        bands: description of each band of the spool.
        tags: metadata items.

    Returns:
        The files written.

    Raises:
        OutputError: the disk refuses, or what was written does not read back.
        ValueError: the spool is not uint8.
    """
    with _view_of(spool) as view:
        write_score_view(spool, view, bands=bands, tags=tags)
        _copy(spool, view, destination, overviews=Resampling.average)
    _read_back(spool, destination, nodata=0)
    beside = destination.with_name(f"{destination.name}.aux.xml")
    return [destination, *([beside] if beside.is_file() else [])]


def write_instance_cog(
    spool: RasterSpool, destination: Path, *, tags: Mapping[str, str], name: str = "instance"
) -> list[Path]:
    """Write a raster of object numbers, 0 where no object is; overviews by nearest neighbor.

    Args:
        spool: int32; other counts may have fewer bits.
        destination: the `.tif`; its folder exists.
        tags: metadata items.
        name: description of the band.

    Raises:
        OutputError: the disk refuses, or what was written does not read back.
    """
    with _view_of(spool) as view:
        write_count_view(spool, view, name=name, tags=tags)
        _copy(spool, view, destination, overviews=Resampling.nearest)
    _read_back(spool, destination, nodata=0)
    return [destination]


def class_counts(source: RasterSpool | ClassRaster, scheme: ClassScheme) -> dict[int, int]:
    """Pixels of each class: code → n, every class of the scheme in its order, nodata left out.

    Raises:
        InputError: a class raster cannot be read (any more).
    """
    read: Callable[[Window], NDArray[Any]] = (
        source.read if isinstance(source, RasterSpool) else lambda window: read_codes(source, window)
    )
    index_of = Recoding({code: index for index, code in enumerate(scheme.codes)}, len(scheme), np.int64)
    total = np.zeros(len(scheme) + 1, np.int64)
    for window in row_bands(source.grid):
        total += np.bincount(index_of(read(window)).ravel(), minlength=len(total))
    return dict(zip(scheme.codes, total.tolist(), strict=False))


@contextmanager
def _view_of(spool: RasterSpool) -> Iterator[Path]:
    """Where to describe a spool while it is copied."""
    view = spool.path.with_name(f"{spool.path.name}.vrt")
    try:
        yield view
    finally:
        for path in (view, view.with_name(f"{view.name}.ovr")):
            path.unlink(missing_ok=True)


def _copy(spool: RasterSpool, view: Path, destination: Path, *, overviews: Resampling) -> None:
    """Let the COG driver copy a spool as it was described."""
    try:
        with (
            posix.disk_errors("raster", destination, spool.size_bytes),
            rasterio.Env(GDAL_PAM_ENABLED="YES", GDAL_NUM_THREADS="ALL_CPUS", **_PLAIN_OVERVIEWS),
        ):
            # The driver would make as many, pack and unpack them on the way, in twice the time.
            with rasterio.Env(COMPRESS_OVERVIEW="NONE"), rasterio.open(view, "r+") as dataset:
                dataset.build_overviews(overview_factors(max(dataset.shape)), overviews)
            rasterio.shutil.copy(view, destination, driver="COG", **_COG_OPTIONS)
        failpoint("cog")
    except (RasterioError, CPLE_BaseError) as error:
        free = posix.free_bytes(destination.parent)
        raise OutputError(
            f"raster {destination} could not be written ({error.__cause__ or error}); "
            f"up to {spool.size_bytes} bytes are needed, {free} are free."
        ) from error


def overview_factors(side: int) -> list[int]:
    """2, 4, 8, … until a side, halved and rounded down, is one block."""
    factors: list[int] = []
    while side >> len(factors) > _BLOCK:
        factors.append(2 << len(factors))
    return factors


def _read_back(spool: RasterSpool, destination: Path, *, nodata: int) -> None:
    """Compare the file with its source through a fresh handle.

    Writing with several threads on a full disk raises nothing and leaves a file that opens: only reading tells.
    """
    try:
        with rasterio.open(destination, NUM_THREADS="ALL_CPUS") as dataset:
            _crs_of(dataset, spool.grid.crs, destination)
            told = (dataset.transform, dataset.shape, dataset.nodata, dataset.dtypes, dataset.count)
            meant = (spool.grid.transform, spool.grid.shape, nodata, (spool.dtype.name,) * spool.bands, spool.bands)
            if told != meant:
                raise OutputError(f"raster {destination} reads back as {told} instead of {meant}.")
            levels = len(dataset.overviews(1))
            if levels != len(overview_factors(max(spool.grid.shape))):
                raise OutputError(f"raster {destination} reads back with {levels} overviews.")
            for window in row_bands(spool.grid):
                for band in range(spool.bands):
                    if not np.array_equal(dataset.read(band + 1, window=_box(window)), spool.read(window, band)):
                        raise OutputError(f"raster {destination} reads back with other pixels in {window}; disk full?")
        for level in range(levels):
            _read_through(destination, spool.grid, level)
    except RasterioError as error:
        raise OutputError(f"raster {destination} does not read back ({error}); disk full?") from error


def crs_in_geotiff(crs: CRS, destination: Path) -> CRS:
    """A CRS as a GeoTIFF gives it back: OGC:CRS84 becomes EPSG:4326, a name of one's own the official one.

    Args:
        crs: to be written.
        destination: file that will be written, for the message.

    Raises:
        OutputError: GeoTIFF cannot express it.
    """
    facts = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8", "transform": Affine.scale(1, -1)}
    with MemoryFile() as memory:
        try:
            with memory.open(crs=crs.to_wkt(), **facts):
                pass
            with memory.open() as dataset:
                return _crs_of(dataset, crs, destination)
        except RasterioError as error:
            raise OutputError(f"CRS {crs.name!r} cannot be written to {destination} ({error}).") from error


def _crs_of(dataset: Any, meant: CRS, destination: Path) -> CRS:
    found = CRS.from_wkt(dataset.crs.to_wkt(version="WKT2_2019")) if dataset.crs else None
    # The order of axes is a property of the CRS's name, not of the pixels: x always comes first in files.
    if found is None or not found.equals(meant, ignore_axis_order=True):
        raise OutputError(
            f"raster {destination} reads back with CRS {found and found.name!r} instead of "
            f"{meant.name!r}; GeoTIFF cannot express it: warp the input to another CRS."
        )
    return found


def _read_through(destination: Path, grid: Grid, level: int) -> None:
    """Decode all blocks of an overview."""
    with rasterio.open(destination, OVERVIEW_LEVEL=level, NUM_THREADS="ALL_CPUS") as dataset:
        for window in row_bands(replace(grid, width=dataset.width, height=dataset.height)):
            for band in dataset.indexes:
                dataset.read(band, window=_box(window))


def _box(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col_off, window.row_off, window.width, window.height)
