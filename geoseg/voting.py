"""Several dates, one map: which of them each pixel takes its class from. Pure.

    mode      the class that most dates agree on; of equally many the one that the last of them in order saw
    score     the date with the highest winning score; of equal ones the last in order
    latest    the date with the latest image; of equal ones the last in order
    priority  the first in order that has a class

The order is that in which the dates are given. A date without a class has no vote.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numba import njit
from numpy.typing import NDArray

Rule = Literal["mode", "score", "latest", "priority"]
RULES: tuple[Rule, ...] = get_args(Rule)
NOBODY = -1


def chosen_dates(
    rule: Rule, index: NDArray[np.int32], scores: NDArray[np.uint8] | None = None, rank: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The date whose class each pixel takes.

    Args:
        rule: see above.
        index: (date, pixel) 0, 1, … for classes, negative where a date has none.
        scores: (date, pixel) winning scores; for `score`.
        rank: (date,) place of each date in time, equal for equal times; for `latest`.

    Returns:
        (pixel,) number of the date, `NOBODY` where none has a class.
    """
    seen = index >= 0
    if rule == "mode":
        return _mode(np.ascontiguousarray(index), int(index.max(initial=0)) + 1)
    if rule == "priority":
        best = seen.argmax(axis=0)
    elif rule == "score":
        if scores is None:
            raise ValueError("the rule 'score' needs scores.")
        best = _last_largest(np.where(seen, scores.astype(np.int64), -1))
    else:
        if rank is None:
            raise ValueError("the rule 'latest' needs the dates' places in time.")
        best = _last_largest(np.where(seen, rank[:, None], -1))
    return np.where(seen.any(axis=0), best, NOBODY)


def voters(index: NDArray[np.int32], chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(date, pixel) True where a date has the class that was chosen.

    Args:
        index: as above.
        chosen: what `chosen_dates` gave.
    """
    winner = taken_from(index, chosen, NOBODY)
    return np.asarray((index == winner) & (winner >= 0))


def taken_from(layers: NDArray[Any], chosen: NDArray[np.int64], empty: int) -> NDArray[Any]:
    """(pixel,) value of the chosen date.

    Args:
        layers: (date, pixel).
        chosen: (pixel,) number of the date.
        empty: value where nobody was chosen.
    """
    found = np.take_along_axis(layers, np.maximum(chosen, 0)[None], axis=0)[0]
    return np.where(chosen == NOBODY, np.asarray(empty, layers.dtype), found)


def _last_largest(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """(pixel,) the last place along the first axis where the largest value stands."""
    return np.asarray(len(values) - 1 - values[::-1].argmax(axis=0), np.int64)


@njit(cache=True, nogil=True)
def _mode(index: NDArray[np.int32], classes: int) -> NDArray[np.int64]:
    dates, pixels = index.shape
    votes, out = np.zeros(classes, np.int32), np.empty(pixels, np.int64)
    for pixel in range(pixels):
        best, most = -1, 0
        for date in range(dates):
            if index[date, pixel] >= 0:
                votes[index[date, pixel]] += 1
        for date in range(dates):
            found = index[date, pixel]
            if found >= 0 and votes[found] >= most:
                best, most = date, votes[found]
        for date in range(dates):
            if index[date, pixel] >= 0:
                votes[index[date, pixel]] = 0
        out[pixel] = best
    return out
