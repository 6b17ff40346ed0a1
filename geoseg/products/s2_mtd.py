"""Sentinel-2 product metadata (MTD_MSIL1C.xml, MTD_MSIL2A.xml).

After ESA's Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD, versions 13 to 15): reflectance =
(DN + offset) / quantification. Offsets exist since processing baseline 04.00; a file without them has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from xml.etree import ElementTree as ET

from geoseg.errors import InputError, PolicyError
from geoseg.products.facts import Facts, number, utc
from geoseg.products.tree import Tree, product_stem

_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
_BAND_IDS = {str(number): band for number, band in enumerate(_BANDS)}
"""Attribute band_id → file name's band: B8A is number 8, between B08 and B09."""
_QUANTIFICATION = {
    "L1C": ("QUANTIFICATION_VALUE",),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),  # the latter in Sen2Cor's before 2018
}
_OFFSET = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}


def read_s2_mtd(tree: Tree, file: str) -> Facts:
    """Read a product's main metadata file.

    Args:
        tree: the product's files.
        file: the metadata file in it, in the product's uppermost folder.

    Raises:
        InputError: not Sentinel-2 metadata, or a product of several granules.
        PolicyError: XML that declares entities.
    """
    folder = str(PurePosixPath(file).parent)
    root = "" if folder == "." else f"{folder}/"
    _check_granules(tree, root)
    xml = _parsed(tree, file)
    level = "L2A" if "2A" in _local(xml) else "L1C"
    where = tree.path(file)
    gains, offsets = _gains(xml, level, where)
    baseline = _text(xml, "PROCESSING_BASELINE")
    return Facts(
        file=file,
        scene_id=_scene_id(xml, folder if root or tree.kind != "folder" else tree.name),
        detail=f"processing baseline {baseline}" if baseline else "processing baseline unknown",
        acquired=utc(start, where) if (start := _text(xml, "PRODUCT_START_TIME")) else None,
        gains=gains,
        notes=(_offset_note(offsets), *_cloud_notes(tree, root, level)),
    )


def _check_granules(tree: Tree, root: str) -> None:
    """Products of before December 2016 hold many tiles on several grids."""
    top = f"{root}GRANULE/"
    granules = sorted({file[len(top) :].partition("/")[0] for file in tree.files if file.startswith(top)})
    if len(granules) > 1:
        raise InputError(
            f"{tree.root} holds {len(granules)} granules ({', '.join(granules[:3])}{', …' * (len(granules) > 3)}); one "
            f"scene is one granule: copy the product with a single folder below GRANULE, and run each by itself."
        )


def _parsed(tree: Tree, file: str) -> ET.Element:
    content = tree.read(file)
    if any(sign in content for sign in (b"<!DOCTYPE", b"<!ENTITY", b"\0")):  # NUL: UTF-16 would hide the others
        raise PolicyError(f"{tree.path(file)} declares XML entities, which no product does; it is not read.")
    try:
        return ET.fromstring(content)  # noqa: S314 (expat, without entities: see above)
    except ET.ParseError as error:
        raise InputError(f"{tree.path(file)} is no whole XML ({error}); download the product again.") from error


def _gains(xml: ET.Element, level: str, where: str) -> tuple[dict[str, tuple[float, float]], dict[str, float]]:
    """Scale and offset of each band, and the stored offsets (empty: the file lists none)."""
    stored = next((text for name in _QUANTIFICATION[level] if (text := _text(xml, name))), None)
    quantification = number(stored, f"{where}, {_QUANTIFICATION[level][0]}")
    if quantification <= 0:
        raise InputError(f"{where}: quantification {stored} is not above 0; the metadata are damaged.")
    offsets = {
        band: number(element.text, f"{where}, {_OFFSET[level]}")
        for element in _all(xml, _OFFSET[level])
        if (band := _BAND_IDS.get(element.get("band_id", "")))
    }
    listed = offsets or dict.fromkeys(_BANDS, 0.0)
    return {band: (1 / quantification, offset / quantification) for band, offset in listed.items()}, offsets


def _offset_note(offsets: dict[str, float]) -> str:
    if not offsets:
        return "the metadata list no radiometric offset: 0 applied"
    values = sorted(set(offsets.values()))
    return f"offset {', '.join(f'{value:g}' for value in values)} of the metadata applied"


def _cloud_notes(tree: Tree, root: str, level: str) -> Iterator[str]:
    names = {PurePosixPath(file).name for file in tree.files if file.startswith(root)}
    if level == "L1C" and "MSK_CLASSI_B00.jp2" not in names and any("MSK_CLOUDS" in name for name in names):
        yield "before processing baseline 04.00 clouds come as polygons (MSK_CLOUDS_B00.gml), which are not read"


def _scene_id(xml: ET.Element, folder: str) -> str | None:
    """The name in the metadata, which no link and no renaming changes; else the SAFE folder's."""
    uri = _text(xml, "PRODUCT_URI") or _text(xml, "PRODUCT_URI_2A") or _text(xml, "PRODUCT_URI_1C")
    if uri:
        return product_stem(uri)
    name = PurePosixPath(folder).name
    return product_stem(name) if name.upper().endswith(".SAFE") else None


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(xml: ET.Element, name: str) -> Iterator[ET.Element]:
    return (element for element in xml.iter() if _local(element) == name)


def _text(xml: ET.Element, name: str) -> str | None:
    return next((element.text.strip() for element in _all(xml, name) if element.text), None)
