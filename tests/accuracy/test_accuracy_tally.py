"""The law of comparisons: how maps are cut into parts changes no figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from geoseg.accuracy.tally import MapTally, Part
from geoseg.grid import Window

N = 3
LAYERS = np.array([0, 1, -1, -2, -2, -2])


@st.composite
def comparisons(draw) -> dict[str, Any]:
    height, width = draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))

    def array(values: int, *layers: int) -> np.ndarray:
        return draw(npst.arrays(np.uint8, (*layers, height, width), elements=st.integers(0, values)))

    return {
        "maps": (array(N + 2), array(N)),
        "scores": array(255),
        "probabilities": array(255, 2),
        "frame": Window(draw(st.integers(0, 9)), draw(st.integers(0, 9)), width, height),
        "distance": draw(st.integers(0, 4)),
        "picture": (draw(st.integers(1, height)), draw(st.integers(1, width))),
    }


def tallied(given_: dict[str, Any], size: int, *, halo: int | None = None, seed: int = 0) -> MapTally:
    frame, distance = given_["frame"], given_["distance"]
    tally = MapTally(N, frame, given_["picture"], distance, LAYERS)
    cores = list(frame.split(size))
    np.random.default_rng(seed).shuffle(cores)
    for core in cores:
        around = core.pad(distance if halo is None else halo).intersection(frame)
        rows, cols = around.relative_to(frame).slices
        inner = core.relative_to(frame).slices
        maps = (labels[rows, cols] for labels in given_["maps"])
        tally.add(Part(core, around, *maps, given_["scores"][inner], given_["probabilities"][:, *inner]))
    return tally


def assert_equal(one: MapTally, other: MapTally) -> None:
    for name in ("pairs", "boundary", "levels", "squares", "small_reference", "small_predicted"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)
    assert one.counted == other.counted


@given(comparisons(), st.integers(1, 31))
def test_parts_change_no_figure(given_, size) -> None:
    assert_equal(tallied(given_, size), tallied(given_, 1000))


def test_mutation_a_halo_one_too_small_turns_it_red() -> None:
    """Named mutation: parts see one pixel less around them than the boundary's distance."""
    labels = np.zeros((8, 8), np.uint8)
    labels[:, 5:] = 1
    given_ = {
        "maps": (labels, labels),
        "scores": labels,
        "probabilities": np.stack([labels, labels]),
        "frame": Window(0, 0, 8, 8),
        "distance": 2,
        "picture": (8, 8),
    }
    assert_equal(tallied(given_, 4), tallied(given_, 8))
    with pytest.raises(AssertionError, match="boundary"):
        assert_equal(tallied(given_, 4, halo=1), tallied(given_, 8))


def test_the_picture_shows_middles_and_the_window_what_counts() -> None:
    labels = np.full((9, 9), N, np.uint8)
    labels[2:5, 3:7] = 1
    labels[4, 4] = 2
    tally = MapTally(N, Window(10, 20, 9, 9), (3, 3))
    tally.add(Part(tally.frame, tally.frame, labels, labels))
    assert tally.counted == Window(13, 22, 4, 3)
    np.testing.assert_array_equal(tally.small_reference, labels[1::3, 1::3])
    assert (tally.small_reference == 2).sum() == 1


def test_what_does_not_count_is_told_apart() -> None:
    reference = np.array([[0, 0, N, N + 1, N + 2]], np.uint8)
    predicted = np.array([[0, N, 1, 1, 1]], np.uint8)
    tally = MapTally(N, Window(0, 0, 5, 1), (1, 5))
    tally.add(Part(tally.frame, tally.frame, reference, predicted))
    assert tally.matrix.sum() == 1
    assert tally.unmapped == 1
    assert [tally.uncounted(reason) for reason in range(3)] == [1, 1, 1]


def test_parts_are_checked_at_birth() -> None:
    labels = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="is not inside"):
        Part(Window(0, 0, 3, 2), Window(0, 0, 2, 2), labels, labels)
    with pytest.raises(ValueError, match="do not fit"):
        Part(Window(0, 0, 2, 2), Window(0, 0, 2, 2), labels, labels[:1])
