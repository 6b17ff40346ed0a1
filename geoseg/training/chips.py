"""Training chips in memory: reflectance, validity and class indices, with their places."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError, InputError, InputMissingError
from geoseg.io.plain import read_plain
from geoseg.model.normalize import reflectance
from geoseg.model.spec import Band
from geoseg.training.recipe import Recipe
from geoseg.training.recipe_data import DataRecipe, LabelValue
from geoseg.training.store import rows as some_rows

IGNORE = 255
"""Class index of pixels that are neither trained on nor counted."""
_COLUMNS = ("file", "split", "place_group")
MOST_PIXELS = 50_000_000
"""Training pixels, about, that statistics are made from."""


@dataclass(frozen=True)
class ChipSet:
    """Chips of one size; arrays read-only by convention."""

    images: NDArray[np.float32]
    """Reflectance (chip, band, row, col); finite everywhere, meaningless where not valid."""
    valid: NDArray[np.bool_]
    """(chip, row, col): True where every band holds a measurement."""
    labels: NDArray[np.uint8]
    """Class index (chip, row, col); `IGNORE` where nothing is known or the image is invalid."""
    splits: tuple[str, ...]
    places: tuple[str, ...]
    """Chips with equal place share ground and never part."""
    scratch: Path | None = None
    """Folder for what memory should not hold; None: memory holds all."""

    def __post_init__(self) -> None:
        shape = (self.images.shape[0], *self.images.shape[2:])
        if not self.valid.shape == self.labels.shape == shape:
            raise ValueError(f"validity {self.valid.shape} or labels {self.labels.shape} do not fit {shape}.")
        if not len(self.splits) == len(self.places) == shape[0]:
            raise ValueError(f"{len(self.splits)} splits and {len(self.places)} places for {shape[0]} chips.")

    def __len__(self) -> int:
        return len(self.places)

    def pick(self, chosen: NDArray[np.bool_]) -> ChipSet:
        """The chips where `chosen` (chip,) is True."""
        numbers = np.flatnonzero(chosen)
        return ChipSet(
            some_rows(self.images, numbers, self.scratch),
            some_rows(self.valid, numbers, self.scratch),
            some_rows(self.labels, numbers, self.scratch),
            tuple(self.splits[i] for i in numbers),
            tuple(self.places[i] for i in numbers),
            self.scratch,
        )

    def split(self, name: str) -> ChipSet:
        """The chips of one split.

        Raises:
            ConfigError: there are none.
        """
        chosen = self.part(name)
        if not len(chosen):
            raise ConfigError(f"the data have no chip with split {name!r}; training needs both train and val.")
        return chosen

    def part(self, name: str) -> ChipSet:
        """The chips of one split, of which there may be none."""
        return self.pick(np.array([split == name for split in self.splits], bool))


def load_chips(recipe: Recipe) -> ChipSet:
    """All chips of a recipe whose data are chips.

    Raises:
        InputMissingError: index or chip missing.
        InputError: chips of different sizes, a wrong number of bands, an unreadable file.
        ConfigError: a column is missing, a place in both splits, a label value that the recipe does not name.
        TypeError: the recipe's data are scenes.
    """
    data = recipe.data
    if not isinstance(data, DataRecipe):
        raise TypeError("the recipe's data are scenes; `geoseg.training.data.load_data` takes both.")
    rows = _read_index(data.index)
    table = _label_table(recipe)
    order = [data.bands.index(band.name) for band in recipe.bands]
    loaded = [_load(data, row["file"], order, table) for row in rows]
    sizes = {label.shape for *_, label in loaded}
    if len(sizes) > 1:
        raise InputError(f"training chips have different sizes {sorted(sizes)}; cut them to one (rows, columns).")
    images, valid, labels = (np.stack(part) for part in zip(*loaded, strict=True))
    return ChipSet(images, valid, labels, tuple(r["split"] for r in rows), tuple(r["place_group"] for r in rows))


def inner_split(chips: ChipSet, share: float, seed: int) -> tuple[ChipSet, ChipSet] | None:
    """Part by place: (training chips, at least `share` of the chips to validate on, if places allow).

    Returns:
        None when no place can be set aside without taking a class's last labels from the rest.
    """
    places = sorted(set(chips.places))
    of_chip = np.searchsorted(places, chips.places)
    there = np.zeros((len(places), IGNORE + 1), bool)
    for place, labels in zip(of_chip.tolist(), chips.labels, strict=True):
        there[place, np.unique(labels)] = True
    there[:, IGNORE] = False
    aside = np.zeros(len(places), bool)
    for number in np.random.default_rng(seed).permutation(len(places)).tolist():
        if aside[of_chip].sum() >= share * len(chips):
            break
        rest = ~aside
        rest[number] = False
        if (there[rest].any(axis=0) | ~there.any(axis=0)).all() and rest.any():
            aside[number] = True
    held = aside[of_chip]
    return (chips.pick(~held), chips.pick(held)) if held.any() else None


def fit_bands(chips: ChipSet, recipe: Recipe) -> tuple[Band, ...]:
    """The normalization of each band: mean and standard deviation of the labeled, valid pixels.

    Clouds are ignored labels as a rule; they would stretch the statistics.

    Raises:
        InputError: no such pixel, or a band without any variation.
    """
    used = chips.valid & (chips.labels != IGNORE)
    if not used.any():
        raise InputError("no training pixel is both valid and labeled; check nodata, classes and ignore.")
    # Of more pixels than anyone needs for a mean, those of every n-th chip.
    step = -(-int(used.sum()) // MOST_PIXELS)
    bands = []
    for number, band in enumerate(recipe.bands):
        values = chips.images[::step, number][used[::step]].astype(np.float64)
        if values.std() == 0:
            raise InputError(f"band {band.name!r} is {values[0]:g} in every training pixel; check data.bands.")
        low, middle, high = np.quantile(values, (0.01, 0.5, 0.99))
        bands.append(
            Band(
                name=band.name,
                mean=round(float(values.mean()) + band.offset, 6),
                offset=band.offset,
                std=round(float(values.std()), 6),
                optional=band.optional,
                plausible=band.plausible,
                quantiles=(round(float(low), 4), round(float(middle), 4), round(float(high), 4)),
            )
        )
    return tuple(bands)


def _read_index(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputMissingError(f"index {path}: {error.strerror}.") from error
    missing = [name for name in _COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise ConfigError(f"index {path} has no rows or no column {missing[0]!r}; it needs {', '.join(_COLUMNS)}.")
    split_of: dict[str, str] = {}
    for row in rows:
        if split_of.setdefault(row["place_group"], row["split"]) != row["split"]:
            raise ConfigError(
                f"index {path}: place_group {row['place_group']!r} is in two splits, "
                f"so held-out figures would be too good; give it one."
            )
    return rows


def _label_table(recipe: Recipe) -> NDArray[np.int16]:
    """(65536,) label value → class index, `IGNORE`, or -1 for values that the recipe does not name."""
    table = np.full(65536, -1, np.int16)
    table[_codes(recipe.ignore)] = IGNORE
    for index, row in enumerate(recipe.classes):
        table[_codes(row.labels)] = index
    return table


def _codes(values: tuple[LabelValue, ...]) -> list[int]:
    """Values that chips can hold.

    Raises:
        ConfigError: another one.
    """
    wrong = [value for value in values if not str(value).isdigit() or int(value) > 65535]
    if wrong:
        raise ConfigError(f"label value {wrong[0]!r} cannot occur in chips, which hold codes 0…65535.")
    return [int(value) for value in values]


def _load(
    data: DataRecipe, name: str, order: list[int], table: NDArray[np.int16]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.uint8]]:
    pixels, usable = read_plain(data.images / name, nodata=data.nodata)
    if len(pixels) != len(data.bands):
        raise InputError(f"{name} has {len(pixels)} bands, data.bands names {len(data.bands)}.")
    stored, _ = read_plain(data.labels / name)
    if stored.shape[1:] != pixels.shape[1:] or stored.dtype.kind not in "iu" or stored.min() < 0:
        raise InputError(f"label {name} ({stored.dtype}, {stored.shape[1:]}) does not fit image {pixels.shape[1:]}.")
    label = table[stored[0]]
    if (label < 0).any():
        value = int(stored[0][label < 0][0])
        raise ConfigError(f"label {name} holds {value}, which is neither in classes nor in ignore.")
    valid: NDArray[np.bool_] = np.all(usable[order], axis=0)
    scale, offset = [data.scale] * len(order), [data.offset] * len(order)
    image = np.where(valid, reflectance(pixels[order], scale, offset), np.float32(0))
    return image, valid, np.where(valid, label, IGNORE).astype(np.uint8)
