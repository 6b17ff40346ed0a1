"""Landsat metadata (*_MTL.txt) of Collection 2, Collection 1 and before.

After USGS, Landsat 8-9 Collection 2 Level 1 and Level 2 Data Format Control Books (LSDS-1822, LSDS-1328) and the
Landsat 8 Data Users Handbook: level 1 reflectance = (M·DN + A) / sin(sun elevation); level 2 = M·DN + A. A level 2
file repeats the level 1 groups, with the same key names and other numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from geoseg.errors import InputError
from geoseg.products.facts import Facts, number, utc
from geoseg.products.tree import Tree

_Groups = Mapping[str, Mapping[str, str]]
_Gains = dict[str, tuple[float, float]]
_LINE = re.compile(r"\s*(\w+)\s*=\s*\"?(.*?)\"?\s*")
_LEVEL_1 = ("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")
"""In Collection 2, and before."""


def read_landsat_mtl(tree: Tree, file: str) -> Facts:
    """Read a scene's metadata file.

    Args:
        tree: the product's files.
        file: the `*_MTL.txt` in it.

    Raises:
        InputError: not Landsat metadata, or a level 1 scene without a sun above the horizon.
    """
    where = tree.path(file)
    groups = _groups(tree.read(file).decode("utf-8", "replace"))
    general = {**groups.get("METADATA_FILE_INFO", {}), **groups.get("PRODUCT_METADATA", {})}  # until Collection 1
    general |= {**groups.get("PRODUCT_CONTENTS", {}), **groups.get("IMAGE_ATTRIBUTES", {})}  # since Collection 2
    if not general:
        raise InputError(f"{where} holds none of the groups of Landsat metadata; download the scene again.")
    level_2 = general.get("PROCESSING_LEVEL", "").startswith("L2")
    gains, notes = (_level_2(groups, where), ()) if level_2 else _level_1(groups, general, where)
    collection = general.get("COLLECTION_NUMBER")
    day, time = general.get("DATE_ACQUIRED"), general.get("SCENE_CENTER_TIME")
    return Facts(
        file=file,
        scene_id=general.get("LANDSAT_PRODUCT_ID") or general.get("LANDSAT_SCENE_ID"),
        detail=general.get("SPACECRAFT_ID", "satellite unknown").replace("_", " ").title(),
        acquired=utc(f"{day}T{time}", where) if day and time else None,
        gains=gains,
        notes=notes,
        quality_rule={None: "landsat-bqa-c0", "01": "landsat-bqa-c1"}.get(collection),
    )


def _groups(text: str) -> _Groups:
    groups: dict[str, dict[str, str]] = {}
    inside = ""
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        key, value = found[1], found[2]
        if key == "GROUP":
            inside = value
        elif key != "END_GROUP":
            groups.setdefault(inside, {})[key] = value
    return groups


def _level_2(groups: _Groups, where: str) -> _Gains:
    reflectance = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", {})
    temperature = groups.get("LEVEL2_SURFACE_TEMPERATURE_PARAMETERS", {})
    gains = {f"SR_B{band}": gain for band, gain in _pairs(reflectance, "REFLECTANCE", where).items()}
    return gains | _pairs(temperature, "TEMPERATURE", where)


def _level_1(groups: _Groups, general: Mapping[str, str], where: str) -> tuple[_Gains, tuple[str, ...]]:
    """Reflectance at the top of the atmosphere; radiance for the thermal bands."""
    group = next((groups[name] for name in _LEVEL_1 if name in groups), {})
    reflectance = _pairs(group, "REFLECTANCE", where)
    gains = {f"B{band}": gain for band, gain in _pairs(group, "RADIANCE", where).items() if band in _THERMAL}
    if not reflectance:
        return gains, ()
    elevation = number(general.get("SUN_ELEVATION"), f"{where}, SUN_ELEVATION")
    if not 0 < elevation <= 90:
        raise InputError(f"{where}: the sun stands at {elevation:g}°; a night scene has no reflectance.")
    sine = math.sin(math.radians(elevation))
    gains |= {f"B{band}": (scale / sine, offset / sine) for band, (scale, offset) in reflectance.items()}
    return gains, (f"sun elevation {elevation:.1f}° applied",)


_THERMAL = {"6", "6_VCID_1", "6_VCID_2", "10", "11"}
"""Band 6 of OLI sees reflected light: its reflectance gain goes before."""


def _pairs(group: Mapping[str, str], quantity: str, where: str) -> _Gains:
    """What follows `…_BAND_` → (multiplier, summand)."""
    start = f"{quantity}_MULT_BAND_"
    return {
        key.removeprefix(start): (
            number(value, f"{where}, {key}"),
            number(group.get(key.replace("_MULT_", "_ADD_")), f"{where}, {key.replace('_MULT_', '_ADD_')}"),
        )
        for key, value in group.items()
        if key.startswith(start)
    }
