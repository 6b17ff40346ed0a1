"""Accuracy figures of a confusion matrix.

Rows are the reference, columns the map. User's accuracy is what remote sensing calls precision, producer's accuracy
recall (Congalton 1991, doi 10.1016/0034-4257(91)90048-B); kappa is Cohen's (1960, doi 10.1177/001316446002000104).
A ratio without pixels is None, never 0, and enters no mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RATIOS = ("iou", "f1", "users_accuracy", "producers_accuracy")
"""Figures of a single class."""


def figures(matrix: NDArray[np.int64], names: Sequence[str]) -> dict[str, Any]:
    """All figures of a confusion matrix.

    Args:
        matrix: (reference class, class of the map) counts.
        names: of the classes.

    Returns:
        `pixels`, `overall_accuracy`, `kappa`; for each of `RATIOS` `mean_…` over classes and `weighted_…` by reference
        pixels; `classes`: name → `pixels` (reference), `map_pixels` and `RATIOS`.
    """
    hits = np.diag(matrix).tolist()
    true, told = matrix.sum(axis=1).tolist(), matrix.sum(axis=0).tolist()
    rows = {name: _of_class(hits[i], true[i], told[i]) for i, name in enumerate(names)}
    out: dict[str, Any] = {
        "pixels": sum(true),
        "overall_accuracy": ratio(sum(hits), sum(true)),
        "kappa": _kappa(sum(hits), true, told),
    }
    for key in RATIOS:
        known = [(row[key], row["pixels"]) for row in rows.values() if row[key] is not None]
        out[f"mean_{key}"] = ratio(sum(value for value, _ in known), len(known))
        out[f"weighted_{key}"] = ratio(sum(value * pixels for value, pixels in known), sum(n for _, n in known))
    return out | {"classes": rows}


def ratio(part: float, whole: float) -> float | None:
    """The share, or None of nothing."""
    return part / whole if whole else None


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of those that are known."""
    known = [value for value in values if value is not None]
    return ratio(sum(known), len(known))


def _of_class(hits: int, true: int, told: int) -> dict[str, Any]:
    return {
        "pixels": true,
        "map_pixels": told,
        "iou": ratio(hits, true + told - hits),
        "f1": ratio(2 * hits, true + told),
        "users_accuracy": ratio(hits, told),
        "producers_accuracy": ratio(hits, true),
    }


def _kappa(hits: int, true: list[int], told: list[int]) -> float | None:
    """(observed − chance) / (1 − chance), in whole numbers up to the last division."""
    total = sum(true)
    chance = sum(a * b for a, b in zip(true, told, strict=True))
    return ratio(total * hits - chance, total * total - chance)
