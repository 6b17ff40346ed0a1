"""Bands that a scene lacks, estimated from those that it has: typical spectra of land and water.

Weights of a start may want red edge where a sensor has none. Its values are nearly a mix of the bands beside it, and
the mix is found where it is needed, in the network's input (after normalization, whatever its curve), by least squares
over the spectra of `spectra.csv`:

    input of the missing band ≈ Σ share · input of a band that is there + constant

So the first layer can answer for the missing band itself: each band that is there gets `share` times its weights, and
the layer's bias `constant` times their sum.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from geoseg.model.normalize import normalize
from geoseg.model.spec import Band

LEAST_BANDS = 3
"""Bands that must be there; of fewer, an estimate is a guess."""
_ALIASES = {"nir_narrow": "nir08"}
_COUNT = "pixels"


@dataclass(frozen=True)
class Estimate:
    """One missing band in terms of others, all as the network sees them."""

    shares: NDArray[np.float64]
    """(given band,)."""
    constant: float
    r2: float
    """Share of the variance over the spectra that is explained; at most 1."""


def estimate(missing: Band, given: Sequence[Band], *, constant: bool = True) -> Estimate | None:
    """The best linear estimate of one band's input from others'; None: the spectra do not know enough of these bands.

    Args:
        missing: with its normalization.
        given: with theirs; those that the spectra do not know get the share 0.
        constant: False: without one, for layers that have no bias.
    """
    spectra, pixels = typical_spectra()
    known = [number for number, band in enumerate(given) if _column(band) in spectra]
    if _column(missing) not in spectra or len(known) < LEAST_BANDS:
        return None
    inputs = [_input(given[number], spectra) for number in known] + [np.ones(len(pixels))] * constant
    wanted, weight = _input(missing, spectra), np.sqrt(pixels / pixels.sum())
    terms = np.stack(inputs, axis=1)
    solved = np.linalg.lstsq(terms * weight[:, None], wanted * weight, rcond=None)[0]
    left = ((wanted - terms @ solved) * weight) ** 2
    spread = ((wanted - np.average(wanted, weights=pixels)) * weight) ** 2
    shares = np.zeros(len(given))
    shares[known] = solved[: len(known)]
    return Estimate(shares, float(solved[-1]) if constant else 0.0, float(1 - left.sum() / spread.sum()))


@cache
def typical_spectra() -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Band name → reflectance (spectrum,), and how many pixels each spectrum (spectrum,) stands for.

    Means of clusters of pixels (k-means) of two Sentinel-2 scenes: fields, woods, towns, marsh and sea on the Eastern
    Shore of Virginia (top of the atmosphere) and in Brandenburg; `tests/training/spectra_kit.py` makes the table.
    """
    text = resources.files("geoseg.training").joinpath("spectra.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    return columns, columns.pop(_COUNT)


def _column(band: Band) -> str:
    bare = band.name.partition("@")[0]  # red@2 of a model of two dates
    return _ALIASES.get(bare, bare)


def _input(band: Band, spectra: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """(spectrum,) what the network sees."""
    values = spectra[_column(band)].astype(np.float32)
    found: NDArray[np.float64] = normalize(values[None], [band])[0].astype(np.float64)
    return found
