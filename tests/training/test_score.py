from __future__ import annotations

import numpy as np
import pytest

from geoseg.classes import ClassScheme, LandClass
from geoseg.model.spec import Band
from geoseg.training.chips import IGNORE, ChipSet
from geoseg.training.score import confusion, figures, fit_temperature, predict

SCHEME = ClassScheme(tuple(LandClass(i, name, (i, 0, 0)) for i, name in enumerate(("a", "b", "c"))))


def _logits(index: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.eye(3, dtype=np.float32)[index], -1, 1)


def test_confusion_counts_valid_labeled_pixels() -> None:
    truth = np.array([[[0, 0, 1, IGNORE, 1]]], np.uint8)
    told = np.array([[[0, 1, 1, 2, 0]]])
    valid = np.array([[[True, True, True, True, False]]])
    np.testing.assert_array_equal(confusion(_logits(told), truth, valid), [[1, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_figures_by_hand() -> None:
    result = figures(np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]), SCHEME)
    assert result["overall_accuracy"] == 0.75
    a, b, c = result["classes"].values()
    assert (a["iou"], a["users_accuracy"], a["producers_accuracy"]) == (0.6667, 0.8571, 0.75)
    assert (b["iou"], b["f1"], b["pixels"]) == (0.5, 0.6667, 4)
    assert (c["iou"], c["f1"], c["pixels"]) == (None, None, 0)
    assert result["mean_iou"] == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-4)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_temperature_is_recovered(true_temperature: float) -> None:
    """Labels drawn from softmax(logits) make T the factor by which the logits are then scaled."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (4, 3, 100, 100))
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.random((4, 1, 100, 100)) > odds.cumsum(1)[:, :2]).sum(1).astype(np.uint8)
    labels[:, :5] = IGNORE
    found = fit_temperature((logits * true_temperature).astype(np.float32), labels)
    assert found == pytest.approx(true_temperature, rel=0.05)


def test_missing_bands_and_invalid_pixels_enter_as_zero() -> None:
    seen = []

    def forward(pixels: np.ndarray) -> np.ndarray:
        seen.append(pixels.copy())
        return pixels

    valid = np.ones((1, 2, 2), bool)
    valid[0, 0, 1] = False
    chips = ChipSet(np.full((1, 2, 2, 2), 3, np.float32), valid, np.zeros((1, 2, 2), np.uint8), ("val",), ("p",))
    bands = (Band(name="red", mean=1, std=2), Band(name="swir16", mean=1, std=2, optional=True))
    predict(forward, chips, bands)
    predict(forward, chips, bands, without=frozenset({"swir16"}))
    np.testing.assert_array_equal(seen[0][0], [[[1, 0], [1, 1]]] * 2)
    np.testing.assert_array_equal(seen[1][0], [[[1, 0], [1, 1]], [[0, 0], [0, 0]]])


def test_no_figure_is_given_of_a_class_that_is_not_assessable() -> None:
    matrix = np.array([[8, 2, 0], [1, 5, 4], [0, 0, 10]])
    all_of_it = figures(matrix, SCHEME)
    without = figures(matrix, SCHEME, {"b": "only 2 separate labels"})
    row = without["classes"]["b"]
    assert (row["pixels"], row["not_assessable"]) == (10, "only 2 separate labels")
    assert {row[name] for name in ("iou", "f1", "users_accuracy", "producers_accuracy")} == {None}
    assert without["classes"]["a"] == all_of_it["classes"]["a"]
    assert without["mean_iou"] == pytest.approx((8 / 11 + 10 / 14) / 2, abs=1e-4)
    assert without["overall_accuracy"] == all_of_it["overall_accuracy"]
