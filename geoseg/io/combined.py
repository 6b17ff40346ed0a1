"""Class rasters of one grid, read together band by band, and the one map that they make."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.grid import Grid, Window
from geoseg.io.class_raster import ClassRaster, opened_rows
from geoseg.io.recode import Recoding
from geoseg.io.score_raster import opened_scores
from geoseg.io.spool import RasterSpool
from geoseg.voting import NOBODY, Rule, chosen_dates, taken_from, voters

ReadRows = Callable[[int, int], NDArray[Any]]
BAND_PX = 1 << 21


@dataclass(frozen=True)
class Votes:
    """What is combined, and how."""

    rasters: tuple[ClassRaster, ...]
    scheme: ClassScheme
    """Classes of all."""
    rule: Rule
    scores: tuple[Path, ...] | None = None
    """Confidence raster of each; None: one lacks its own."""
    rank: tuple[int, ...] | None = None
    """Place of each in time; for `latest`."""

    @property
    def grid(self) -> Grid:
        """The grid of all."""
        return self.rasters[0].grid

    @property
    def count_dtype(self) -> np.dtype[Any]:
        """Type that holds the number of dates."""
        return np.dtype(np.uint8 if len(self.rasters) < 256 else np.uint16)


def write_votes(
    votes: Votes, codes: RasterSpool, counts: RasterSpool, scores: RasterSpool | None, *, band_px: int = BAND_PX
) -> None:
    """Write the class of every pixel, the number of dates that have one, and the score of the class.

    The score is that of the date whose class was taken; for `mode` the mean of all dates that agree with it, rounded
    half up. Memory: some 30 bytes for each pixel of a band and each date.

    Args:
        votes: what is combined.
        codes: of the scheme's type.
        counts: of `votes.count_dtype`.
        scores: uint8; None: not wanted.
        band_px: pixels read at once of all dates together, at least a row of each; never changes the result.

    Raises:
        InputError: a raster cannot be read (any more).
        OutputError: the disk refuses.
    """
    grid, scheme = votes.grid, votes.scheme
    place = {code: number for number, code in enumerate(scheme.codes)}
    to_index = [Recoding({c: place[c] for c in r.scheme.codes}, NOBODY, np.int32) for r in votes.rasters]
    code_of = np.append(np.array(scheme.codes, scheme.dtype), np.asarray(scheme.nodata, scheme.dtype))
    rank = None if votes.rank is None else np.array(votes.rank, np.int64)
    with ExitStack() as stack:
        read = [stack.enter_context(opened_rows(raster)) for raster in votes.rasters]
        read_scores: list[ReadRows] = []
        if votes.scores is not None:
            read_scores = [stack.enter_context(opened_scores(path, grid)) for path in votes.scores]
        rows = max(1, band_px // (grid.width * len(read)))
        for first in range(0, grid.height, rows):
            window = Window(0, first, grid.width, min(rows, grid.height - first))
            index = np.stack([of(r(first, window.row_end)).ravel() for r, of in zip(read, to_index, strict=True)])
            layers = np.stack([r(first, window.row_end).ravel() for r in read_scores]) if read_scores else None
            chosen = chosen_dates(votes.rule, index, layers, rank)
            winner = taken_from(index, chosen, NOBODY)
            codes.write(window, code_of[winner].reshape(window.shape))
            counts.write(window, (index >= 0).sum(axis=0).astype(votes.count_dtype).reshape(window.shape))
            if scores is not None and layers is not None:
                scores.write(window, _scores(votes.rule, index, layers, chosen).reshape(window.shape))


def _scores(
    rule: Rule, index: NDArray[np.int32], layers: NDArray[np.uint8], chosen: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """(pixel,) score bytes of the class that was taken, 0 where there is none."""
    if rule != "mode":
        return taken_from(layers, chosen, 0)
    agree = voters(index, chosen)
    n = np.maximum(agree.sum(axis=0), 1)
    total = np.where(agree, layers, 0).sum(axis=0, dtype=np.int64)
    return np.asarray((2 * total + n) // (2 * n), np.uint8)
