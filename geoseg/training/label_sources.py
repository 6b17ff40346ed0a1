"""Labels of one scene, whatever they come from, as class indices of windows of its grid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import UsageError
from geoseg.grid import Grid, Window
from geoseg.io.label_burn import NOBODY, ShapeBurner
from geoseg.io.label_raster import LabelRaster, open_label_raster
from geoseg.io.label_shapes import LabelShapes, read_label_shapes, vector_fields
from geoseg.training.chips import IGNORE
from geoseg.training.label_check import Tally, outside_m2, overlaps
from geoseg.training.label_values import UNKNOWN, ValueTable
from geoseg.training.recipe_data import LabelValue, SceneRecipe
from geoseg.training.separate import Patches


@dataclass(frozen=True)
class LabelWindow:
    """Labels of a window."""

    classes: NDArray[np.uint8]
    """(row, col) class index, `IGNORE` where nothing is known."""
    owners: NDArray[np.int32] | None
    """(row, col) shape that a label belongs to, `NOBODY` where there is none; None: labels are no shapes."""


class LabelSource(Protocol):
    """Labels of a scene."""

    facts: tuple[tuple[str, str], ...]
    """What the file says of itself, such as LICENSE."""

    def cells(self, chip: int) -> Iterator[Window]:
        """Windows of the chip lattice, anchored at the grid's first pixel, that may hold labels; in row order."""

    def read(self, window: Window) -> LabelWindow:
        """Labels of a window, which may reach beyond the grid."""

    def used(self, window: Window, labels: NDArray[np.uint8]) -> None:
        """Told of each chip that is kept: (row, col) class indices, `IGNORE` where the image is invalid."""

    def finish(self, tally: Tally) -> None:
        """Tell what was found once all windows were read."""


class ShapeLabels:
    """Polygons and points.

    Args:
        found: as read.
        table: what their values mean.
        grid: the scene's.
        names: of the classes.
    """

    def __init__(self, found: LabelShapes, table: ValueTable, grid: Grid, names: tuple[str, ...]) -> None:
        self.found, self.grid, self.names, self.facts = found, grid, names, found.facts
        self.index = np.array([table.find(value) for value in found.values], np.int16)
        pairs = zip(found.values, self.index, strict=True)
        unknown = Counter(value for value, index in pairs if index == UNKNOWN and value is not None)
        self._complaint = table.complaint(unknown)
        self._labeling = (self.index != UNKNOWN) & (self.index != IGNORE)
        classes = np.where(self._labeling, self.index, NOBODY).astype(np.int16)
        self._burner = ShapeBurner(found.shapes, classes, grid)
        self._drawn = np.zeros(len(self.index), bool)

    def cells(self, chip: int) -> Iterator[Window]:
        """See `LabelSource.cells`."""
        for window in lattice(self.grid, chip):
            if len(self._burner.near(window)):
                yield window

    def read(self, window: Window) -> LabelWindow:
        """See `LabelSource.read`."""
        burned = self._burner.burn(window)
        inside = inside_grid(self.grid, window)
        self._drawn[np.unique(burned.owners[inside & (burned.owners != NOBODY)])] = True
        known = inside & (burned.classes != NOBODY)
        return LabelWindow(np.where(known, burned.classes, IGNORE).astype(np.uint8), burned.owners)

    def used(self, window: Window, labels: NDArray[np.uint8]) -> None:
        """See `LabelSource.used`."""

    def finish(self, tally: Tally) -> None:
        """See `LabelSource.finish`."""
        name, shapes = self.found.path.name, self.found.shapes
        n = len(self.names)
        parts = shapely.get_num_geometries(shapes)
        tally.separate += np.bincount(self.index[self._labeling], parts[self._labeling], n).astype(np.int64)
        outside = outside_m2(shapes, self.grid)
        tally.areas_m2["outside"] += np.bincount(self.index[self._labeling], outside[self._labeling], n)
        said = [f"{count} {why}: left out" for why, count in self.found.useless]
        nulls = sum(value is None for value in self.found.values)
        said += [f"{nulls} without a class (NULL or blank): not trained on"] * bool(nulls)
        ignored = int((self.index == IGNORE).sum()) - nulls
        said += [f"{ignored} with values that the recipe ignores"] * bool(ignored)
        said += [f"invalid, taken as repaired: {why}" for why in self.found.invalid]
        away = int((self._labeling & (outside > 0)).sum())
        said += [f"{away} wholly or partly outside the image"] * bool(away)
        small = int((self._labeling & ~self._drawn & (outside == 0)).sum())
        said += [f"{small} hold no pixel of their own: too small, or under others"] * bool(small)
        labels = [self.names[i] if ok else None for i, ok in zip(self.index, self._labeling, strict=True)]
        said += overlaps(shapes, labels, self.grid)
        tally.remarks += [f"{name}: {line}" for line in said]
        if self._complaint is not None:
            tally.errors.append(f"{name}: {self._complaint}")


class CodeLabels:
    """A raster of codes; arguments as for `ShapeLabels`."""

    def __init__(self, raster: LabelRaster, table: ValueTable, names: tuple[str, ...]) -> None:
        self.raster, self.table, self.names, self.facts = raster, table, names, raster.facts
        self.grid = raster.on_grid.grid
        self._unknown: Counter[LabelValue] = Counter()
        self._patches = Patches()

    def cells(self, chip: int) -> Iterator[Window]:
        """See `LabelSource.cells`."""
        return lattice(self.grid, chip)

    def read(self, window: Window) -> LabelWindow:
        """See `LabelSource.read`."""
        out = np.full(window.shape, IGNORE, np.uint8)
        common = window.intersection(self.grid.window)
        if common is None:
            return LabelWindow(out, None)
        codes, known = self.raster.read(common)
        found = np.where(known, self.table.find_all(codes), IGNORE)
        missed, counts = np.unique(codes[found == UNKNOWN], return_counts=True)
        self._unknown.update(dict(zip(missed.tolist(), counts.tolist(), strict=True)))
        out[common.relative_to(window).slices] = np.where(found == UNKNOWN, IGNORE, found)
        return LabelWindow(out, None)

    def used(self, window: Window, labels: NDArray[np.uint8]) -> None:
        """See `LabelSource.used`."""
        at = window.row_off // window.height, window.col_off // window.width
        self._patches.add(at, labels, labels != IGNORE)

    def finish(self, tally: Tally) -> None:
        """See `LabelSource.finish`."""
        tally.separate += self._patches.counts(len(self.names))
        complaint = self.table.complaint(self._unknown)
        if complaint is not None:
            tally.errors.append(f"{self.raster.path.name}: pixels with {complaint}")


def label_source(recipe: SceneRecipe, grid: Grid, table: ValueTable, names: tuple[str, ...]) -> LabelSource:
    """The labels of a scene.

    Args:
        recipe: names the file.
        grid: the scene's.
        table: what values mean.
        names: of the classes, by index.

    Raises:
        UsageError: polygons or points without a field.
        InputMissingError, InputError: see `read_label_shapes`, `open_label_raster`.
    """
    if recipe.field is not None:
        shapes = read_label_shapes(recipe.labels, recipe.field, grid, layer=recipe.layer, radius_m=recipe.radius_m)
        return ShapeLabels(shapes, table, grid, names)
    refuse_without_field(recipe.labels, recipe.layer)
    return CodeLabels(open_label_raster(recipe.labels, grid, on_grid=recipe.labels_on_grid), table, names)


def refuse_without_field(path: Path, layer: str | None) -> None:
    """Polygons and points need a field.

    Raises:
        UsageError: the file is a vector file.
    """
    fields = vector_fields(path, layer) if path.exists() else None
    if fields is not None:
        raise UsageError(
            f"labels {path} are polygons or points: say which field names the class; they have: "
            f"{', '.join(fields) or 'none'}."
        )


def lattice(grid: Grid, chip: int) -> Iterator[Window]:
    """All windows of chip × chip pixels that cover a grid, from its first pixel on; the last reach beyond it."""
    for row in range(0, grid.height, chip):
        for col in range(0, grid.width, chip):
            yield Window(col, row, chip, chip)


def inside_grid(grid: Grid, window: Window) -> NDArray[np.bool_]:
    """(row, col) True where a window's pixels lie in the grid."""
    out = np.zeros(window.shape, bool)
    common = window.intersection(grid.window)
    if common is not None:
        out[common.relative_to(window).slices] = True
    return out
