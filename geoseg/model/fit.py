"""Does a scene fit a model? Asked before any work, answered with numbers and a remedy. Pure NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError, InputError
from geoseg.model.spec import Band, ModelSpec

FAR = 4.0
"""Pixel sizes beyond this many times the model's range are refused."""
SLACK = 0.05
"""Map projections stretch a nominal 10 m by a few per cent; that is no reason to resample."""
HOPELESS = 0.5
"""Share of values outside the plausible range from which on they cannot be what the model expects."""
SHIFT = 0.06
"""Reflectance by which the darkest 1 % of every band must be off before an offset is suspected."""
EVEN = 0.1
"""Largest spread of those differences for which one offset can be the cause."""
RATIO = 3.0
"""Factor by which every band's median must be off before a scale is suspected."""


@dataclass(frozen=True)
class BandSample:
    """Reflectance of one band, sampled over the scene's valid pixels."""

    name: str
    p1: float
    p50: float
    p99: float
    implausible: float
    """Share of values outside the model's plausible range."""


def choose_bands(spec: ModelSpec, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Bands of the scene that the model takes, in its order, and optional ones that the scene lacks.

    Raises:
        ConfigError: a band that the model needs is missing.
    """
    missing = [band.name for band in spec.bands if not band.optional and band.name not in names]
    if missing:
        wanted = ",".join(f"{band.name}=…" for band in spec.bands if not band.optional)
        dates = " Give one input a date, in the model's order, with --dates. Or say" if "@" in missing[0] else " Say"
        raise ConfigError(
            f"model {spec.name} needs band{'s' * (len(missing) > 1)} {', '.join(missing)}; the input has "
            f"{', '.join(names)}.{dates} which is which: --bands {wanted}"
        )
    absent = tuple(band.name for band in spec.bands if band.name not in names)
    return tuple(name for name in spec.band_names if name in names), absent


def network_gsd(spec: ModelSpec, gsd_m: float) -> float | None:
    """Pixel size, in metres, that the network must see; None when the scene's own is fine.

    Raises:
        InputError: the scene is far too fine or far too coarse.
    """
    low, high = spec.gsd_m
    if low * (1 - SLACK) <= gsd_m <= high * (1 + SLACK):
        return None
    if not low / FAR <= gsd_m <= high * FAR:
        raise InputError(
            f"pixels of {gsd_m:.3g} m are far from the {low:g}…{high:g} m that model {spec.name} was made for; "
            f"resample the input, or take another model (-m)."
        )
    return low if gsd_m < low else high


def sample(values: NDArray[np.float32], bands: Sequence[Band]) -> list[BandSample]:
    """Percentiles of reflectance (band, pixel), valid pixels only."""
    samples = []
    for plane, band in zip(values, bands, strict=True):
        p1, p50, p99 = (float(p) for p in np.percentile(plane, (1, 50, 99)))
        low, high = band.plausible
        implausible = float(np.mean((plane < low) | (plane > high)))
        samples.append(BandSample(band.name, p1, p50, p99, implausible))
    return samples


def check_values(spec: ModelSpec, samples: Sequence[BandSample]) -> list[str]:
    """Warnings about values that are not what the model was trained on, each with both numbers.

    Raises:
        InputError: the values cannot be what the model expects; the message says what would help.
    """
    known = {band.name: band for band in spec.bands}
    hopeless = [s for s in samples if s.implausible > HOPELESS]
    if hopeless:
        worst = max(hopeless, key=lambda s: abs(s.p50))
        low, high = known[worst.name].plausible
        raise InputError(
            f"band {worst.name} has values around {worst.p50:.4g}, model {spec.name} expects {spec.unit} "
            f"between {low:g} and {high:g}: {_scale_hint(spec, worst, samples)}"
        )
    pairs = [(s, known[s.name].quantiles) for s in samples]
    compared = [(s, q) for s, q in pairs if q is not None]
    return _compare(spec, compared)


def _scale_hint(spec: ModelSpec, worst: BandSample, samples: Sequence[BandSample]) -> str:
    if spec.unit == "dn":
        return "this model takes stored 8-bit numbers; check --scale and --offset."
    if abs(worst.p50) <= 2:
        return "check --scale and --offset."
    if all(s.p1 >= 0 and s.p99 <= 255 for s in samples):
        return (
            "these look like 8-bit numbers, not reflectance; get the product in reflectance (--scale 0.004, about "
            "1/255, is only a stopgap: expect a poor map)."
        )
    return (
        "a missing scale? Pass the product's own, for example --scale 0.0001 (Sentinel-2, HLS; offset -0.1 since "
        "baseline 04.00), --scale 0.0000275 --offset -0.2 (Landsat C2 L2), --scale 0.00002 --offset -0.1 (Landsat L1)."
    )


def _compare(spec: ModelSpec, compared: Sequence[tuple[BandSample, tuple[float, float, float]]]) -> list[str]:
    """Name a shift or a factor common to all bands; else the bands whose median was never seen in training."""
    several = len(compared) > 1
    shifts = np.array([s.p1 - q[0] for s, q in compared])
    if several and spec.unit == "reflectance" and (shifts.min() >= SHIFT or shifts.max() <= -SHIFT):
        return [_shifted(spec, compared, shifts)]
    ratios = np.array([s.p50 / q[1] for s, q in compared if q[1] > 0])
    if several and ratios.size and (ratios.min() >= RATIO or ratios.max() <= 1 / RATIO):
        first, quantiles = compared[0]
        message = (
            f"all bands about {float(np.median(ratios)):.2g} × what model {spec.name} was trained on: a wrong scale? "
            f"The median is {first.p50:.3f} in {first.name}, {quantiles[1]:.3f} in training"
        )
        return [message]
    return [
        f"band {s.name}: median {s.p50:.3f} lies outside what model {spec.name} was trained on "
        f"({q[0]:.3f}…{q[2]:.3f}); are these values {spec.unit}?"
        for s, q in compared
        if not q[0] <= s.p50 <= q[2]
    ]


def _shifted(
    spec: ModelSpec, compared: Sequence[tuple[BandSample, tuple[float, float, float]]], shifts: NDArray[np.float64]
) -> str:
    """Every band's darkest pixels are off to one side: by one offset, or because this is no reflectance at all."""
    if np.ptp(shifts) > EVEN:
        dark = ", ".join(f"{s.name} {s.p1:.3f} ({q[0]:.3f})" for s, q in compared)
        return (
            f"these values do not look like reflectance; expect a poor map. The darkest 1 % (in brackets where "
            f"model {spec.name} was trained): {dark}"
        )
    # Air only brightens, and least in the longest waves: the smallest difference is the offset's own.
    shift = float(shifts[np.abs(shifts).argmin()])
    why = "a missing offset?" if shift > 0 else "an offset applied twice?"
    first, quantiles = compared[0]
    return (
        f"all bands {shift:+.2f}: {why} The darkest 1 % is {first.p1:.3f} in {first.name}, "
        f"{quantiles[0]:.3f} where model {spec.name} was trained"
    )
