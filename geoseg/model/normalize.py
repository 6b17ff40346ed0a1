"""Normalization of law 10 in NumPy: the reference for statistics and for tests.

The predictor executes the same data in torch, inside the network's graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.model.spec import Band


def reflectance(data: NDArray[Any], scale: Sequence[float], offset: Sequence[float]) -> NDArray[np.float32]:
    """DN (band, row, col) → DN·scale + offset per band, float32, computed as (DN + offset/scale)·scale.

    Whole numbers stay whole until the product: Sentinel-2's offset of −1000 DN gives to the last bit what the same
    ground stored without it gives.
    """
    shape = (-1,) + (1,) * (data.ndim - 1)
    gain = np.asarray(scale, np.float32).reshape(shape)
    values = data.astype(np.float32)  # ours, so that the rest is done in place
    values += shifts(scale, offset).reshape(shape)
    values *= gain
    return values


def shifts(scale: Sequence[float], offset: Sequence[float]) -> NDArray[np.float32]:
    """(band,) what is added to DN before it is multiplied by the scale."""
    return (np.asarray(offset, np.float64) / np.asarray(scale, np.float64)).astype(np.float32)


def normalize(values: NDArray[np.float32], bands: Sequence[Band]) -> NDArray[np.float32]:
    """Reflectance (band, row, col) → network input, float32; see `geoseg.model.spec.Band`."""
    out = np.empty_like(values, dtype=np.float32)
    for plane, value, band in zip(out, values, bands, strict=True):
        x = value * np.float32(band.scale) + np.float32(band.offset)
        mean, std = np.float32(band.mean), np.float32(band.std)
        if band.curve == "linear":
            plane[...] = (x - mean) / std
        else:
            # float64: the logarithms of two libraries differ in a float32's last bit, and −mean magnifies that.
            logit = (np.log1p(np.maximum(x, 0).astype(np.float64) * 0.005) - mean) / std * 5 - 1
            with np.errstate(over="ignore"):  # exp → inf: the curve's end, 0
                plane[...] = 1 / (1 + np.exp(-logit))
    return out
