"""How good a network is on labeled chips: logits, confusion matrix, figures, temperature. No torch needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.accuracy.confusion import NONE, count_pairs, label_dtype
from geoseg.accuracy.figures import RATIOS, mean_of
from geoseg.accuracy.figures import figures as all_figures
from geoseg.classes import ClassScheme
from geoseg.model.normalize import normalize
from geoseg.model.spec import Band
from geoseg.training.chips import IGNORE, ChipSet

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Normalized input (chip, band, row, col) → logits (chip, class, row, col)."""


def network_input(
    image: NDArray[np.float32], present: NDArray[np.bool_], bands: tuple[Band, ...]
) -> NDArray[np.float32]:
    """Normalize reflectance (band, row, col); what is not present (same shape) becomes 0 (law 9)."""
    return np.where(present, normalize(image, bands), np.float32(0))


def predict(
    forward: Forward, chips: ChipSet, bands: tuple[Band, ...], *, without: frozenset[str] = frozenset()
) -> NDArray[np.float32]:
    """Logits (chip, class, row, col) of every chip, one at a time.

    Args:
        forward: the network.
        chips: images to predict.
        bands: the network's normalization.
        without: bands that are treated as missing.
    """
    has = np.array([band.name not in without for band in bands])[:, None, None]
    pairs = zip(chips.images, chips.valid, strict=True)
    return np.concatenate([forward(network_input(image, valid & has, bands)[None]) for image, valid in pairs])


def confusion(logits: NDArray[np.float32], labels: NDArray[np.uint8], valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts (true class, predicted class) over valid pixels with a label.

    Args:
        logits: (chip, class, row, col).
        labels: class index (chip, row, col), `IGNORE` where not counted.
        valid: (chip, row, col).
    """
    classes = logits.shape[1]
    true = np.where(valid & (labels != IGNORE), labels, classes + NONE).astype(label_dtype(classes))
    return count_pairs(true, logits.argmax(axis=1).astype(true.dtype), classes)[:classes, :classes]


def confusion_over(
    forward: Forward, chips: ChipSet, bands: tuple[Band, ...], *, without: frozenset[str] = frozenset()
) -> NDArray[np.int64]:
    """`confusion` of all chips, one chip's logits in memory at a time; arguments as of `predict`.

    Raises:
        ValueError: there is no chip.
    """
    if not len(chips):
        raise ValueError("no chip says how many classes there are.")
    has = np.array([band.name not in without for band in bands])[:, None, None]
    triples = zip(chips.images, chips.valid, chips.labels, strict=True)
    parts = [
        confusion(forward(network_input(image, valid & has, bands)[None]), label[None], valid[None])
        for image, valid, label in triples
    ]
    return np.asarray(np.sum(parts, axis=0), np.int64)


def figures(
    matrix: NDArray[np.int64], scheme: ClassScheme, not_assessable: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Overall accuracy, mean IoU, and per class pixels, IoU, F1, user's and producer's accuracy, to four digits.

    A ratio without pixels (a class that neither occurs nor is predicted) is None and not in the mean; so are all
    ratios of a class that is not assessable. Its pixels are real, and count in the overall accuracy and where other
    classes were told for them.

    Args:
        matrix: counts (true class, predicted class).
        scheme: names the classes.
        not_assessable: class name → why no figure of it means anything.
    """
    found, why = all_figures(matrix, scheme.names), not_assessable or {}
    rows: dict[str, dict[str, Any]] = {
        name: {"pixels": row["pixels"], **{key: None if name in why else row[key] for key in RATIOS}}
        for name, row in found["classes"].items()
    }
    return {
        "overall_accuracy": _rounded(found["overall_accuracy"]),
        "mean_iou": _rounded(mean_of([row["iou"] for row in rows.values()])),
        "classes": {
            name: {"pixels": row["pixels"], **{key: _rounded(row[key]) for key in RATIOS}}
            | ({"not_assessable": why[name]} if name in why else {})
            for name, row in rows.items()
        },
    }


def fit_temperature(
    logits: NDArray[np.float32], labels: NDArray[np.uint8], *, most: int = 200_000, seed: int = 0
) -> float:
    """The divisor of the logits under which their softmax is likeliest.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599), by golden-section search of the mean negative
    log-likelihood, which is convex in 1/T.

    Args:
        logits: (chip, class, row, col) of chips that were not trained on.
        labels: class index (chip, row, col); `IGNORE` is left out.
        most: pixels used; more are sampled.
        seed: of the sampling.
    """
    used = labels != IGNORE
    scores, truth = np.moveaxis(logits, 1, -1)[used].astype(np.float64), labels[used]
    if len(truth) > most:
        picked = np.random.default_rng(seed).choice(len(truth), most, replace=False)
        scores, truth = scores[picked], truth[picked]
    scores -= scores.max(axis=1, keepdims=True)
    hit = scores[np.arange(len(truth)), truth]

    def loss(inverse: float) -> float:
        return float(np.mean(np.log(np.exp(scores * inverse).sum(axis=1)) - hit * inverse))

    low, high, ratio = 0.05, 20.0, (math.sqrt(5) - 1) / 2
    while high - low > 1e-3:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return round(2 / (low + high), 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
