"""The data of a training: chips with their split, what the labels are worth, and where all of it comes from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from geoseg.errors import ConfigError
from geoseg.io.label_burn import NOBODY
from geoseg.io.sample import fingerprint
from geoseg.training.chips import IGNORE, ChipSet, load_chips
from geoseg.training.label_check import LabelReport
from geoseg.training.leaks import lonlat_box
from geoseg.training.places import Places, part
from geoseg.training.recipe import Recipe
from geoseg.training.recipe_data import DataRecipe, SceneData
from geoseg.training.scenes import LabeledScene, Scanned, open_scenes, scan

LEAST_SEPARATE = 3
"""Polygons, points or patches below which a class is trained but not judged."""
_TOLD = {"LICENSE", "SOURCE"}
"""Metadata of label files that the model file repeats."""


@dataclass(frozen=True)
class TrainingData:
    """All that a training starts from."""

    chips: ChipSet
    sources: tuple[dict[str, Any], ...]
    """Entries of the model file's training_data: credits, and for scenes files, checksums and footprints."""
    split: str = "by place: no held-out chip shares ground with a training chip"
    """How the held-out chips were chosen, in words."""
    not_assessable: Mapping[str, str] = field(default_factory=dict)
    """Classes for which no figure is to be given, and why."""
    report: LabelReport | None = None
    """The label check; None for plain chips."""


class DataWatcher(Protocol):
    """Told what the data are like."""

    def note(self, text: str) -> None:
        """What was found or decided."""

    def warn(self, text: str) -> None:
        """Something that the user should know before trusting the model."""


class Unheard:
    """A watcher that says nothing."""

    def note(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""


def load_data(recipe: Recipe, scratch: Path | None = None, watcher: DataWatcher | None = None) -> TrainingData:
    """All chips of a recipe, cut from scenes or as they are.

    Args:
        recipe: what to load.
        scratch: folder for what memory should not hold; None: memory holds all.
        watcher: told the label check and how the split was made.

    Raises:
        GeosegError: the data cannot be used; see `load_chips`, `open_scenes`, `check_scenes`.
        ConfigError: labels that must be mended first, or a leak: chips of both parts that share ground.
        OutputError: the disk has no room.
    """
    if isinstance(recipe.data, DataRecipe):
        chips = load_chips(recipe)
        chips.split("val")  # plain chips come with their split, which must have both
        return TrainingData(chips, tuple(_credits(recipe)))
    data = recipe.data
    watcher = watcher or Unheard()
    scenes = open_scenes(recipe, data)
    scanned = scan(recipe, data, scenes, scratch, watcher.note, keep=True)
    for line in scanned.report.lines():
        watcher.note(line)
    if scanned.report.errors:
        raise ConfigError("; ".join(scanned.report.errors))
    n = len(recipe.classes)
    places = part(scenes, scanned, data, n)
    chips, unused = _chips(scenes, scanned, places, scratch)
    words = _split_words(chips, places)
    watcher.note(words)
    if unused:
        watcher.warn(f"{unused} chips share ground with held-out ones and are not trained on")
    silent = _not_assessable(scanned.report, chips)
    for name, why in silent.items():
        watcher.warn(f"class {name!r} is not assessable: {why}")
    return TrainingData(chips, _credited(recipe, scenes, scanned, places), words, silent, scanned.report)


def check_scenes(recipe: Recipe, scratch: Path | None = None, watcher: DataWatcher | None = None) -> LabelReport:
    """The label check alone; no chip is kept.

    Raises:
        ConfigError: the recipe's data are plain chips, or do not fit it.
        GeosegError: images or labels that cannot be read.
    """
    if not isinstance(recipe.data, SceneData):
        raise ConfigError("data: plain chips have no label check; it is for data.scenes.")
    note = (watcher or Unheard()).note
    return scan(recipe, recipe.data, open_scenes(recipe, recipe.data), scratch, note, keep=False).report


def _chips(scenes: list[LabeledScene], scanned: Scanned, places: Places, scratch: Path | None) -> tuple[ChipSet, int]:
    """The chips that stay, and how many shared ground with held-out ones.

    A shape is never in both parts: where its part with fewer pixels lies, its labels are not used.
    """
    held = places.held
    # Scenes of several dates may share a file of labels, and its shapes.
    files = [(each.recipe.labels, each.recipe.layer) for each in scenes]
    sides: dict[tuple[Any, int], Counter[bool]] = {}
    for cut, is_held in zip(scanned.cuts, held.tolist(), strict=True):
        for owner, count in cut.owners.tolist():
            sides.setdefault((files[cut.scene], owner), Counter())[is_held] += count
    for at, cut in enumerate(scanned.cuts):
        mine = [(owner, sides[files[cut.scene], owner]) for owner in cut.owners[:, 0].tolist()]
        lost = [owner for owner, count in mine if _lost(count, held_out=bool(held[at]))]
        owners = scenes[cut.scene].labels.read(cut.window).owners if lost else None
        if owners is not None:
            scanned.labels[at][np.isin(owners, lost) & (owners != NOBODY)] = IGNORE
    labeled = np.array([bool((labels != IGNORE).any()) for labels in scanned.labels])
    splits = tuple("val" if h else "train" for h in held)
    chips = ChipSet(scanned.images, scanned.valid, scanned.labels, splits, places.names, scratch)
    return chips.pick(labeled & ~places.dropped), int(places.dropped.sum())


def _split_words(chips: ChipSet, places: Places) -> str:
    held = {place for place, split in zip(chips.places, chips.splits, strict=True) if split == "val"}
    return f"by place: {len(held)} of {len(set(chips.places))} {places.kinds} held out"


def _lost(count: Counter[bool], *, held_out: bool) -> bool:
    """True when a shape's labels count on the other side; training wins where both have as many."""
    return (count[True] > count[False]) != held_out


def _not_assessable(report: LabelReport, chips: ChipSet) -> dict[str, str]:
    held = np.array([split == "val" for split in chips.splits])
    judged = np.bincount(chips.labels[held].ravel(), minlength=IGNORE + 1)
    trained = np.bincount(chips.labels[~held].ravel(), minlength=IGNORE + 1)
    out = {}
    for index, row in enumerate(report.classes):
        if not trained[index]:
            out[row.name] = "no label to train on"
        elif row.separate < LEAST_SEPARATE:
            few = f"{row.separate} separate label{'s' * (row.separate != 1)}"
            out[row.name] = f"only {few}; {LEAST_SEPARATE} are needed to judge a class"
        elif not judged[index]:
            out[row.name] = "no label among the held-out places"
    return out


def _credited(
    recipe: Recipe, scenes: list[LabeledScene], scanned: Scanned, places: Places
) -> tuple[dict[str, Any], ...]:
    """Credits of the recipe with what was read of each: files, checksums, licences as tagged, footprints."""
    entries = _credits(recipe)
    by_name = {entry["name"]: entry for entry in entries}
    trained: dict[tuple[int, str], list[Any]] = {}
    for cut, name, held, dropped in zip(scanned.cuts, places.names, places.held, places.dropped, strict=True):
        if not held and not dropped:
            trained.setdefault((cut.scene, name), []).append(cut.window)
    for number, each in enumerate(scenes):
        entry = by_name[each.recipe.source or entries[0]["name"]]
        labels = fingerprint(str(each.recipe.labels))
        labels |= {} if each.recipe.field is None else {"field": each.recipe.field}
        labels |= {key.lower(): value for key, value in each.labels.facts if key in _TOLD}
        images = [fingerprint(path) for path in each.scene.paths]
        entry.setdefault("scenes", []).append({"image": images, "labels": labels})
        boxes = [lonlat_box(each.scene.grid, windows) for (scene, _), windows in trained.items() if scene == number]
        entry.setdefault("footprints", []).extend(box for box in boxes if box is not None)
    return tuple(entries)


def _credits(recipe: Recipe) -> list[dict[str, Any]]:
    return [source.model_dump(exclude_none=True) for source in recipe.model.training_data]
