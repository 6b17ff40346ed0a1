"""A recipe from a scene and its labels, for those who have none yet."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.errors import ConfigError
from geoseg.io.class_raster import open_class_raster
from geoseg.io.compose import opened
from geoseg.io.label_raster import open_label_raster
from geoseg.io.label_shapes import pixel_sides_m, read_label_shapes
from geoseg.io.remote import is_remote
from geoseg.io.sample import sample_pixels
from geoseg.io.scene import Scene
from geoseg.model.file import find_model
from geoseg.model.normalize import reflectance
from geoseg.settings import ReadSettings
from geoseg.strict_yaml import yaml_text
from geoseg.training.blocks import LONGEST_M, PARTS
from geoseg.training.class_rows import class_rows
from geoseg.training.label_sources import refuse_without_field
from geoseg.training.label_values import spelling_complaint, spellings
from geoseg.training.recipe import MAX_CLASSES
from geoseg.training.recipe_data import LabelValue
from geoseg.training.recipe_start import CHECKPOINTS, ENCODERS, published_kind

CHIP, SMALL_CHIP, FEW_CHIPS = 128, 64, 32
"""Labels that would give fewer chips are cut into smaller ones."""
LEAST_PLACES = 16
"""Blocks that hold labels, where there are so many chips: fewer leave no choice of what to hold out."""
SAMPLES, LEAST_EPOCHS, MOST_EPOCHS = 1500, 8, 120
"""Training samples of `CHIP` pixels that a small set gets: minutes on two cores; each chip is seen so often at least
and at most."""
FINE_LR = 0.001
"""Learning rate of weights that know something already."""
_HEAD = "# Made by geoseg from a scene and its labels; geoseg train THIS_FILE -o MODEL trains the same again.\n"


@dataclass(frozen=True)
class Starter:
    """A recipe that was made up."""

    content: dict[str, Any]
    """As YAML holds it."""
    spelling: str | None
    """What is to be decided about spellings, which the recipe merges; None: nothing."""

    def text(self) -> str:
        """The recipe as YAML, with a word on where it comes from."""
        return _HEAD + yaml_text(self.content)


def starter(
    images: Sequence[str],
    labels: Path,
    settings: ReadSettings,
    *,
    name: str,
    folder: Path,
    field: str | None = None,
    start: str | None = None,
) -> Starter:
    """Make up a recipe: classes from the labels, bands and values from the image, effort by the amount of data.

    Args:
        images: files of one scene, or its dates where `settings` says so.
        labels: its labels.
        settings: how the images are read.
        name: of the model.
        folder: where the recipe will stand; its paths start there.
        field: attribute that names the class, for polygons and points.
        start: model to start from; classes of its names take its codes and colors.

    Raises:
        UsageError: polygons without a field.
        ConfigError: too many classes, or none.
        GeosegError: image, labels or model cannot be read.
    """
    files, scene = opened(list(images), settings)
    look = _look(labels, field, scene)
    facts, merged = look.facts, spellings(look.values)
    distinct = list(dict.fromkeys(value for value in look.values if value is not None))
    variants = {text for texts in merged.values() for text in texts}
    classes = [(value,) for value in distinct if value not in variants] + list(merged.values())
    if not 2 <= len(classes) <= MAX_CLASSES:
        what = f"field {field!r}" if field else "the raster"
        raise ConfigError(f"labels {labels}: {what} holds {len(classes)} classes; a model takes 2…{MAX_CLASSES}.")
    known = _classes_of(start) + look.schemes
    chip = CHIP if look.cells(CHIP) >= FEW_CHIPS else SMALL_CHIP
    tags = files[0].tags
    licenses = f"image: {tags.get('LICENSE', 'not stated')}; labels: {facts.get('LICENSE', 'not stated')}"
    scene_words: dict[str, Any] = {"image": [_from(folder, image) for image in images]}
    scene_words |= {"labels": _from(folder, str(labels))}
    scene_words |= {"field": field} if field else {}
    scene_words |= {"dates": True} if settings.together == "dates" else {}
    content = {
        "model": _model(name, scene, licenses, [labels.name, facts.get("SOURCE", "")]),
        "data": {
            "scenes": [scene_words | _reading(settings, folder)],
            "chip": chip,
            "block_m": _block_m(scene, look, chip),
        },
        "bands": _bands(scene),
        "classes": class_rows(sorted(classes, key=lambda texts: _order(texts[0])), known),
        "ignore": [],
        **_effort(chip, look.cells(chip), reflective=_reflective(scene)),
    }
    if start is not None:
        content["fit"] |= {"start": start if not Path(start).exists() else _from(folder, start), "lr": FINE_LR}
        if published_kind(start) not in ENCODERS:
            del content["network"]  # the start's is taken
    return Starter(content, spelling_complaint(merged))


def _classes_of(start: str | None) -> list[ClassScheme]:
    """Those of a geoseg model; other starts do not name theirs."""
    if start is None or published_kind(start) is not None or start.endswith(CHECKPOINTS):
        return []
    return [find_model(start).spec.classes]


@dataclass(frozen=True)
class _Look:
    """A first look at labels."""

    values: list[LabelValue | None]
    """Of shapes one each, of a raster each code once."""
    facts: dict[str, str]
    """What the file says of itself."""
    points: NDArray[np.float64]
    """(point, 2) columns and rows of the scene that are labeled."""
    schemes: list[ClassScheme]
    """Names and colors that the file brings."""

    def cells(self, side: float) -> int:
        """How many squares of so many pixels, from the scene's first pixel on, hold labels."""
        return len(np.unique(self.points // side, axis=0))


def _look(labels: Path, field: str | None, scene: Scene) -> _Look:
    grid = scene.grid
    if field is None:
        refuse_without_field(labels, None)
        raster = open_label_raster(labels, grid)
        cols, rows = np.meshgrid(np.arange(0.0, grid.width, SMALL_CHIP), np.arange(0.0, grid.height, SMALL_CHIP))
        points = np.column_stack((cols.ravel(), rows.ravel()))
        return _Look(list(raster.values()), dict(raster.facts), points, [open_class_raster(labels).scheme])
    shapes = read_label_shapes(labels, field, grid)
    points = shapes.corners(grid)
    inside = ((points >= 0) & (points < (grid.width, grid.height))).all(axis=1)
    return _Look(list(shapes.values), dict(shapes.facts), points[inside], [])


def _order(value: LabelValue) -> tuple[int, int | str]:
    return (0, value) if isinstance(value, int) else (1, value)


def _reflective(scene: Scene) -> bool:
    return scene.radiometry != "none"


def _model(name: str, scene: Scene, licenses: str, source: list[str]) -> dict[str, Any]:
    gsd = scene.grid.gsd_m
    return {
        "name": name,
        "version": "1",
        "license": "not stated",
        "attribution": "not stated",
        "purpose": f"The classes of {source[0]} on images like those that it was drawn on.",
        "gsd_m": [float(f"{gsd * 0.8:.3g}"), float(f"{gsd * 1.25:.3g}")],
        "unit": "reflectance" if _reflective(scene) else "dn",
        "training_data": [
            {"name": source[0], "license": licenses, "attribution": source[1] or "not stated"},
        ],
    }


def _block_m(scene: Scene, labels: _Look, chip: int) -> float:
    """As recipes have it by default, but smaller where labels would lie in few blocks."""
    width_m, height_m = pixel_sides_m(scene.grid)
    side = min(LONGEST_M, max(width_m * scene.grid.width, height_m * scene.grid.height) / PARTS)
    least = chip * scene.grid.gsd_m
    while side > least and labels.cells(side / scene.grid.gsd_m) < LEAST_PLACES:
        side /= 2
    return float(f"{max(side, least):.3g}")


def _bands(scene: Scene) -> list[dict[str, Any]]:
    """All bands; what is plausible is the default for reflectance, else three times the range that was seen."""
    if _reflective(scene):
        return [{"name": name} for name in scene.names]
    values = reflectance(sample_pixels(scene), scene.scale, scene.offset)
    out = []
    for name, plane in zip(scene.names, values, strict=True):
        low, high = (float(v) for v in np.quantile(plane, (0.01, 0.99))) if plane.size else (0.0, 255.0)
        room = max(high - low, 1.0)
        out.append({"name": name, "plausible": [math.floor(low - room), math.ceil(high + room)]})
    return out


def _effort(chip: int, chips: int, *, reflective: bool) -> dict[str, Any]:
    """Network, augmentation and fit: about those of the bundled models, as long as so many chips deserve."""
    return {
        "network": {
            "architecture": "unet",
            "encoder": "tu-regnetx_002",
            "options": {"encoder_depth": 4, "decoder_channels": [128, 64, 32, 16]},
            "stride": 16,
            "chip": 256,
        },
        "augment": {
            "crop": chip,
            "zoom": [0.8, 1.25],
            "gain": [0.9, 1.1],
            "band_gain": 0.03,
            **({"shift": 0.004, "noise": 0.003} if reflective else {}),
        },
        "fit": {
            "epochs": min(MOST_EPOCHS, max(LEAST_EPOCHS, SAMPLES * CHIP**2 // (chip**2 * max(1, chips)))),
            "batch": 8 if chips < 64 else 16,
            "lr": 0.003,
            "weight_decay": 0.05,
            "label_smoothing": 0.05,
            "class_weight_power": 0.5,
        },
    }


def _reading(settings: ReadSettings, folder: Path) -> dict[str, Any]:
    """What was said about reading, as the recipe says it."""
    default = asdict(ReadSettings())
    given = {key: value for key, value in asdict(settings).items() if value != default[key] and key != "together"}
    for key in ("aoi", "grid_of"):
        if key in given:
            given[key] = _from(folder, str(given[key]))
    for key in ("grid", "sensor"):
        if key in given:
            given[key] = _file_from(folder, given[key])
    if "mask" in given:
        given["mask"] = [_file_from(folder, mask) for mask in given["mask"]]
    return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}


def _file_from(folder: Path, text: str) -> str:
    """`FILE` or `FILE:RULE` with the file as seen from the recipe's folder; other words as they are."""
    for cut in (len(text), *(at for at, char in enumerate(text) if char == ":")):
        if text[:cut] and Path(text[:cut]).exists():
            return _from(folder, text[:cut]) + text[cut:]
    return text


def _from(folder: Path, path: str) -> str:
    """A path as seen from the recipe's folder; addresses as they are."""
    if is_remote(path) or path.startswith("/vsi"):
        return path
    try:
        return Path(os.path.relpath(Path(path).resolve(), folder.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return str(Path(path).resolve())
