"""Which places are held out: whole blocks of ground, never single pixels. Pure NumPy.

Neighboring pixels are much alike, so figures from randomly held-out pixels are too good (Roberts et al. 2017,
doi 10.1111/ecog.02881); blocks are set aside as a whole, so that each class is in both parts wherever it can be.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Bools = NDArray[np.bool_]

LONGEST_M = 5000.0
PARTS = 6
"""Blocks along a scene's longer side, at least, where nobody says how large they are."""
LARGEST_VAL = 0.5
"""Of each class's pixels, at most that much is held out, unless nothing smaller gives a class its place there."""


def block_chips(chip: int, sides_m: tuple[float, float], extent_m: float, block_m: float | None) -> tuple[int, int]:
    """Chips along a block's height and width, each at least one.

    Args:
        chip: side of a chip in pixels.
        sides_m: ground width and height of a pixel.
        extent_m: longer side of the scene.
        block_m: side asked for; None: see `geoseg.training.recipe_data.SceneData.block_m`.
    """
    side = min(LONGEST_M, extent_m / PARTS) if block_m is None else block_m
    across, down = (max(1, round(side / (chip * m))) for m in sides_m)
    return down, across


def choose_held_out(counts: Counts, free: Bools, held: Bools, share: float, seed: int) -> Bools:
    """Choose places to hold out.

    First every class that is in no held-out place yet gets one, rarest first, if another place keeps the class in
    training; then places join as long as that brings the classes' shares nearer to the one wanted. A class's last
    place in training is never taken.

    Args:
        counts: (place, class) labeled pixels.
        free: (place,) True where the choice is ours.
        held: (place,) True where a place is held out already; disjoint from free.
        share: of each class's pixels that is wanted.
        seed: order between places that would do equally well.

    Returns:
        (place,) True = held out.
    """
    held = held.copy()
    total, there = counts.sum(axis=0), counts > 0
    known = total > 0
    order = np.random.default_rng(seed).permutation(len(counts))

    def best(wanted: Bools, least_left: float) -> tuple[float, int] | None:
        """Distance from the wanted shares with one more place, and the place; None: none can be taken.

        At least that share of each class that the place takes from must be left.
        """
        places = order[(free & ~held & wanted)[order]]
        after = counts[~held].sum(axis=0) - counts[places]
        places = places[((after > 0) & (after >= least_left * total) | (counts[places] == 0)).all(axis=1)]
        if not len(places):
            return None
        parts = (counts[held].sum(axis=0) + counts[places])[:, known] / total[known]
        distances = np.abs(parts - share).sum(axis=1)
        nearest = int(distances.argmin())
        return float(distances[nearest]), int(places[nearest])

    for index in np.argsort(there.sum(axis=0), kind="stable").tolist():
        if known[index] and not there[held, index].any():
            found = best(there[:, index], 1 - LARGEST_VAL) or best(there[:, index], 0)
            if found is not None:
                held[found[1]] = True
    everywhere = np.ones(len(counts), bool)
    distance = float(np.abs(counts[held].sum(axis=0)[known] / total[known] - share).sum())
    while (found := best(everywhere, 1 - LARGEST_VAL)) is not None and found[0] < distance:
        distance = found[0]
        held[found[1]] = True
    return held
