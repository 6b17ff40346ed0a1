"""Components of one band against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage  # type: ignore[import-untyped]
from engine_kit import NODATA, SHAPES, class_maps, text_codes
from hypothesis import given
from numpy.typing import NDArray
from slow_arcs import components

from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Runs, label_band, label_runs, wanted_pixels


def expected(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    return components(np.where(codes == NODATA, NOTHING, codes.astype(np.int64)))


@given(class_maps())
def test_labels_are_the_components_by_first_pixel(codes: NDArray[np.uint8]) -> None:
    labels, n = label_band(codes, wanted_pixels(codes, NODATA))
    np.testing.assert_array_equal(labels, expected(codes))
    assert n == labels.max() + 1
    assert n == sum(scipy.ndimage.label(codes == code)[1] for code in range(3))


@pytest.mark.parametrize("name", SHAPES)
def test_special_shapes(name: str) -> None:
    codes = text_codes(SHAPES[name])
    np.testing.assert_array_equal(label_band(codes, wanted_pixels(codes, NODATA))[0], expected(codes))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32"])
def test_any_integer_codes_and_any_memory_order(dtype: str) -> None:
    codes = np.random.default_rng(1).integers(0, 3, (40, 50)).astype(dtype)
    codes[codes == 2] = np.iinfo(dtype).max
    wanted = wanted_pixels(codes.T, 0)
    labels, n = label_band(codes.T, wanted)
    turned = np.where(codes.T == 0, NODATA, 1 + (codes.T > 1)).astype(np.uint8)
    np.testing.assert_array_equal(labels, expected(turned))
    assert n > 100


def test_what_is_wanted() -> None:
    codes = np.array([[0, 1, 2, 3]], np.uint8)
    assert wanted_pixels(codes, None).tolist() == [[True, True, True, True]]
    assert wanted_pixels(codes, 300).tolist() == [[True, True, True, True]]
    assert wanted_pixels(codes, 0, [2]).tolist() == [[False, True, False, True]]


def test_skipped_classes_part_what_they_part() -> None:
    codes = text_codes("11211 11211")
    labels, n = label_band(codes, wanted_pixels(codes, None, [2]))
    assert n == 2
    assert labels.tolist() == [[0, 0, -1, 1, 1]] * 2


def test_painting_into_a_view_leaves_the_frame_alone() -> None:
    codes = text_codes("12 11")
    out = np.full((4, 4), 7, np.int32)
    label_runs(codes, wanted_pixels(codes, NODATA)).paint(np.array([5, 6], np.int32), out[1:-1, 1:-1])
    assert out.tolist() == [[7, 7, 7, 7], [7, 5, 6, 7], [7, 5, 5, 7], [7, 7, 7, 7]]


def test_bands_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"codes \(2, 2\) and wanted \(2, 3\)"):
        label_runs(np.zeros((2, 2), np.uint8), np.ones((2, 3), bool))
    with pytest.raises(ValueError, match=r"codes \(0, 2\)"):
        label_runs(np.zeros((0, 2), np.uint8), np.ones((0, 2), bool))
    with pytest.raises(ValueError, match="1 runs do not cover a band of 2 × 2"):
        Runs((2, 2), np.array([0, 3], np.int32), np.zeros(1, np.int32), 1)
