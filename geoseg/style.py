"""QGIS styles of a class scheme, so that maps open in their colors."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from geoseg.classes import ClassScheme, Color

_DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
# The oldest QGIS whose form is written: it is the first that reads symbol properties as <Option> maps.
_QGIS_VERSION = "3.18.0"
_DARKER = 0.7
MOST_CATEGORIES = 4096
"""QGIS needs minutes for much longer lists of categories, and nobody reads them."""


def vector_qml(scheme: ClassScheme, field: str = "class_id") -> str:
    """QML of polygons, categorized by the class code in `field`, with thin outlines a shade darker.

    More than `MOST_CATEGORIES` classes all have one color.
    """
    root = ET.Element("qgis", version=_QGIS_VERSION, styleCategories="Symbology")
    if len(scheme) > MOST_CATEGORIES:
        renderer = ET.SubElement(root, "renderer-v2", type="singleSymbol", symbollevels="0", enableorderby="0")
        _add_fill(ET.SubElement(renderer, "symbols"), "0", scheme.classes[0].color)
        return _text(root)
    renderer = ET.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr=field, symbollevels="0", enableorderby="0"
    )
    categories = ET.SubElement(renderer, "categories")
    symbols = ET.SubElement(renderer, "symbols")
    for index, land_class in enumerate(scheme.classes):
        ET.SubElement(
            categories,
            "category",
            symbol=str(index),
            value=str(land_class.code),
            type="long",
            label=land_class.name,
            render="true",
        )
        _add_fill(symbols, str(index), land_class.color)
    return _text(root)


def raster_qml(scheme: ClassScheme, nodata: int | None = None) -> str:
    """QML of a class raster: a palette from codes to colors and names; the code `nodata` is transparent."""
    root = ET.Element("qgis", version=_QGIS_VERSION, styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    transparency = ET.SubElement(renderer, "rasterTransparency")
    if nodata is not None:
        values = ET.SubElement(transparency, "singleValuePixelList")
        ET.SubElement(values, "pixelListEntry", min=str(nodata), max=str(nodata), percentTransparent="100")
    palette = ET.SubElement(renderer, "colorPalette")
    for land_class in scheme.classes:
        ET.SubElement(
            palette,
            "paletteEntry",
            value=str(land_class.code),
            color=land_class.hex_color,
            alpha="255",
            label=land_class.name,
        )
    return _text(root)


def _add_fill(symbols: ET.Element, name: str, color: Color) -> None:
    symbol = ET.SubElement(symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1")
    layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
    options = ET.SubElement(layer, "Option", type="Map")
    outline = tuple(int(part * _DARKER) for part in color)
    properties = {
        "color": _rgba(color),
        "style": "solid",
        "outline_color": _rgba(outline),
        "outline_style": "solid",
        "outline_width": "0.1",
        "outline_width_unit": "MM",
        "joinstyle": "bevel",
    }
    for key, value in properties.items():
        ET.SubElement(options, "Option", name=key, value=value, type="QString")


def _rgba(color: tuple[int, ...]) -> str:
    return ",".join(map(str, (*color, 255)))


def _text(root: ET.Element) -> str:
    ET.indent(root, " ")
    return _DOCTYPE + ET.tostring(root, encoding="unicode") + "\n"
