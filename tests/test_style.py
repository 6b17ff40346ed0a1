# ruff: noqa: S314 (the XML is our own)
from __future__ import annotations

from xml.etree import ElementTree as ET

from geoseg.classes import ClassScheme, LandClass
from geoseg.style import MOST_CATEGORIES, raster_qml, vector_qml

SCHEME = ClassScheme((LandClass(0, "Wasser & <Meer>", (10, 20, 255)), LandClass(300, "森林 \"'", (0, 128, 0))))


def test_vector_style_gives_each_code_its_name_and_color() -> None:
    root = ET.fromstring(vector_qml(SCHEME))
    assert root.find("renderer-v2").attrib["attr"] == "class_id"
    found = {}
    for category in root.iter("category"):
        symbol = root.find(f".//symbol[@name='{category.attrib['symbol']}']")
        color = symbol.find(".//Option[@name='color']").attrib["value"]
        found[int(category.attrib["value"])] = (category.attrib["label"], color)
    assert found == {0: ("Wasser & <Meer>", "10,20,255,255"), 300: ("森林 \"'", "0,128,0,255")}


def test_raster_style_is_a_palette_and_hides_nodata() -> None:
    root = ET.fromstring(raster_qml(SCHEME, 65535))
    entries = {e.attrib["value"]: (e.attrib["color"], e.attrib["label"]) for e in root.iter("paletteEntry")}
    assert entries == {"0": ("#0a14ff", "Wasser & <Meer>"), "300": ("#008000", "森林 \"'")}
    hidden = root.find(".//pixelListEntry").attrib
    assert (hidden["min"], hidden["max"], hidden["percentTransparent"]) == ("65535", "65535", "100")
    assert ET.fromstring(raster_qml(SCHEME)).find(".//pixelListEntry") is None


def test_very_many_classes_have_one_symbol() -> None:
    many = ClassScheme(tuple(LandClass(code, f"c{code}", (1, 2, 3)) for code in range(MOST_CATEGORIES + 1)))
    root = ET.fromstring(vector_qml(many))
    assert root.find("renderer-v2").attrib["type"] == "singleSymbol"
    assert [symbol.attrib["name"] for symbol in root.iter("symbol")] == ["0"]
    fewer = ET.fromstring(vector_qml(ClassScheme(many.classes[1:])))
    assert len(list(fewer.iter("category"))) == MOST_CATEGORIES
