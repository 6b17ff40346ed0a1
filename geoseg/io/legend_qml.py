"""Classes out of QGIS styles: a raster's palette, or polygons categorized by their code.

The format is what QGIS writes (https://docs.qgis.org, appendix "QGIS File Formats"); only the parts that name
codes, labels and colors are looked at.
"""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from geoseg.classes import Color, parse_color
from geoseg.errors import ConfigError
from geoseg.io.legend import whole
from geoseg.legend import Entry


def qml_entries(text: str, name: str) -> list[Entry]:
    """Codes, labels and colors of a QML style. A label that only repeats its code is none.

    Args:
        text: the style.
        name: the file, for messages.

    Raises:
        ConfigError: not XML, entities in it, or another renderer than these two.
    """
    root = _parse(text, name)
    raster = root.find(".//rasterrenderer")
    vector = root.find(".//renderer-v2")
    if raster is not None and raster.get("type") == "paletted":
        entries = [_entry(e, _hex(e, name), name) for e in raster.iter("paletteEntry")]
    elif vector is not None and vector.get("type") == "categorizedSymbol":
        symbols = {symbol.get("name"): symbol for symbol in vector.findall("symbols/symbol")}
        # The category without a value is QGIS' "all other values".
        categories = [c for c in vector.findall("categories/category") if c.get("value")]
        entries = [_entry(c, _fill(symbols.get(c.get("symbol")), name), name) for c in categories]
    else:
        found = next((r.get("type") for r in (raster, vector) if r is not None), "none")
        raise ConfigError(
            f"legend {name} has the renderer {found}; style the layer by Paletted/Unique values (raster) or "
            "Categorized by class_id (polygons) and save it again."
        )
    return entries


def _entry(element: Element, color: Color | None, name: str) -> Entry:
    value, label = element.get("value", "").strip(), element.get("label", "").strip()
    code = whole(value)
    if code is None:
        raise ConfigError(
            f"legend {name}: value {value!r} (label {label!r}) is no whole number; categorize by the class code."
        )
    return Entry(code, "" if label == value else label, color)


def _hex(element: Element, name: str) -> Color:
    try:
        return parse_color(element.get("color", ""))
    except ConfigError as error:
        raise ConfigError(f"legend {name}, value {element.get('value')}: {error}") from error


def _fill(symbol: Element | None, name: str) -> Color | None:
    """Color of a symbol's lowest layer; QGIS before 3.18 wrote <prop>, later ones <Option>."""
    layer = symbol.find("layer") if symbol is not None else None
    if layer is None:
        return None
    options = [(o.get("name"), o.get("value", "")) for o in layer.findall("Option/Option")]
    options += [(p.get("k"), p.get("v", "")) for p in layer.findall("prop")]
    found = next((value for key, value in options if key in ("color", "line_color")), None)
    return None if found is None else _rgba(found, name)


def _rgba(text: str, name: str) -> Color:
    """`r,g,b,a`; QGIS 3.40 adds the exact color behind it (`…,rgb:0.2,0.3,0.4,1`), which these four round."""
    parts = text.split(",")[:3]
    if len(parts) < 3 or not all(part.isascii() and part.isdigit() and int(part) <= 255 for part in parts):
        raise ConfigError(f"legend {name}: color {text!r} is not of the form red,green,blue,alpha.")
    red, green, blue = map(int, parts)
    return red, green, blue


def _parse(text: str, name: str) -> Element:
    """XML by expat alone. A QML has a document type, but entities, which could grow without bound, are refused."""
    builder = TreeBuilder()
    parser = expat.ParserCreate()

    def refuse(entity: str, *_: Any) -> None:
        raise ConfigError(f"legend {name} defines the XML entity {entity!r}; QGIS' styles have none.")

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise ConfigError(f"legend {name} is not XML: {error}.") from error
    return builder.close()
