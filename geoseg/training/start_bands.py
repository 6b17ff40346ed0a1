"""From the bands that weights were trained on to those of a recipe: which weights, and which normalization.

A band of the same name keeps its weights; a band without one borrows those of its nearest relative by wavelength;
bands that use one set of weights share it in equal parts. Weights that nobody uses go to the nearest relative, too. A
stranger without relatives stands in for the bands that still nobody uses, and where there are none, for the mean of
all. So no weight is lost, except that of bands that nobody replaces, and an input that is the same in all bands passes
the layer as before:

    start      blue  green  red  nir                    red  green  blue        red  rededge  nir
    wanted     blue  green  red  nir  nir_narrow        thermal                 red  nir
    weights    blue  green  red  ½·nir  ½·nir           red + green + blue      red  rededge + nir

Better than the nearest relative is an estimate of a band that is missing from all that are there, where their
normalization is known (`geoseg.training.spectra`); then its weights go to those in the estimate's shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from geoseg.model.spec import Band
from geoseg.training.spectra import Estimate

# Central wavelengths in nm of Sentinel-2 and Landsat bands; only bands of one family see the same things.
FAMILIES = (
    {"coastal": 443, "blue": 490},
    {"green_i": 531, "green": 560, "yellow": 610},
    {"rededge071": 705, "rededge": 720, "rededge075": 740, "rededge078": 783}
    | {"nir": 842, "nir_narrow": 865, "nir08": 866, "nir09": 945},
    {"swir16": 1610, "swir22": 2200},
)


@dataclass(frozen=True)
class BandMix:
    """How the weights of an input layer are made of others."""

    matrix: NDArray[np.float64]
    """(wanted band, start band): shares."""
    said: tuple[str, ...]
    """For people: each band that is not simply the start's of its name."""
    constants: NDArray[np.float64]
    """(start band,): what the input of a band that is missing is estimated to be where all others are 0."""


@dataclass(frozen=True)
class Normalization:
    """Bands as a training uses them."""

    bands: tuple[Band, ...]
    kept: tuple[str, ...]
    """Those that are normalized as the start's."""
    warnings: tuple[str, ...]


def mix_bands(start: Sequence[str], wanted: Sequence[str], estimates: Mapping[str, Estimate] | None = None) -> BandMix:
    """Shares of the start's bands in each wanted one; see the module.

    Args:
        start: band names, distinct.
        wanted: band names, distinct.
        estimates: of bands of the start that are not wanted, from all wanted ones.
    """
    estimates = estimates or {}
    sources = [_source(name, start) for name in wanted]
    used = [source for source in sources if source is not None]
    matrix = np.zeros((len(wanted), len(start)))
    for row, source in enumerate(sources):
        if source is not None:
            matrix[row, source] = 1 / used.count(source)
    for column in sorted(set(range(len(start))) - set(used)):
        heir = _source(start[column], wanted)
        if start[column] in estimates:
            matrix[:, column] = estimates[start[column]].shares
        elif heir is not None and sources[heir] is not None:
            matrix[heir, column] = 1
    strangers = [row for row, source in enumerate(sources) if source is None]
    lost = [column for column in range(len(start)) if not matrix[:, column].any()]
    if strangers and lost:
        matrix[np.ix_(strangers, lost)] = 1 / len(strangers)
    elif strangers:
        matrix[strangers] = 1 / len(start)
        matrix *= len(start) / (len(start) + len(strangers))
    plain = matrix.copy()
    plain[:, [start.index(name) for name in estimates]] = 0
    rows = zip(wanted, plain, strict=True)
    said = [text for name, shares in rows if (text := _words(name, start, shares))]
    said += [f"{name} estimated (R² {found.r2:.3f})" for name, found in estimates.items()]
    constants = [estimates[name].constant if name in estimates else 0.0 for name in start]
    return BandMix(matrix, tuple(said), np.array(constants))


def keep_normalization(fresh: Sequence[Band], known: Mapping[str, Band]) -> Normalization:
    """Bands that the start knows enter as they did there; the others as large as those do on these data.

    What says how values become input belongs to the weights (law 10); the rest of a band is as the data are.

    Args:
        fresh: bands with the statistics of these data, `linear`.
        known: the start's bands by name.
    """
    pairs = [(band, known[band.name]) for band in fresh if band.name in known]
    steady = [(own, theirs) for own, theirs in pairs if theirs.curve == "linear"]
    level = fmean((b.mean * k.scale + k.offset - k.mean) / k.std for b, k in steady) if steady else 0.0
    size = fmean(b.std * k.scale / k.std for b, k in steady) if steady else 1.0
    bands = tuple(_like(band, known[band.name]) if band.name in known else _sized(band, level, size) for band in fresh)
    warnings = tuple(text for own, theirs in pairs if (text := _strange(own, theirs)))
    return Normalization(bands, tuple(own.name for own, _ in pairs), warnings)


def _source(name: str, start: Sequence[str]) -> int | None:
    """Number of the band among `start` that is this one, or nearest to it; None: it has no relative."""
    bare = name.partition("@")[0]  # red@2 of a model of two dates
    for same in (name, bare):
        if same in start:
            return start.index(same)
    for family in FAMILIES:
        relatives = [other for other in start if other in family]
        if bare in family and relatives:
            return start.index(min(relatives, key=lambda other: abs(family[other] - family[bare])))
    return None


def _words(name: str, start: Sequence[str], shares: NDArray[np.float64]) -> str:
    """What a band is made of; empty for the start's own."""
    parts = {other: float(share) for other, share in zip(start, shares, strict=True) if share}
    if parts == {name: 1.0}:
        return ""
    if len(parts) > 3:
        return f"{name} from all {len(parts)}"
    return f"{name} from " + " + ".join(other if part == 1 else f"{part:.2g}·{other}" for other, part in parts.items())


def _like(own: Band, theirs: Band) -> Band:
    offset = theirs.offset + own.offset * theirs.scale
    return replace(theirs, offset=offset, optional=own.optional, plausible=own.plausible, quantiles=own.quantiles)


def _sized(band: Band, level: float, size: float) -> Band:
    """The band normalized to a mean of `level` and a standard deviation of `size`."""
    std = band.std / size
    return replace(band, mean=round(band.mean - level * std, 6), std=round(std, 6))


def _strange(own: Band, theirs: Band) -> str | None:
    """A warning when the data are nothing like those that the start was trained on."""
    if own.quantiles is None or theirs.quantiles is None:
        return None
    low, _, high = theirs.quantiles
    if low - (high - low) <= own.quantiles[1] <= high + (high - low):
        return None
    return (
        f"band {own.name}: the median is {own.quantiles[1]:g}, the start was trained on {low:g}…{high:g}; "
        f"see that scale and offset are right, or say fit.restandardize: true."
    )
