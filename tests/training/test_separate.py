"""Law: patches counted chip by chip are those of the whole raster, in whatever order chips come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geoseg.training.separate import Patches

SIDE = 5


def _counted(classes: np.ndarray, known: np.ndarray, seed: int) -> None:
    rows, cols = (n // SIDE for n in classes.shape)
    patches = Patches()
    cells = [(r, c) for r in range(rows) for c in range(cols)]
    for number in np.random.default_rng(seed).permutation(len(cells)):
        r, c = cells[number]
        spot = np.s_[r * SIDE : (r + 1) * SIDE, c * SIDE : (c + 1) * SIDE]
        patches.add((r, c), classes[spot], known[spot])
    expected = [ndimage.label(known & (classes == index))[1] for index in range(3)]
    assert patches.counts(3).tolist() == expected


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000), st.floats(0.3, 1))
def test_patches_are_those_of_the_whole(rows, cols, seed, density) -> None:
    rng = np.random.default_rng(seed)
    shape = (rows * SIDE, cols * SIDE)
    _counted(rng.integers(0, 3, shape).astype(np.uint8), rng.random(shape) < density, seed)


def test_the_law_turns_red_when_seams_are_not_joined(monkeypatch) -> None:
    """Mutation: patches end at their chip's border."""
    monkeypatch.setattr(Patches, "_join", lambda *_: None)
    with pytest.raises(AssertionError):
        _counted(np.zeros((SIDE, 2 * SIDE), np.uint8), np.ones((SIDE, 2 * SIDE), bool), 0)
