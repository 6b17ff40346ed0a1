"""Names and colors that a raster of anyone carries for its values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import rasterio.shutil
from rasterio.io import MemoryFile

from geoseg.classes import MAX_CODE, ClassScheme, Color, LandClass, generated_color, placeholder

# GDALRATFieldUsage, and what people call the columns when they leave the usage "generic".
_USAGES = {"value": {"5", "3"}, "name": {"2"}, "red": {"6"}, "green": {"7"}, "blue": {"8"}}
_ALIASES = {
    "value": {"value", "code", "classvalue", "gridcode"},
    "name": {"classname", "classnames", "name", "label", "class", "category", "landcover", "description"},
    "red": {"red", "r"},
    "green": {"green", "g"},
    "blue": {"blue", "b"},
}


@dataclass(frozen=True)
class Labels:
    """What a file says about its values; either may be empty."""

    names: Mapping[int, str]
    colors: Mapping[int, Color]


def read_labels(dataset: Any) -> Labels:
    """Labels of a dataset's first band: attribute table, else category names, else tags such as `3=forest`.

    rasterio has no call for the first two. A virtual copy, in memory, spells them out as XML, whatever the format
    keeps them in (`.aux.xml`, an Imagine file, a VRT).
    """
    with MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(dataset, memory.name, driver="VRT")
        xml = bytes(memory.read())
    band = fromstring(xml).find("VRTRasterBand")  # noqa: S314 (GDAL serialized it; nobody's entities are left)
    table = band.find("GDALRasterAttributeTable") if band is not None else None
    names, colors = _attribute_table(table) if table is not None else ({}, {})
    categories = band.findall("CategoryNames/Category") if band is not None else []
    listed = {code: (element.text or "").strip() for code, element in enumerate(categories)}
    tags = {**dataset.tags(), **dataset.tags(1)}
    tagged = {int(key): text.strip() for key, text in tags.items() if key.isascii() and key.isdigit()}
    entries = band.findall("ColorTable/Entry") if band is not None else []
    palette = {code: _entry_color(entry) for code, entry in enumerate(entries)}
    return Labels(_first_filled(names, listed, tagged), palette or colors)


def scheme_of(values: Iterable[int], labels: Labels) -> ClassScheme:
    """Classes for the values found in a raster and for those that its labels name.

    A value without a name becomes `class 7`; names that occur twice get their code behind them. Without a palette
    the color depends on the code alone, so that two rasters of one legend look alike.

    Raises:
        ConfigError: no value at all.
    """
    codes = sorted({*values, *labels.names})
    names = {code: labels.names.get(code, placeholder(code)) for code in codes}
    twice = {name for name, count in Counter(names.values()).items() if count > 1}
    # Palettes are padded with black; several black classes mean that nobody chose it.
    black = Counter(labels.colors.get(code) for code in codes)[0, 0, 0]
    classes = []
    for code in codes:
        color = labels.colors.get(code)
        if color is None or (color == (0, 0, 0) and black > 1):
            color = generated_color(code)
        name = f"{names[code]} ({code})" if names[code] in twice else names[code]
        classes.append(LandClass(code, name, color))
    return ClassScheme(tuple(classes))


def whole(text: str) -> int | None:
    """The whole number that a text spells, also as `7.0`; None: it spells none."""
    number = _number(text)
    return int(number) if number is not None and number.is_integer() else None


def _first_filled(*candidates: Mapping[int, str]) -> dict[int, str]:
    for names in candidates:
        filled = {code: name for code, name in names.items() if name and 0 <= code <= MAX_CODE}
        if filled:
            return filled
    return {}


def _attribute_table(table: Element) -> tuple[dict[int, str], dict[int, Color]]:
    """Names and colors of GDAL's attribute table; without a value column rows count from 0."""
    columns = {what: _column(table, what) for what in _USAGES}
    names: dict[int, str] = {}
    colors: dict[int, Color] = {}
    for index, row in enumerate(table.findall("Row")):
        cells = [(cell.text or "").strip() for cell in row.findall("F")]
        found = {what: cells[at] for what, at in columns.items() if at is not None and at < len(cells)}
        code = whole(found.get("value", str(index)))
        if code is None:
            continue  # a row for a range of measurements describes no class
        names[code] = found.get("name", "")
        parts = [_number(found.get(part, "")) for part in ("red", "green", "blue")]
        color = _scaled_color([part for part in parts if part is not None], table, columns["red"])
        if color is not None:
            colors[code] = color
    return names, colors


def _column(table: Element, what: str) -> int | None:
    """Index of the column with a usage, else with a telling name."""
    fields = table.findall("FieldDefn")
    for at, field in enumerate(fields):
        if field.findtext("Usage", "").strip() in _USAGES[what]:
            return at
    for at, field in enumerate(fields):
        plain = field.findtext("Name", "").strip().lower().replace("_", "").replace(" ", "")
        if plain in _ALIASES[what]:
            return at
    return None


def _scaled_color(parts: list[float], table: Element, column: int | None) -> Color | None:
    """Imagine and ArcGIS keep colors as real numbers 0…1, others as integers 0…255."""
    if len(parts) != 3 or column is None:
        return None
    real = table.findall("FieldDefn")[column].findtext("Type", "").strip() == "1"
    factor = 255 if real and max(parts) <= 1 else 1
    red, green, blue = (min(255, max(0, round(part * factor))) for part in parts)
    return red, green, blue


def _entry_color(entry: Element) -> Color:
    red, green, blue = (int(entry.get(channel, "0")) & 255 for channel in ("c1", "c2", "c3"))
    return red, green, blue


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
