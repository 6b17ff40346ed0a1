"""Accuracy and area from a stratified random sample of pixels, with standard errors.

One estimator serves all: the ratio R = Y/X of two totals over the population, each of an indicator that is known at
every sampled pixel. Overall accuracy and the share of a class have x = 1, user's accuracy has x = "mapped as k",
producer's accuracy x = "is k". Stehman (2014, doi 10.1080/01431161.2014.930207) gives totals (eq. 2), ratios (eq. 27)
and variances (eq. 25, 28) for strata of any kind; where the strata are the map's classes these are the estimators of
Olofsson et al. (2014, doi 10.1016/j.rse.2014.02.015, eq. 4 to 11), but for the finite population correction, which
those leave out.

Two things are more general here. Pixels may differ in area (lon/lat grids): a stratum's mean is weighted by area, the
variance is that of the linearized ratio, and with equal areas nothing remains of it. And the population may be more
than the map: pixels without a map class count for areas and for producer's accuracy, not for the other two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share 0…1 and how far to trust it."""

    value: float | None
    """None: the sample has nothing to say it of."""
    se: float | None
    """Standard error; None: unknown, since a stratum has a single point."""

    def half_width(self, confidence: float) -> float | None:
        """Half the width of the confidence interval, by the normal distribution."""
        return None if self.se is None else NormalDist().inv_cdf((1 + confidence) / 2) * self.se

    def to_json(self, confidence: float) -> dict[str, Any]:
        """Value, standard error, and the interval [low, high] cut to 0…1."""
        half, interval = self.half_width(confidence), None
        if self.value is not None and half is not None:
            interval = [max(0.0, self.value - half), min(1.0, self.value + half)]
        return {"value": self.value, "se": self.se, "interval": interval}


@dataclass(frozen=True)
class StratifiedSample:
    """Pixels drawn at random, without replacement, within strata that partition the population."""

    stratum: Ints
    """(unit,) index of each sampled pixel's stratum."""
    pixels: Ints
    """(stratum,) pixels of the population."""
    area: Floats
    """(stratum,) their area, in any unit; with pixels of one size simply proportional to `pixels`."""
    weight: Floats | None = None
    """(unit,) area of each sampled pixel, in any unit; None: all alike."""
    finite: bool = True
    """True: the variance falls to zero as all pixels are sampled (Stehman); False: it does not (Olofsson)."""

    def __post_init__(self) -> None:
        if self.pixels.shape != self.area.shape or (
            self.weight is not None and self.weight.shape != self.stratum.shape
        ):
            raise ValueError(f"{len(self.pixels)} strata with {len(self.area)} areas, or weights of other units.")
        if (self.sampled < 1).any() or (self.sampled > self.pixels).any():
            raise ValueError(f"strata of {self.pixels.tolist()} pixels cannot have {self.sampled.tolist()} sampled.")

    @cached_property
    def sampled(self) -> Ints:
        """(stratum,) sampled pixels."""
        return np.bincount(self.stratum, minlength=len(self.pixels))

    @cached_property
    def _order(self) -> Ints:
        return np.argsort(self.stratum, kind="stable")

    @cached_property
    def _weights(self) -> Floats:
        """(unit, 1) areas, of mean 1 in each stratum."""
        weight = np.ones((len(self.stratum), 1)) if self.weight is None else self.weight[:, None].astype(np.float64)
        return np.asarray(weight / self._means(weight)[self.stratum])

    @property
    def share(self) -> Floats:
        """(unit,) part of the population's area that each sampled pixel stands for; they add up to 1."""
        by_stratum = self.area / self.sampled / self.area.sum()
        return np.asarray(self._weights[:, 0] * by_stratum[self.stratum])

    def ratio(self, y: NDArray[Any], x: NDArray[Any]) -> tuple[Floats, Floats]:
        """Estimate ratios Y/X of totals over the population.

        Args:
            y: (unit, k) numerators at the sampled pixels, per unit of area.
            x: (unit, k) or (unit, 1) denominators.

        Returns:
            (k,) ratios and their standard errors; NaN where X is 0, and errors also where a stratum of several
            pixels has a single sampled one.
        """
        weights, area = self._weights, self.area[:, None]
        y, x = np.broadcast_arrays(np.asarray(y, np.float64), np.asarray(x, np.float64))
        y_means, x_means = self._means(weights * y), self._means(weights * x)
        total = (area * x_means).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (area * y_means).sum(axis=0) / total
            residual = weights * (y - y_means[self.stratum] - ratio * (x - x_means[self.stratum]))
            n = self.sampled[:, None]
            spread = self._means(residual**2) * n / (n - 1)
            left = 1 - n / self.pixels[:, None] if self.finite else np.ones_like(area)
            by_stratum = np.where(left == 0, 0.0, area**2 * left * spread / n)
            return ratio, np.sqrt(by_stratum.sum(axis=0)) / total

    def _means(self, values: Floats) -> Floats:
        """(stratum, k) plain means of (unit, k) values."""
        starts = np.cumsum(self.sampled) - self.sampled
        return np.asarray(np.add.reduceat(values[self._order], starts) / self.sampled[:, None])


@dataclass(frozen=True)
class Estimates:
    """What a sample says of a map; shares of the population's area, by class index."""

    overall: Estimate
    users: tuple[Estimate, ...]
    """Of what is mapped as k, the share that is k; 1 − commission."""
    producers: tuple[Estimate, ...]
    """Of what is k, the share that is mapped as k; 1 − omission."""
    area: tuple[Estimate, ...]
    """Share of the population that is k: the error-adjusted area."""
    mapped: tuple[Estimate, ...]
    """Share of the population that is mapped as k; without error where the strata are the map's classes."""
    matrix: Floats
    """(map class, reference class) shares of the population."""


def estimate(sample: StratifiedSample, mapped: Ints, reference: Ints, n_classes: int) -> Estimates:
    """Estimate accuracy and area.

    Args:
        sample: what was drawn.
        mapped: (unit,) class index that the map has there; -1: none.
        reference: (unit,) class index that is there.
        n_classes: number of classes.
    """
    is_mapped, is_there = (at[:, None] == np.arange(n_classes) for at in (mapped, reference))
    everywhere, right = np.ones((len(mapped), 1)), is_mapped & is_there
    known = mapped >= 0
    cells = mapped[known] * n_classes + reference[known]
    return Estimates(
        overall=_each(sample.ratio(right.any(axis=1, keepdims=True), known[:, None]))[0],
        users=_each(sample.ratio(right, is_mapped)),
        producers=_each(sample.ratio(right, is_there)),
        area=_each(sample.ratio(is_there, everywhere)),
        mapped=_each(sample.ratio(is_mapped, everywhere)),
        matrix=np.asarray(np.bincount(cells, sample.share[known], n_classes**2), np.float64).reshape(n_classes, -1),
    )


def _each(found: tuple[Floats, Floats]) -> tuple[Estimate, ...]:
    return tuple(Estimate(_known(value), _known(se)) for value, se in zip(*found, strict=True))


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
