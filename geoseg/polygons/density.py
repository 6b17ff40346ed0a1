"""How many components, arcs and vertices a class map has a pixel, told by some of its blocks."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.coverage import traced_bands
from geoseg.polygons.label import Codes
from geoseg.polygons.survey import survey

_MARGIN = 2.0
"""Standard errors of the mean that are added to it."""


@dataclass(frozen=True)
class Density:
    """Figures a pixel.

    A component *lasts* if it reaches from the top to the bottom of a block: it may stay open while the sweep goes down
    the whole raster, and so may its arcs.
    """

    components: float
    arcs: float
    vertices: float
    lasting_arcs: float
    lasting_vertices: float

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 0:
            raise ValueError(f"{self} counts less than nothing.")


def density(blocks: Iterable[Codes], nodata: int | None, skip: Collection[int] = ()) -> Density:
    """Count in blocks of a class map, each for itself: what crosses a block's frame counts on both sides of it.

    Args:
        blocks: (row, col) codes, at least one block; of about the same size each.
        nodata: code of what is not there; None: all pixels are.
        skip: codes of the classes that get no polygons.

    Returns:
        the mean of the blocks, with several blocks two standard errors more.
    """
    counts = np.array([_counts(codes, nodata, skip) / codes.size for codes in blocks])
    doubt = counts.std(axis=0, ddof=1) / np.sqrt(len(counts)) if len(counts) > 1 else 0.0
    return Density(*(counts.mean(axis=0) + _MARGIN * doubt).tolist())


def _counts(codes: Codes, nodata: int | None, skip: Collection[int]) -> NDArray[np.float64]:
    """(5,) in the order of `Density`."""
    height, width = codes.shape

    def read_rows(first: int, last: int) -> Codes:
        return codes[first:last]

    found = survey(read_rows, (height, width), nodata=nodata, skip=skip, keep_runs=True)
    table, counts = found.components, np.zeros(5)
    lasts = np.append((table.first < width) & (table.last_row == height - 1), False)
    for _, traced in traced_bands(read_rows, found, None):
        for arcs in (part.arcs for part in traced):
            kept = lasts[arcs.left] | lasts[arcs.right]
            lengths = np.diff(arcs.starts)
            counts[1:] += len(arcs), lengths.sum(), kept.sum(), lengths[kept].sum()
    counts[0] = len(table)
    return counts
