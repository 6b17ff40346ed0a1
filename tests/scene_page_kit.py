"""The page of a scene with an answer known by eye: four quarters of the map over a plain image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import ClassScheme, LandClass
from geoseg.report.scene import FactGroup, ScenePage, scene_page

NASTY = '<script>document.title = "broken"</script><img src=x onerror="alert(1)"> & "Wald"'
SCHEME = ClassScheme(
    (
        LandClass(1, "water", (0, 90, 200)),
        LandClass(2, NASTY, (0, 130, 60)),
        LandClass(7, "bare", (230, 200, 40)),
        LandClass(9, "snow", (250, 250, 250)),
    )
)
PHOTO = (120, 60, 160)
SIDE = 240


def quarters() -> np.ndarray:
    """(row, col): water and NASTY above, bare and no class below."""
    codes = np.full((SIDE, SIDE), 1, np.uint8)
    codes[: SIDE // 2, SIDE // 2 :] = 2
    codes[SIDE // 2 :, : SIDE // 2] = 7
    codes[SIDE // 2 :, SIDE // 2 :] = 255
    return codes


def facts(**changes: Any) -> ScenePage:
    codes = quarters()
    scores = np.zeros(256, np.int64)
    scores[[0, 51, 128, 255]] = 500, 100, 200, 700
    fields: dict[str, Any] = {
        "title": f"scene {NASTY}",
        "lead": "Land classes by the model toy",
        "scheme": SCHEME,
        "areas_ha": {"water": 144.0, NASTY: 288.0, "bare": 144.0, "snow": 0.0},
        "pixels": {"water": 14400, NASTY: 28800, "bare": 14400, "snow": 0},
        "polygons": {"water": 3, NASTY: 2, "bare": 1, "snow": 0},
        "apart_ha": {"cloud": 72.0},
        "image": np.full((*codes.shape, 3), PHOTO, np.uint8),
        "codes": codes,
        "empty": "cloud",
        "width_m": 2400.0,
        "scores": scores,
        "seam": 0.01234,
        "changes": [("bare", NASTY, 1.5)],
        "accuracy": None,
        "accuracy_file": None,
        "model_accuracy": "Of toy 1: held-out accuracy not measured.",
        "classes_file": "scene.classes.tif",
        "facts": (FactGroup("Input", (("files", f"{NASTY}.tif"),)),),
        "warnings": ("mind <this>",),
        "files": (("a & b#1.tif", "Class raster"),),
    }
    return ScenePage(**(fields | changes))


def write_page(path: Path, **changes: Any) -> Path:
    path.write_text(scene_page(facts(**changes)), encoding="utf-8")
    return path
