"""Scenes with labels → chips: one look at each window, on one lattice anchored at the scene's first pixel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError
from geoseg.grid import Window
from geoseg.ground import area_model
from geoseg.io.compose import open_scene
from geoseg.io.label_burn import NOBODY
from geoseg.io.read import read_chip, touches_aoi
from geoseg.io.scene import Scene, path_name
from geoseg.io.scratch import has_large_blocks, retiled
from geoseg.model.fit import SLACK
from geoseg.model.normalize import reflectance
from geoseg.training.chips import IGNORE
from geoseg.training.label_check import LabelReport, Tally
from geoseg.training.label_sources import LabelSource, label_source
from geoseg.training.label_values import ValueTable
from geoseg.training.recipe import Recipe
from geoseg.training.recipe_data import SceneData, SceneRecipe
from geoseg.training.store import room


@dataclass(frozen=True)
class LabeledScene:
    """A scene and its labels."""

    name: str
    """Of the product or the first file; told apart by number where two are called alike."""
    recipe: SceneRecipe
    scene: Scene
    """With the model's bands, in the model's order."""
    labels: LabelSource


@dataclass(frozen=True)
class Cut:
    """Where a chip was cut."""

    scene: int
    window: Window
    owners: NDArray[np.int64]
    """(owner, 2) shapes whose labels it holds, and how many of its pixels each has."""


@dataclass
class Scanned:
    """All chips with labels; arrays as in `ChipSet`."""

    images: NDArray[np.float32]
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    cuts: list[Cut]
    report: LabelReport


def open_scenes(recipe: Recipe, data: SceneData) -> list[LabeledScene]:
    """Open all scenes and their labels; no pixel is read but for what `--collar auto` and quality layers need.

    Raises:
        ConfigError: a scene lacks a band, or its pixels have another size than the model is to be used at.
        GeosegError: whatever makes an image or its labels unusable.
    """
    table, names = ValueTable.of(recipe), recipe.scheme().names
    out: list[LabeledScene] = []
    for each in data.scenes:
        settings = each.settings(data)
        if len(each.image) > 1:
            settings = replace(settings, together="dates" if each.dates else "stack")
        scene = open_scene(list(each.image), settings)
        missing = [band.name for band in recipe.bands if band.name not in scene.names]
        if missing:
            raise ConfigError(
                f"{path_name(each.image[0])} has no band {missing[0]!r}, it has {', '.join(scene.names)}; say which is "
                f"which with bands, or leave it out."
            )
        low, high = recipe.model.gsd_m
        if not low * (1 - SLACK) <= scene.grid.gsd_m <= high * (1 + SLACK):
            raise ConfigError(
                f"{path_name(each.image[0])} has pixels of {scene.grid.gsd_m:.3g} m, model.gsd_m says "
                f"{low:g}…{high:g} m; widen that, or bring the image there with grid."
            )
        scene = scene.select([band.name for band in recipe.bands])
        name = scene.scene_id or Path(path_name(each.image[0])).stem
        if any(known.name == name for known in out):
            name = f"{name} ({len(out) + 1})"
        out.append(LabeledScene(name, each, scene, label_source(each, scene.grid, table, names)))
    return out


def scan(
    recipe: Recipe,
    data: SceneData,
    scenes: list[LabeledScene],
    scratch: Path | None,
    note: Callable[[str], None],
    *,
    keep: bool,
) -> Scanned:
    """Cut all chips that hold labeled valid pixels, and gather the label check.

    Args:
        recipe: names the classes.
        data: side of a chip.
        scenes: from `open_scenes`.
        scratch: folder for chips that memory should not hold, and for copies of files in huge blocks.
        note: told what was read, and in what time.
        keep: False: only the check; no pixel is stored.

    Raises:
        InputError: a window cannot be decoded.
        OutputError: the disk has no room.
    """
    tally = Tally(recipe.scheme().names)
    cells = [list(each.labels.cells(data.chip)) for each in scenes]
    most = sum(map(len, cells)) if keep else 0
    shape = (most, data.chip, data.chip)
    images = room((most, len(recipe.bands), *shape[1:]), np.float32, scratch)
    out = Scanned(images, room(shape, bool, scratch), room(shape, np.uint8, scratch), [], tally.report())
    for number, (each, windows) in enumerate(zip(scenes, cells, strict=True)):
        start, before = time.monotonic(), len(out.cuts)
        row_m2 = area_model(each.scene.grid).pixel_areas(each.scene.grid)
        with _readable(each.scene, scratch, note) as scene:
            for window in windows:
                _take(number, replace(each, scene=scene), window, row_m2, tally, out)
        each.labels.finish(tally)
        found, spent = len(out.cuts) - before, time.monotonic() - start
        note(f"{each.name}: {found} chips hold labels, read in {spent:.1f} s")
        if not found:
            tally.errors.append(f"{each.name}: no labeled pixel that holds data; check place, CRS and values of labels")
    n = len(out.cuts) if keep else 0
    return Scanned(out.images[:n], out.valid[:n], out.labels[:n], out.cuts, tally.report())


def _take(
    number: int, each: LabeledScene, window: Window, row_m2: NDArray[np.float64], tally: Tally, out: Scanned
) -> None:
    """Look at a window; note it, and store it as a chip if there is room, when it holds labels of valid pixels."""
    scene = each.scene
    found = each.labels.read(window)
    if not touches_aoi(scene, window) or (found.classes == IGNORE).all():
        return
    chip = read_chip(scene, window)
    rows = np.minimum(np.arange(window.row_off, window.row_end), scene.grid.height - 1)
    masked = np.zeros(window.shape, bool) if chip.masked is None else chip.masked > 0
    tally.add_pixels(found.classes, chip.valid, masked, row_m2[rows])
    labels = np.where(chip.valid, found.classes, IGNORE).astype(np.uint8)
    if (labels == IGNORE).all():
        return
    each.labels.used(window, labels)
    if len(out.images):
        at = len(out.cuts)
        out.images[at] = np.where(chip.valid, reflectance(chip.data, scene.scale, scene.offset), np.float32(0))
        out.valid[at], out.labels[at] = chip.valid, labels
    owners = np.empty((0, 2), np.int64)
    if found.owners is not None:
        numbers, counts = np.unique(found.owners[(labels != IGNORE) & (found.owners != NOBODY)], return_counts=True)
        owners = np.column_stack((numbers, counts)).astype(np.int64)
    out.cuts.append(Cut(number, window, owners))


@contextmanager
def _readable(scene: Scene, scratch: Path | None, note: Callable[[str], None]) -> Iterator[Scene]:
    """The scene, files in huge blocks copied into tiles for the time being."""
    if scratch is None or not has_large_blocks(scene):
        yield scene
        return
    with TemporaryDirectory(dir=scratch, prefix=".geoseg-") as folder:
        copied, notes = retiled(scene, Path(folder))
        for line in notes:
            note(line)
        yield copied
