"""Boundary IoU against erosions by SciPy, class by class as its authors do it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from geoseg.accuracy import boundary
from geoseg.accuracy.boundary import boundary_counts, boundary_ious, near_outline
from geoseg.grid import Window

N = 3


def ious_of(reference: np.ndarray, predicted: np.ndarray, distance: int) -> list[float | None]:
    window = Window(0, 0, reference.shape[1], reference.shape[0])
    return boundary_ious(boundary_counts(reference, predicted, window, window, N, distance))


def eroded_ious(reference: np.ndarray, predicted: np.ndarray, distance: int) -> list[float | None]:
    """The definition: mask minus its erosion, d times by 3 × 3; what does not count draws no outline."""
    counted = (reference < N) & (predicted < N)
    out = []
    for label in range(N):
        near = []
        for labels in (reference, predicted):
            mask = counted & (labels == label)
            inner = ndimage.binary_erosion(mask | ~counted, np.ones((3, 3)), distance, border_value=1)
            near.append(mask & ~inner)
        union = (near[0] | near[1]).sum()
        out.append((near[0] & near[1]).sum() / union if union else None)
    return out


def test_by_hand() -> None:
    """A square of 4 × 4 moved by a column: rims of 12 pixels each, common are three of the first and last rows."""
    reference, predicted = np.zeros((2, 8, 9), np.uint8)
    reference[2:6, 2:6] = 1
    predicted[2:6, 3:7] = 1
    assert ious_of(reference, predicted, 1)[1] == 6 / (12 + 12 - 6)
    assert ious_of(reference, predicted, 1)[2] is None


@st.composite
def pairs(draw) -> tuple[np.ndarray, np.ndarray, int]:
    shape = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    labels = st.sampled_from([0, 0, 0, 1, 1, 2, N])
    maps = [draw(npst.arrays(np.uint8, shape, elements=labels, fill=st.just(0))) for _ in range(2)]
    return *maps, draw(st.integers(1, 5))


@given(pairs())
def test_equal_to_the_definition(drawn) -> None:
    reference, predicted, distance = drawn
    assert ious_of(reference, predicted, distance) == eroded_ious(reference, predicted, distance)


def test_large_maps_are_worked_on_in_blocks(monkeypatch) -> None:
    rng = np.random.default_rng(5)
    reference = np.kron(rng.integers(0, N + 1, (12, 15)), np.ones((11, 9), int)).astype(np.uint16)
    predicted = np.roll(reference, (2, 3), (0, 1))
    expected = eroded_ious(reference, predicted, 4)
    for size in (7, 64, 512):
        monkeypatch.setattr(boundary, "_BLOCK", size)
        assert ious_of(reference, predicted, 4) == expected


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 7, 8, 40])
def test_the_reach_is_exact(distance: int) -> None:
    labels = np.zeros((1, 101), np.uint8)
    labels[0, 50:] = 1
    window = Window(0, 0, 101, 1)
    near = near_outline(labels, np.ones_like(labels, bool), window, window, distance)
    np.testing.assert_array_equal(np.flatnonzero(near), np.arange(50 - distance, 50 + distance))


def test_nodata_and_the_frame_draw_no_outline() -> None:
    labels = np.zeros((5, 5), np.uint8)
    labels[2, 2] = N
    assert ious_of(labels, labels, 2) == [None] * N
