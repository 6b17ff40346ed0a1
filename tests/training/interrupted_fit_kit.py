"""Fits that are stopped after an epoch and go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fit_kit import chip_set, spec_of

from geoseg.training.fit import Fitted, fit
from geoseg.training.progress import EpochRow, Unwatched
from geoseg.training.recipe import Recipe

CHIPS, ASIDE = chip_set(6), chip_set(3, seed=9)


class Halt(Exception):  # noqa: N818 (it is none)
    """Raised by a watcher in place of a crash."""


class Stopping(Unwatched):
    """Ends the fit after an epoch; remembers what it was told."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.rows, self.begun = after, [], []

    def begin(self, label: str, epochs: int, done: int) -> None:
        self.begun.append((label, epochs, done))

    def epoch(self, row: EpochRow) -> None:
        self.rows.append(row)
        if row.epoch == self.after:
            raise Halt


def run(recipe: Recipe, path: Path | None = None, watcher: Stopping | None = None, **more: Any) -> Fitted:
    more = {"aside": ASIDE} | more
    return fit(spec_of(recipe), CHIPS, recipe, checkpoint=path, watcher=watcher, **more)


def equal(ours: Fitted, theirs: Fitted) -> bool:
    left, right = ours.network.state_dict(), theirs.network.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def assert_resumes(recipe: Recipe, path: Path, stops: tuple[int, ...]) -> None:
    """Stopped after some epochs, again and again, the fit ends as if undisturbed."""
    undisturbed = run(recipe)
    for stop in stops:
        with pytest.raises(Halt):
            run(recipe, path, Stopping(stop))
    last = Stopping()
    resumed = run(recipe, path, last)
    assert last.begun == [("train", recipe.fit.epochs, stops[-1])]
    assert equal(resumed, undisturbed)
    assert resumed.epochs == undisturbed.epochs
    told = [(row.epoch, row.loss, row.lr, row.mean_iou) for row in resumed.rows]
    assert told == [(row.epoch, row.loss, row.lr, row.mean_iou) for row in undisturbed.rows]
