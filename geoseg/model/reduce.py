"""From scores to what is kept of them, on the device: only bytes leave it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reduction:
    """What becomes of a chip's scores."""

    index_of: tuple[int, ...] | None = None
    """Model class → output class; the scores of an output class are the sum of what it takes. None: they are equal."""
    classes: int = 0
    """Number of output classes, with `index_of`."""
    layers: tuple[str, ...] = ()
    """Score layers to keep, names of `settings.SCORE_LAYERS`."""


def reduce(scores: Tensor, how: Reduction) -> dict[str, Tensor]:
    """Winning class (the first of equals) as "index", and the layers asked for, each 1…255 = round(255·value).

    To the last bit what `geoseg.legend.Merge.scores` and `geoseg.tiling.blend.classify` make of valid pixels.

    Args:
        scores: (class, row, col) float32, of the model's classes.
        how: see `Reduction`.

    Returns:
        "index" (row, col) uint8, or uint16 from 255 classes on; layers uint8 (row, col), probabilities
        (class, row, col).
    """
    if how.index_of is not None:
        scores = _merged(scores, how.index_of, how.classes)
    best, winner = scores.max(dim=0)
    kept = {"index": winner.to(torch.uint8 if len(scores) <= 254 else torch.uint16)}
    if "confidence" in how.layers:
        kept["confidence"] = _coded(best)
    if "ambiguity" in how.layers:
        kept["ambiguity"] = _coded(1 - _lead(scores))
    if "probabilities" in how.layers:
        kept["probabilities"] = _coded(scores)
    return kept


def _merged(scores: Tensor, index_of: tuple[int, ...], classes: int) -> Tensor:
    out = scores.new_zeros(classes, *scores.shape[1:])
    for layer, index in zip(scores, index_of, strict=True):
        out[index] += layer
    return out


def _lead(scores: Tensor) -> Tensor:
    best, second = scores[0], torch.zeros_like(scores[0])
    for layer in scores[1:]:
        second = torch.maximum(second, torch.minimum(best, layer))
        best = torch.maximum(best, layer)
    return best - second


def _coded(values: Tensor) -> Tensor:
    # torch.round takes the even neighbor of a half, as NumPy's rint does.
    return (values * 255).round().clamp(1, 255).to(torch.uint8)
