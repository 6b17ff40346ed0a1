"""Pixels on their way through geoseg; every array carries its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window


@dataclass(frozen=True)
class Chip:
    """What the network sees: stored integers, not yet reflectance.

    Read-only by convention.
    """

    data: NDArray[Any]
    """DN (band, row, col) in the source's own type; mirrored beyond the raster's edge."""
    present: NDArray[np.bool_]
    """(1 or band, row, col). True = `data` holds a measurement here, the pixel's own or a mirrored one;
    False enters the network as 0 after normalization (law 9)."""
    valid: NDArray[np.bool_]
    """(row, col). True = usable pixel of the raster: inside its edge, present, within the AOI."""
    window: Window
    """Where the chip lies on the network's grid."""
    masked: NDArray[np.uint8] | None = None
    """(row, col) why a pixel of the raster that holds data counts as invalid: code of `geoseg.quality.REASONS`, 0 for
    none. None: nothing is masked anywhere."""

    def __post_init__(self) -> None:
        shape = self.window.shape
        if self.masked is not None and self.masked.shape != shape:
            raise ValueError(f"chip mask {self.masked.shape} does not fit its window {shape}.")
        if self.data.ndim != 3 or self.data.shape[1:] != shape:
            raise ValueError(f"chip data {self.data.shape} does not fit its window {shape}.")
        if self.valid.shape != shape:
            raise ValueError(f"chip validity {self.valid.shape} does not fit its window {shape}.")
        if self.present.shape not in {(1, *shape), self.data.shape}:
            raise ValueError(f"chip presence {self.present.shape} is neither (1, row, col) nor that of its data.")


@dataclass(frozen=True)
class ClassMap:
    """Class indices of one tile core (or of a whole small raster)."""

    index: NDArray[Any]
    """(row, col) class index; the scheme's `no_index` where invalid."""
    window: Window
    """Where it lies on the output grid."""
    scores: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """Layers beside it, by the names of `settings.SCORE_LAYERS`: (row, col), or (class, row, col) for probabilities."""

    def __post_init__(self) -> None:
        for layer in (self.index, *self.scores.values()):
            if layer.shape[-2:] != self.window.shape:
                raise ValueError(f"class map {layer.shape} does not fit its window {self.window.shape}.")
