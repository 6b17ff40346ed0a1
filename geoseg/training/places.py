"""Chips into places, and places into training and validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geoseg.errors import ConfigError
from geoseg.grid import Grid, Window
from geoseg.io.label_shapes import pixel_sides_m
from geoseg.training.blocks import block_chips, choose_held_out
from geoseg.training.leaks import Lot, common_ground, lonlat_box
from geoseg.training.recipe_data import SceneData
from geoseg.training.scenes import Cut, LabeledScene, Scanned

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Places:
    """Where each chip belongs; all arrays are (chip,)."""

    names: tuple[str, ...]
    held: Bools
    """True = held out."""
    dropped: Bools
    """True = used by neither part, since it shares ground with a held-out chip."""
    kinds: str
    """What places are, for people."""


def part(scenes: list[LabeledScene], scanned: Scanned, data: SceneData, n_classes: int) -> Places:
    """Name the place of each chip and choose the held-out ones.

    A scene's own `split` counts first, then its `group` as one place; others are parted by blocks, which scenes of
    common ground share.

    Args:
        scenes: all of them.
        scanned: their chips.
        data: blocks and shares.
        n_classes: number of classes.

    Raises:
        ConfigError: a group is in both parts, or chips of both parts share ground by the recipe's own word.
    """
    lattices = _lattices(scenes, data)
    names = tuple(_place(scenes[cut.scene], lattices[cut.scene], cut) for cut in scanned.cuts)
    distinct = sorted(set(names))
    of_chip = np.searchsorted(distinct, names)
    counts = np.zeros((len(distinct), n_classes), np.int64)
    for place, labels in zip(of_chip.tolist(), scanned.labels, strict=True):
        counts[place] += np.bincount(labels.ravel(), minlength=256)[:n_classes]
    given = _given(scenes, scanned.cuts, names)
    fixed = np.array([given.get(name) is not None for name in distinct], bool)
    chosen = np.array([given.get(name) == "val" for name in distinct], bool)
    held = choose_held_out(counts, ~fixed, chosen, data.val_share, data.seed)[of_chip]
    own_word = np.array(
        [
            scenes[cut.scene].recipe.split is not None or scenes[cut.scene].recipe.group is not None
            for cut in scanned.cuts
        ]
    )
    dropped = _without_leaks(scenes, scanned.cuts, held, own_word)
    return Places(names, held, dropped, _kinds(scenes, lattices))


@dataclass(frozen=True)
class _Lattice:
    """Blocks that a scene shares with those of its ground."""

    name: str
    grid: Grid
    block_px: tuple[int, int]
    """Rows and columns of a block."""
    block_m: float
    way: Transformer | None
    """From the scene's CRS to the lattice's; None: they are the same."""

    def block(self, grid: Grid, window: Window) -> tuple[int, int]:
        """Row and column of the block that holds a window's center."""
        col, row = window.col_off + window.width / 2, window.row_off + window.height / 2
        x, y = grid.transform @ (col, row)
        if self.way is not None:
            x, y = self.way.transform(x, y)
        col, row = ~self.grid.transform @ (x, y)
        return int(row // self.block_px[0]), int(col // self.block_px[1])


def _lattices(scenes: list[LabeledScene], data: SceneData) -> list[_Lattice]:
    """A lattice for each scene: that of the first scene whose ground it touches, else its own."""
    out: list[_Lattice] = []
    boxes = [lonlat_box(each.scene.grid, [each.scene.grid.window]) for each in scenes]
    for number, each in enumerate(scenes):
        grid = each.scene.grid
        first = next((i for i in range(number) if _meet(boxes[i], boxes[number])), None)
        if first is not None:
            root = out[first]
            way = None if root.grid.crs == grid.crs else Transformer.from_crs(grid.crs, root.grid.crs, always_xy=True)
            out.append(_Lattice(root.name, root.grid, root.block_px, root.block_m, way))
            continue
        width_m, height_m = pixel_sides_m(grid)
        extent = max(width_m * grid.width, height_m * grid.height)
        down, across = block_chips(data.chip, (width_m, height_m), extent, data.block_m)
        out.append(_Lattice(each.name, grid, (down * data.chip, across * data.chip), down * data.chip * height_m, None))
    return out


def _meet(one: list[float] | None, other: list[float] | None) -> bool:
    if one is None or other is None:
        return False
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _place(each: LabeledScene, lattice: _Lattice, cut: Cut) -> str:
    if each.recipe.group is not None:
        return each.recipe.group
    row, col = lattice.block(each.scene.grid, cut.window)
    # Scenes of one ground that were given to different parts are places of their own, so that the leak shows.
    given = f" {each.recipe.split}" if each.recipe.split else ""
    return f"{lattice.name} block {row},{col}{given}"


def _given(scenes: list[LabeledScene], cuts: list[Cut], names: tuple[str, ...]) -> dict[str, str]:
    """Place → the part that the recipe names.

    Raises:
        ConfigError: a group is named for both.
    """
    out: dict[str, str] = {}
    for cut, name in zip(cuts, names, strict=True):
        split = scenes[cut.scene].recipe.split
        if split is not None and out.setdefault(name, split) != split:
            raise ConfigError(
                f"group {name!r} has scenes for train and for val, so held-out figures would be too good; give it one."
            )
    return out


def _without_leaks(scenes: list[LabeledScene], cuts: list[Cut], held: Bools, own_word: Bools) -> Bools:
    """(chip,) True = a training chip that shares ground with a held-out one.

    Raises:
        ConfigError: both went where they are by the recipe's own word.
    """
    dropped = np.zeros(len(cuts), bool)
    by_scene = [np.flatnonzero([cut.scene == number for cut in cuts]) for number in range(len(scenes))]
    for a, ours in enumerate(by_scene):
        for b, theirs in enumerate(by_scene):
            train, val = ours[~held[ours]], theirs[held[theirs]]
            if a == b or not len(train) or not len(val):
                continue
            lots = [
                Lot(scenes[n].scene.grid, tuple(cuts[i].window for i in chosen)) for n, chosen in ((a, train), (b, val))
            ]
            for one, other in common_ground(*lots):
                if own_word[train[one]] and own_word[val[other]]:
                    raise ConfigError(_leak(scenes, cuts[train[one]], cuts[val[other]]))
                dropped[train[one]] = True
    return dropped


def _leak(scenes: list[LabeledScene], train: Cut, val: Cut) -> str:
    said = [
        f"{scenes[cut.scene].name} (row {cut.window.row_off}, column {cut.window.col_off}) in {part}"
        for cut, part in ((train, "train"), (val, "val"))
    ]
    return f"chips of both parts share ground: {said[0]} and {said[1]}; give their scenes one group or one split."


def _kinds(scenes: list[LabeledScene], lattices: list[_Lattice]) -> str:
    sizes = sorted({f"{lattice.block_m / 1000:.3g}" for lattice in lattices})
    grouped = any(each.recipe.group is not None for each in scenes)
    return ("groups and " if grouped else "") + f"blocks of about {', '.join(sizes)} km"
