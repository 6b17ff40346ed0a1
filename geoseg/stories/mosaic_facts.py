"""What a run tells of the scenes of a mosaic: in its key, in its record, and to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geoseg.io.mosaic import Mosaic
from geoseg.io.scene import BandSource, Scene, few, path_name


def band_rows(bands: Sequence[BandSource]) -> list[list[Any]]:
    """Of each band, what its numbers depend on beside the file."""
    return [
        [band.name, path_name(band.path), band.index, band.scale, band.offset, band.validity.describe()]
        for band in bands
    ]


def mosaic_key(mosaic: Mosaic) -> dict[str, Any]:
    """What a class raster depends on beside the files' contents; plain JSON.

    An update leaves `scenes` out: other files are told by what is read of them.
    """
    return {
        "overlap": mosaic.overlap,
        "scenes": [
            [band_rows(part.scene.bands), [[path_name(m.path), m.rule, list(m.reasons)] for m in part.scene.masks]]
            for part in mosaic.parts
        ],
    }


def mosaic_json(mosaic: Mosaic) -> dict[str, Any]:
    """For the record: every scene, in the order in which they count where they overlap."""
    return {"overlap": mosaic.overlap, "scenes": [_scene_json(part.scene) for part in mosaic.parts]}


def _scene_json(scene: Scene) -> dict[str, Any]:
    return {
        "files": [path_name(path) for path in scene.paths],
        "scene_id": scene.scene_id,
        "sensor": scene.sensor,
        "datetime": None if scene.acquired is None else scene.acquired.text,
        "radiometry": scene.radiometry,
        "bands": [{"name": b.name, "scale": b.scale, "offset": b.offset} for b in scene.bands],
        "masks": [{"file": path_name(m.path), "rule": m.rule, "reasons": list(m.reasons)} for m in scene.masks],
    }


def describe_radiometry(scene: Scene) -> list[str]:
    """How stored numbers become reflectance, and who said so; equal bands share a line."""
    if scene.radiometry == "none":
        return ["numbers are used as stored: neither flags nor file give scale or offset"]
    if scene.mosaic is None:
        return [f"reflectance = {formula}: {', '.join(names)}" for formula, names in _formulas(scene)]
    about: dict[str, list[str]] = {}
    for part in scene.mosaic.parts:
        for formula, names in _formulas(part.scene):
            about.setdefault(f"reflectance = {formula}: {', '.join(names)}", []).append(path_name(part.scene.paths[0]))
    # As long as all say the same nobody wants their names.
    return list(about) if _alike(about, len(scene.mosaic.parts)) else [f"{few(n)}: {line}" for line, n in about.items()]


def _alike(about: dict[str, list[str]], count: int) -> bool:
    return all(len(names) == count for names in about.values())


def _formulas(scene: Scene) -> list[tuple[str, list[str]]]:
    by_formula: dict[str, list[str]] = {}
    for band in scene.bands:
        by_formula.setdefault(f"DN·{band.scale:g} {band.offset:+g} ({scene.radiometry})", []).append(band.name)
    return list(by_formula.items())
