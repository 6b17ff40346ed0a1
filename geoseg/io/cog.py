"""Class and score rasters as Cloud Optimized GeoTIFFs, read back before anyone may believe them.

rasterio has no call for category names and attribute tables. A VRT over the spool carries them, and the COG driver
copies them: palette, tags and scale into the TIFF, names and table into `<name>.aux.xml`. All is set before the copy,
since a COG edited afterwards is none any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from pyproj import CRS
from rasterio._err import CPLE_BaseError  # rasterio.shutil lets GDAL's own errors through
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.errors import OutputError
from geoseg.grid import Grid, Window
from geoseg.io import posix
from geoseg.io.class_raster import CLASSES_TAG, ClassRaster, read_codes
from geoseg.io.failpoint import failpoint
from geoseg.io.recode import Recoding
from geoseg.io.spool import RasterSpool, row_bands
from geoseg.style import raster_qml

MAX_CATEGORIES = 256
"""Category names are a list from code 0 on; with 16-bit codes it would be mostly empty, the table suffices."""

_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int32": "Int32"}
_COG_OPTIONS = {
    "BLOCKSIZE": "512",
    "COMPRESS": "DEFLATE",  # ZSTD would be missing in some GDAL builds of the people who open it
    "LEVEL": "1",
    "NUM_THREADS": "ALL_CPUS",
    "BIGTIFF": "IF_SAFER",
}


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
    if spool.dtype != scheme.dtype:
        raise ValueError(f"spool of {spool.dtype} cannot hold a class scheme of {scheme.dtype}.")
    # TIFF has palettes up to 16 bits; beyond, the attribute table has the colors.
    palette = [_text("ColorInterp", "Palette"), _color_table(scheme)] if scheme.dtype.itemsize <= 2 else []
    band: list[Element] = [
        _text("Description", "class"),
        _text("NoDataValue", str(scheme.nodata)),
        _category_names(scheme),
        *palette,
        _attribute_table(scheme),
    ]
    classes = json.dumps(scheme.to_json(), ensure_ascii=False)
    _copy(spool, destination, [band], {**tags, CLASSES_TAG: classes}, overviews="MODE")
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
    if spool.dtype != np.uint8:
        raise ValueError(f"spool of {spool.dtype} is not a score raster of uint8.")
    described = [
        [
            _text("Description", name),
            _text("NoDataValue", "0"),
            # GeoTIFF knows one gray channel; of more GDAL would tell in a file beside it.
            _text("ColorInterp", "Gray" if number == 0 else "Undefined"),
            _text("Offset", "0"),
            _text("Scale", repr(1 / 255)),
        ]
        for number, name in enumerate(bands)
    ]
    _copy(spool, destination, described, tags, overviews="AVERAGE")
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
    band = [_text("Description", name), _text("NoDataValue", "0")]
    _copy(spool, destination, [band], tags, overviews="NEAREST")
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


def _copy(
    spool: RasterSpool, destination: Path, bands: list[list[Element]], tags: Mapping[str, str], *, overviews: str
) -> None:
    """Describe the spool by a VRT beside it, and let the COG driver copy that."""
    # Raw bands may only be read beside the VRT that names them.
    view = spool.path.with_name(f"{spool.path.name}.vrt")
    try:
        with (
            posix.disk_errors("raster", destination, spool.size_bytes),
            rasterio.Env(GDAL_PAM_ENABLED="YES"),
        ):
            view.write_bytes(tostring(_vrt(spool, bands, tags), encoding="utf-8"))
            rasterio.shutil.copy(view, destination, driver="COG", OVERVIEW_RESAMPLING=overviews, **_COG_OPTIONS)
        failpoint("cog")
    except (RasterioError, CPLE_BaseError) as error:
        free = posix.free_bytes(destination.parent)
        raise OutputError(
            f"raster {destination} could not be written ({error.__cause__ or error}); "
            f"up to {spool.size_bytes} bytes are needed, {free} are free."
        ) from error
    finally:
        view.unlink(missing_ok=True)


def _read_back(spool: RasterSpool, destination: Path, *, nodata: int) -> None:
    """Compare the file with its source through a fresh handle.

    Writing with several threads on a full disk raises nothing and leaves a file that opens: only reading tells.
    """
    try:
        with rasterio.open(destination, NUM_THREADS="ALL_CPUS") as dataset:
            found = CRS.from_wkt(dataset.crs.to_wkt(version="WKT2_2019")) if dataset.crs else None
            # The order of axes is a property of the CRS's name, not of the pixels: x always comes first in files.
            if found is None or not found.equals(spool.grid.crs, ignore_axis_order=True):
                raise OutputError(
                    f"raster {destination} reads back with CRS {found and found.name!r} instead of "
                    f"{spool.grid.crs.name!r}; GeoTIFF cannot express it: warp the input to another CRS."
                )
            told = (dataset.transform, dataset.shape, dataset.nodata, dataset.dtypes, dataset.count)
            meant = (spool.grid.transform, spool.grid.shape, nodata, (spool.dtype.name,) * spool.bands, spool.bands)
            if told != meant:
                raise OutputError(f"raster {destination} reads back as {told} instead of {meant}.")
            levels = len(dataset.overviews(1))
            for window in row_bands(spool.grid):
                for band in range(spool.bands):
                    if not np.array_equal(dataset.read(band + 1, window=_box(window)), spool.read(window, band)):
                        raise OutputError(f"raster {destination} reads back with other pixels in {window}; disk full?")
        for level in range(levels):
            _read_through(destination, spool.grid, level)
    except RasterioError as error:
        raise OutputError(f"raster {destination} does not read back ({error}); disk full?") from error


def _read_through(destination: Path, grid: Grid, level: int) -> None:
    """Decode all blocks of an overview."""
    with rasterio.open(destination, OVERVIEW_LEVEL=level, NUM_THREADS="ALL_CPUS") as dataset:
        for window in row_bands(replace(grid, width=dataset.width, height=dataset.height)):
            for band in dataset.indexes:
                dataset.read(band, window=_box(window))


def _box(window: Window) -> RasterioWindow:
    return RasterioWindow(window.col_off, window.row_off, window.width, window.height)


def _vrt(spool: RasterSpool, bands: list[list[Element]], tags: Mapping[str, str]) -> Element:
    """The spool as GDAL sees it (https://gdal.org/en/stable/drivers/raster/vrt.html, raw bands)."""
    grid, item = spool.grid, spool.dtype.itemsize
    root = Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    root.append(_text("SRS", grid.crs.to_wkt()))
    root.append(_text("GeoTransform", ", ".join(repr(float(part)) for part in grid.transform.to_gdal())))
    metadata = SubElement(root, "Metadata")
    software = {"TIFFTAG_SOFTWARE": f"geoseg {__version__}", "AREA_OR_POINT": "Area"}
    for key, value in {**software, **tags}.items():
        metadata.append(_text("MDI", value, key=key))
    for number, band in enumerate(bands):
        raw = SubElement(
            root,
            "VRTRasterBand",
            dataType=_GDAL_TYPES[spool.dtype.name],
            band=str(number + 1),
            subClass="VRTRawRasterBand",
        )
        raw.extend(band)
        raw.append(_text("SourceFilename", spool.path.name, relativeToVRT="1"))
        layout = {"ImageOffset": number * spool.band_bytes, "PixelOffset": item, "LineOffset": item * grid.width}
        raw.extend(_text(name, str(value)) for name, value in layout.items())
        raw.append(_text("ByteOrder", "LSB"))
    return root


def _color_table(scheme: ClassScheme) -> Element:
    table = Element("ColorTable")
    colors = {c.code: c.color for c in scheme.classes}
    for code in range(max(colors) + 1):
        red, green, blue = colors.get(code, (0, 0, 0))
        SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4="255")
    return table


def _category_names(scheme: ClassScheme) -> Element:
    names = Element("CategoryNames")
    if max(scheme.codes) < MAX_CATEGORIES:
        by_code = dict(zip(scheme.codes, scheme.names, strict=True))
        names.extend(_text("Category", by_code.get(code, "")) for code in range(max(scheme.codes) + 1))
    return names


def _attribute_table(scheme: ClassScheme) -> Element:
    """Columns with GDAL's types (0 integer, 2 string) and usages (5 value, 2 name, 6 7 8 red green blue, 0 other)."""
    table = Element("GDALRasterAttributeTable", tableType="thematic")
    columns = [("Value", 0, 5), ("Class_Name", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8), ("Group", 2, 0)]
    for index, (name, kind, usage) in enumerate(columns):
        field = SubElement(table, "FieldDefn", index=str(index))
        field.extend([_text("Name", name), _text("Type", str(kind)), _text("Usage", str(usage))])
    for index, cells in enumerate(_cells(scheme)):
        SubElement(table, "Row", index=str(index)).extend(_text("F", str(cell)) for cell in cells)
    return table


def _cells(scheme: ClassScheme) -> Iterator[tuple[object, ...]]:
    for land_class in sorted(scheme.classes, key=lambda c: c.code):
        yield land_class.code, land_class.name, *land_class.color, land_class.group


def _text(tag: str, text: str, **attributes: str) -> Element:
    element = Element(tag, attributes)
    element.text = text
    return element
