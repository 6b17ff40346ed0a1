"""Ground that changed class on the way from the model's answer to the polygons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.polygons.components import Components
from geoseg.polygons.mmu import Generalized


@dataclass(frozen=True)
class ClassChange:
    """Ground that a minimum mapping unit, or an object that grew, gave to another class."""

    before: str
    after: str
    area_m2: float


def changes_of(
    before: Components, found: Generalized, ground_m2: NDArray[np.float64], scheme: ClassScheme
) -> tuple[ClassChange, ...]:
    """What a minimum mapping unit gave to other classes, largest area first.

    Args:
        before: the components.
        found: what became of them.
        ground_m2: (component,) their areas.
        scheme: class names.
    """
    name = dict(zip(scheme.codes, scheme.names, strict=True))
    moved = np.flatnonzero(before.code != found.code)
    pairs, which = np.unique(np.stack([before.code[moved], found.code[moved]]), axis=1, return_inverse=True)
    sums = np.bincount(which.ravel(), weights=ground_m2[moved], minlength=pairs.shape[1])
    changes = [ClassChange(name[a], name[b], m2) for (a, b), m2 in zip(pairs.T.tolist(), sums.tolist(), strict=True)]
    return joined(changes)


def joined(changes: Iterable[ClassChange]) -> tuple[ClassChange, ...]:
    """Each pair of classes once, largest area first."""
    sums: dict[tuple[str, str], float] = {}
    for change in changes:
        pair = change.before, change.after
        sums[pair] = sums.get(pair, 0.0) + change.area_m2
    found = [ClassChange(*pair, m2) for pair, m2 in sums.items()]
    return tuple(sorted(found, key=lambda change: (-change.area_m2, change.before, change.after)))
