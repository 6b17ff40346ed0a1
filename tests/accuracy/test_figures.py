"""Confusion counts and figures: by hand, and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics import functional as metrics

from geoseg.accuracy import figures as figures_module
from geoseg.accuracy.confusion import CONTRADICTORY, NONE, OUTSIDE, REASONS, count_pairs, label_dtype
from geoseg.accuracy.figures import RATIOS, figures, mean_of
from geoseg.errors import InputError


def labels(rows: list[list[int]], n: int) -> np.ndarray:
    return np.array(rows, label_dtype(n))


def test_pairs_by_hand() -> None:
    n = 2
    reference = labels([[0, 0, 1], [n + NONE, n + CONTRADICTORY, n + OUTSIDE]], n)
    predicted = labels([[0, 1, 1], [0, 1, n + NONE]], n)
    pairs = count_pairs(reference, predicted, n)
    np.testing.assert_array_equal(pairs[:n, :n], [[1, 1], [0, 1]])
    np.testing.assert_array_equal(pairs[n:, : n + 1], [[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert pairs.sum() == reference.size
    assert pairs.shape == (n + REASONS, n + REASONS)


def test_pairs_of_any_size_and_layout() -> None:
    rng = np.random.default_rng(3)
    for n in (3, 253, 254, 700):
        whole = rng.integers(0, n + REASONS, (2, 61, 83)).astype(label_dtype(n))
        reference, predicted = whole[:, ::2, 1:]  # not contiguous
        expected = np.zeros((n + REASONS, n + REASONS), np.int64)
        np.add.at(expected, (reference, predicted), 1)
        np.testing.assert_array_equal(count_pairs(reference, predicted, n), expected)


def test_labels_take_the_smallest_type() -> None:
    assert [label_dtype(n).name for n in (1, 253, 254, 1000)] == ["uint8", "uint8", "uint16", "uint16"]
    with pytest.raises(InputError, match=r"1001 classes are too many .*--legend"):
        label_dtype(1001)
    with pytest.raises(ValueError, match="cannot be compared"):
        count_pairs(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


def test_figures_by_hand() -> None:
    """Cohen's own kind of example: 14 of 20 agree, 10 would by chance."""
    found = figures(np.array([[8, 2, 0], [4, 6, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert (found["pixels"], found["overall_accuracy"]) == (20, 0.7)
    assert found["kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert found["classes"]["a"] == {
        "pixels": 10,
        "map_pixels": 12,
        "iou": 8 / 14,
        "f1": 16 / 22,
        "users_accuracy": 8 / 12,
        "producers_accuracy": 0.8,
    }
    assert found["classes"]["c"] == {"pixels": 0, "map_pixels": 0, **dict.fromkeys(RATIOS)}
    assert found["mean_iou"] == pytest.approx((8 / 14 + 6 / 12) / 2)
    assert found["weighted_f1"] == pytest.approx((16 / 22 + 12 / 18) / 2)


def test_a_ratio_without_pixels_is_none_never_zero() -> None:
    nothing = figures(np.zeros((2, 2), np.int64), ("a", "b"))
    assert {key: value for key, value in nothing.items() if key != "classes"} == {
        "pixels": 0,
        "overall_accuracy": None,
        "kappa": None,
        **{f"{kind}_{key}": None for key in RATIOS for kind in ("mean", "weighted")},
    }
    one_class = figures(np.array([[5, 0], [0, 0]]), ("a", "b"))
    assert one_class["kappa"] is None  # all chance: 0 / 0
    missed = figures(np.array([[0, 5], [0, 0]]), ("a", "b"))["classes"]
    assert (missed["a"]["users_accuracy"], missed["a"]["producers_accuracy"]) == (None, 0)
    assert (missed["b"]["users_accuracy"], missed["b"]["producers_accuracy"]) == (0, None)
    assert mean_of([None, 1.0, 0.0]) == 0.5
    assert mean_of([None]) is None


maps = st.integers(2, 6).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), min_size=n, max_size=200).map(
            lambda pairs: np.array(pairs + [(i, i) for i in range(n)])  # every class occurs, as torchmetrics wants it
        ),
    )
)


def agrees_with_torchmetrics(n: int, pairs: np.ndarray) -> None:
    true, told = pairs[:, 0].astype(np.uint8)[None], pairs[:, 1].astype(np.uint8)[None]
    matrix = count_pairs(true, told, n)[:n, :n]
    found = figures(matrix, [str(i) for i in range(n)])
    target, preds = torch.from_numpy(pairs[:, 0]), torch.from_numpy(pairs[:, 1])
    options = {"task": "multiclass", "num_classes": n}
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(preds, target, **options))
    for key, function in (
        ("iou", metrics.jaccard_index),
        ("f1", metrics.f1_score),
        ("users_accuracy", metrics.precision),
        ("producers_accuracy", metrics.recall),
    ):
        by_class = [row[key] for row in found["classes"].values()]
        np.testing.assert_allclose(by_class, function(preds, target, average="none", **options), atol=1e-6)
        for kind, average in (("mean", "macro"), ("weighted", "weighted")):
            np.testing.assert_allclose(
                found[f"{kind}_{key}"], function(preds, target, average=average, **options), atol=1e-6
            )
    np.testing.assert_allclose(
        found["overall_accuracy"], metrics.accuracy(preds, target, average="micro", **options), atol=1e-6
    )
    np.testing.assert_allclose(found["kappa"], metrics.cohen_kappa(preds, target, **options), atol=1e-5)


@given(maps)
def test_figures_are_those_of_torchmetrics(drawn) -> None:
    agrees_with_torchmetrics(*drawn)


def test_mutation_users_for_producers_accuracy_turns_it_red(monkeypatch) -> None:
    """Named mutation: rows and columns of the matrix are taken for each other."""
    original = figures_module._of_class
    monkeypatch.setattr(figures_module, "_of_class", lambda hits, true, told: original(hits, told, true))
    with pytest.raises(AssertionError):
        agrees_with_torchmetrics(2, np.array([[0, 0], [0, 1], [1, 1]]))
