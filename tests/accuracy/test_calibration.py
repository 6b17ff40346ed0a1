"""Expected calibration error against torchmetrics, Brier's score against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from geoseg.accuracy.calibration import BINS, Reliability, brier, count_levels, squared_errors

N = 4


def drawn(seed: int, size: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference, map, stored probabilities (class, 1, pixel) of a model that is too sure of itself."""
    rng = np.random.default_rng(seed)
    odds = rng.dirichlet([0.4] * N, size)
    reference = (rng.random((size, 1)) > odds.cumsum(1)[:, :-1]).sum(1).astype(np.uint8)
    sharp = odds**2 / (odds**2).sum(1, keepdims=True)
    stored = np.clip(np.rint(255 * sharp.T), 1, 255).astype(np.uint8)[:, None]
    return reference[None], stored.argmax(0).astype(np.uint8), stored


def test_by_hand() -> None:
    """Two pixels of level 255, one right; one right of level 51 = 0.2, the upper end of the third bin."""
    reference, predicted = np.array([[0, 1, 1, 2, 3]], np.uint8), np.array([[0, 0, 1, 2, 3]], np.uint8)
    scores = np.array([[255, 255, 51, 0, 255]], np.uint8)
    found = Reliability(count_levels(reference, predicted, scores, 3))  # class 3 does not count, nor does score 0
    assert found.pixels == 3
    filled = {i: b for i, b in enumerate(found.bins) if b.pixels}
    assert set(filled) == {2, BINS - 1}
    assert (filled[2].confidence, filled[2].accuracy) == (0.2, 1.0)
    assert (filled[14].confidence, filled[14].accuracy) == (1.0, 0.5)
    assert found.expected_error == pytest.approx((1 * 0.8 + 2 * 0.5) / 3)


@pytest.mark.parametrize("seed", range(5))
def test_equal_to_torchmetrics(seed: int) -> None:
    reference, predicted, stored = drawn(seed)
    scores = stored.max(axis=0)
    # torchmetrics puts the ends of bins into the next one: stay away from them.
    scores = np.where(scores % 17 == 0, scores - 1, scores).astype(np.uint8)
    found = Reliability(count_levels(reference, predicted, scores, N)).expected_error
    shares = np.full((scores.size, N), 0.0)
    shares[np.arange(scores.size), predicted[0]] = scores[0] / 255
    theirs = multiclass_calibration_error(
        torch.from_numpy(shares), torch.from_numpy(reference[0].astype(np.int64)), N, n_bins=BINS, norm="l1"
    )
    assert found == pytest.approx(float(theirs), abs=1e-6)
    assert found > 0.05  # too sure, and seen to be


@pytest.mark.parametrize("seed", range(3))
def test_brier_by_its_definition(seed: int) -> None:
    reference, _, stored = drawn(seed, 500)
    truth = np.eye(N)[reference[0]].T
    expected = float(((stored[:, 0] / 255 - truth) ** 2).sum(axis=0).mean())
    layers = np.array([*range(N), -2, -2, -2])
    assert brier(squared_errors(reference, stored, layers)) == pytest.approx(expected, rel=1e-12)


def test_brier_of_classes_that_the_model_does_not_know() -> None:
    """Layers in another order; a class without a layer was given probability 0; no class, or no score, no count."""
    stored = np.array([[[255, 1, 255, 0]], [[1, 255, 1, 1]]], np.uint8)
    reference = np.array([[1, 2, 3, 1]], np.uint8)
    sums = squared_errors(reference, stored, np.array([1, 0, -1, -2, -2, -2]))
    # pixel 0: label 1 is layer 0, sure and right but for the 1/255; pixel 1: label 2 has no layer.
    np.testing.assert_array_equal(sums, [1 + (1 + 255**2 + 255**2), 2])
    assert brier(np.zeros(2, np.int64)) is None


def test_nothing_scored_is_no_figure() -> None:
    empty = Reliability(np.zeros((2, 256), np.int64))
    assert empty.to_json()["ece"] is None
    assert all(b["confidence"] is None and b["accuracy"] is None for b in empty.to_json()["bins"])
    with pytest.raises(ValueError, match="counts are"):
        Reliability(np.zeros((2, 255), np.int64))
