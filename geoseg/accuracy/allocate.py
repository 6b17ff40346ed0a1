"""How many pixels to sample, and how many of them in each stratum.

Size: Cochran, Sampling Techniques (3rd ed., 1977), eq. 5.25, as Olofsson et al. (2014, doi 10.1016/j.rse.2014.02.015)
use it in eq. 13: the standard deviation of "the map is right" in a stratum of expected accuracy U is √(U(1 − U)).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Allocation = Literal["olofsson", "proportional", "equal", "neyman"]

LEAST = 2
"""Points that a stratum needs for a standard error."""
LEAST_OLOFSSON = 50
"""What Olofsson et al. (2014, section 5.1.2) ask for each rare class at the least."""


def sample_size(se: float, pixels: Ints, accuracy: Floats) -> int:
    """Points for a wanted standard error of the overall accuracy.

    Args:
        se: standard error to reach, 0…1.
        pixels: (stratum,) pixels.
        accuracy: (stratum,) expected share of pixels where the map is right.
    """
    share, deviation = pixels / pixels.sum(), np.sqrt(accuracy * (1 - accuracy))
    needed = (share @ deviation) ** 2 / (se**2 + share @ deviation**2 / pixels.sum())
    return int(min(math.ceil(round(float(needed), 6)), pixels.sum()))


def expected_se(points: Ints, pixels: Ints, accuracy: Floats) -> tuple[Floats, float]:
    """Standard errors to expect: (stratum,) of the accuracy within strata, and of the overall accuracy.

    Args:
        points: (stratum,) points, none 0.
        pixels: (stratum,) pixels.
        accuracy: (stratum,) expected share of pixels where the map is right.
    """
    variance = (1 - points / pixels) * accuracy * (1 - accuracy) / points
    share = pixels / pixels.sum()
    return np.asarray(np.sqrt(variance)), math.sqrt(float(share**2 @ variance))


def wanted_shares(allocation: Allocation, pixels: Ints, accuracy: Floats | None) -> Floats:
    """(stratum,) relative numbers of points, before any minimum.

    Args:
        allocation: `equal`; `neyman`: by size and standard deviation; else by size.
        pixels: (stratum,) pixels.
        accuracy: (stratum,) expected share of pixels where the map is right; only `neyman` needs it.

    Raises:
        UsageError: `neyman` without expectations, or with a perfect map everywhere.
    """
    if allocation == "equal":
        return np.ones(len(pixels))
    if allocation != "neyman":
        return np.asarray(pixels / pixels.sum())
    if accuracy is None:
        raise UsageError("--allocation neyman needs expected accuracies: give --expect 0.8 or --expect water=0.95,0.8.")
    shares = np.asarray(pixels * np.sqrt(accuracy * (1 - accuracy)), np.float64)
    if not shares.any():
        raise UsageError("--allocation neyman: all accuracies of --expect are 0 or 1, nothing varies; take another.")
    return np.asarray(shares / shares.sum())


def allocate(total: int, shares: Floats, pixels: Ints, minimum: int) -> Ints:
    """Distribute points over strata: in proportion to their shares, but no fewer than a minimum, nor than there are.

    The shares of what the minimum and the sizes leave open are kept. Fractions go by largest remainder, ties to the
    first stratum, so that the numbers add up.

    Args:
        total: points in all.
        shares: (stratum,) relative wanted numbers.
        pixels: (stratum,) pixels.
        minimum: points for each stratum; all its pixels where it has fewer.

    Returns:
        (stratum,) points.

    Raises:
        UsageError: the minima alone are more than the total, or the total is more than there are pixels.
    """
    floor = np.minimum(pixels, minimum)
    if floor.sum() > total:
        raise UsageError(
            f"{total} points are fewer than {len(pixels)} strata × --minimum {minimum} need ({floor.sum()}): "
            f"raise -n, lower --minimum, or merge classes with --legend."
        )
    if total > pixels.sum():
        raise UsageError(f"{total} points are more than the {pixels.sum()} pixels that have a class: lower -n.")
    wanted = _leveled(total, shares, floor.astype(np.float64), pixels.astype(np.float64))
    points = np.floor(wanted + 1e-9).astype(np.int64)
    rest = np.where(points < pixels, wanted - points, -1.0)
    points[np.argsort(-rest, kind="stable")[: total - points.sum()]] += 1
    return points


def _leveled(total: int, shares: Floats, floor: Floats, ceiling: Floats) -> Floats:
    """clip(λ · shares, floor, ceiling) with the one λ that makes it add up to the total.

    Strata without a share take what the others cannot.
    """

    def at(level: float) -> Any:
        return np.clip(level * shares, floor, ceiling)

    high = float((ceiling[shares > 0] / shares[shares > 0]).max(initial=0.0))
    if at(high).sum() <= total:
        spare = ceiling - at(high)
        left = total - at(high).sum()
        return np.asarray(at(high) + (spare * left / spare.sum() if left > 0 else 0.0))
    low = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).sum() < total else (low, middle)
    return np.asarray(at(high))
