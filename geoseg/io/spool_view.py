"""A spool as a raster that any program with GDAL opens: a VRT of raw bands beside it.

rasterio has no call for category names and attribute tables, a VRT carries them: palette, names, table, tags, scale.
The COG driver copies them from there, and what is made from a map may read it before the COG stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np
from pyproj import CRS

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.io import posix
from geoseg.io.class_raster import CLASSES_TAG
from geoseg.io.spool import RasterSpool

MAX_CATEGORIES = 256
"""Category names are a list from code 0 on; with 16-bit codes it would be mostly empty, the table suffices."""


_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int32": "Int32"}


def write_class_view(
    spool: RasterSpool, path: Path, *, scheme: ClassScheme, tags: Mapping[str, str], crs: CRS | None = None
) -> Path:
    """Describe a spool of codes as a class raster, for as long as the spool stands.

    Args:
        spool: codes (row, col) in the scheme's type; the scheme's nodata where there is no class.
        path: the `.vrt`, in the spool's folder: GDAL reads raw bands only beside the VRT that names them.
        scheme: classes; they also go into the tag `GEOSEG_CLASSES`, so that a renamed file keeps its names.
        tags: more metadata items: model, version, …
        crs: the spool's in other words; None: in its own.

    Returns:
        The path.

    Raises:
        OutputError: the disk refuses.
        ValueError: the spool is not of the scheme's type.
    """
    if spool.dtype != scheme.dtype:
        raise ValueError(f"spool of {spool.dtype} cannot hold a class scheme of {scheme.dtype}.")
    # TIFF has palettes up to 16 bits; beyond, the attribute table has the colors.
    palette = [_text("ColorInterp", "Palette"), _color_table(scheme)] if scheme.dtype.itemsize <= 2 else []
    band = [
        _text("Description", "class"),
        _text("NoDataValue", str(scheme.nodata)),
        _category_names(scheme),
        *palette,
        _attribute_table(scheme),
    ]
    classes = json.dumps(scheme.to_json(), ensure_ascii=False)
    return _write(spool, path, [band], {**tags, CLASSES_TAG: classes}, crs)


def write_score_view(spool: RasterSpool, path: Path, *, bands: Sequence[str], tags: Mapping[str, str]) -> Path:
    """Describe a spool of scores, 1…255 = round(255·score), 0 = nodata; otherwise as `write_class_view`.

    Args:
        spool: uint8.
        path: the `.vrt`.
        bands: description of each band of the spool.
        tags: metadata items.

    Raises:
        OutputError: the disk refuses.
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
    return _write(spool, path, described, tags)


def write_count_view(spool: RasterSpool, path: Path, *, name: str, tags: Mapping[str, str]) -> Path:
    """Describe a spool of numbers, 0 where there is none; otherwise as `write_class_view`."""
    return _write(spool, path, [[_text("Description", name), _text("NoDataValue", "0")]], tags)


def _write(
    spool: RasterSpool, path: Path, bands: list[list[Element]], tags: Mapping[str, str], crs: CRS | None = None
) -> Path:
    with posix.disk_errors("description of a raster", path):
        path.write_bytes(tostring(_vrt(spool, crs or spool.grid.crs, bands, tags), encoding="utf-8"))
    return path


def _vrt(spool: RasterSpool, crs: CRS, bands: list[list[Element]], tags: Mapping[str, str]) -> Element:
    """The spool as GDAL sees it (https://gdal.org/en/stable/drivers/raster/vrt.html, raw bands)."""
    grid, item = spool.grid, spool.dtype.itemsize
    root = Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    root.append(_text("SRS", crs.to_wkt()))
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
