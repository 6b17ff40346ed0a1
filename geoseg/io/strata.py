"""The pixels of strata: counted in one sweep, single ones found by their rank in another.

A rank counts a stratum's pixels in row order over the whole raster, so what is found does not depend on how it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.classes import ClassScheme
from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.ground import area_model
from geoseg.io.class_raster import ClassRaster, opened_rows
from geoseg.io.recode import Recoding
from geoseg.io.spool import row_bands

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ReadRows = Callable[[int, int], NDArray[Any]]

MAX_STRATA = 1000
"""More are no strata that somebody could visit."""


@dataclass(frozen=True)
class Strata:
    """Where a sample is drawn: the pixels that have a class of the map and a stratum."""

    map: ClassRaster
    raster: ClassRaster | None = None
    """Strata on the map's grid; None: the map's classes are the strata."""

    def __post_init__(self) -> None:
        if self.raster is not None and not self.raster.grid.same_as(self.map.grid):
            raise InputError(
                f"strata {self.raster.path} are not on the grid of {self.map.path} (CRS, corner, pixel size, "
                f"{self.map.grid.width} × {self.map.grid.height} pixels): warp them there with nearest neighbors."
            )
        if len(self.scheme) > MAX_STRATA:
            raise InputError(
                f"{(self.raster or self.map).path} has {len(self.scheme)} classes, at most {MAX_STRATA} can be "
                f"strata: merge them with --legend."
            )

    @property
    def scheme(self) -> ClassScheme:
        """The strata, as classes."""
        return (self.raster or self.map).scheme

    @property
    def grid(self) -> Grid:
        """The map's."""
        return self.map.grid

    @cached_property
    def row_m2(self) -> Floats:
        """(row,) ground of a pixel in each row of the map."""
        return area_model(self.grid).pixel_areas(self.grid)

    def count(self, bands: Sequence[Window] | None = None) -> StratumCounts:
        """Count the pixels of all strata.

        Args:
            bands: full-width windows that partition the grid from top to bottom; they do not change the sums.

        Raises:
            InputError: a raster cannot be read.
        """
        bands = tuple(bands or row_bands(self.grid))
        pixels, area = np.zeros((len(bands), len(self.scheme)), np.int64), np.zeros(len(self.scheme))
        even = bool((self.row_m2 == self.row_m2[0]).all())
        with self._opened() as read:
            for number, band in enumerate(bands):
                index = read(band.row_off, band.row_end)[0].ravel()
                pixels[number] = np.bincount(index, minlength=len(self.scheme) + 1)[:-1]
                if not even:
                    m2 = self.row_m2[band.row_off : band.row_end].repeat(self.grid.width)
                    area += np.bincount(index, m2, len(self.scheme) + 1)[:-1]
        return StratumCounts(bands, pixels, pixels.sum(axis=0) * self.row_m2[0] if even else area)

    def locate(self, counts: StratumCounts, ranks: Sequence[Ints]) -> Ints:
        """Find pixels by their ranks.

        Args:
            counts: of these strata.
            ranks: for each stratum ascending ranks, 0 … pixels − 1.

        Returns:
            (4, pixel) stratum index, row, column and code of the map's class; stratum by stratum within each band.

        Raises:
            InputError: a raster cannot be read (any more), or has changed.
        """
        before = np.cumsum(counts.by_band, axis=0) - counts.by_band
        found = [np.zeros((4, 0), np.int64)]
        with self._opened() as read:
            for number, band in enumerate(counts.bands):
                here = [
                    _between(r, *ends) for r, ends in zip(ranks, _ends(before, counts.by_band, number), strict=True)
                ]
                if not any(len(wanted) for wanted in here):
                    continue
                index, codes = (layer.ravel() for layer in read(band.row_off, band.row_end))
                for stratum, wanted in enumerate(here):
                    if not len(wanted):
                        continue
                    places = np.flatnonzero(index == stratum)
                    if len(places) != counts.by_band[number, stratum]:
                        raise InputError(f"{self.map.path} or its strata changed while they were sampled; start again.")
                    at = places[wanted]
                    row, col = np.divmod(at, self.grid.width)
                    found.append(np.stack((np.full(len(at), stratum), row + band.row_off, col, codes[at])))
        return np.concatenate(found, axis=1)

    @contextmanager
    def _opened(self) -> Iterator[Callable[[int, int], tuple[Ints, NDArray[Any]]]]:
        """A function that gives stratum indices (row, col; the number of strata outside) and map codes of rows."""
        place = {code: index for index, code in enumerate(self.scheme.codes)}
        index_of = Recoding(place, len(self.scheme), np.int64)
        with ExitStack() as stack:
            read_map = stack.enter_context(opened_rows(self.map))
            read_strata = None if self.raster is None else stack.enter_context(opened_rows(self.raster))

            def read(first: int, last: int) -> tuple[Ints, NDArray[Any]]:
                codes = read_map(first, last)
                if read_strata is None:
                    return index_of(codes), codes
                index = index_of(read_strata(first, last))
                index[codes == self.map.nodata] = len(self.scheme)
                return index, codes

            yield read


@dataclass(frozen=True)
class StratumCounts:
    """How many pixels strata have, and where."""

    bands: tuple[Window, ...]
    by_band: Ints
    """(band, stratum) pixels."""
    area_m2: Floats
    """(stratum,) ground."""

    @property
    def pixels(self) -> Ints:
        """(stratum,) pixels."""
        return np.asarray(self.by_band.sum(axis=0))


def codes_at(raster: ClassRaster, rows: Ints, cols: Ints) -> Ints:
    """Codes of single pixels, read band by band.

    Args:
        raster: class raster.
        rows: (pixel,) inside it.
        cols: (pixel,).

    Raises:
        InputError: the raster cannot be read.
    """
    out = np.full(len(rows), raster.nodata, np.int64)
    with opened_rows(raster) as read:
        for band in row_bands(raster.grid):
            here = np.flatnonzero((rows >= band.row_off) & (rows < band.row_end))
            if len(here):
                first, last = int(rows[here].min()), int(rows[here].max()) + 1
                out[here] = read(first, last)[rows[here] - first, cols[here]]
    return out


def _ends(before: Ints, counts: Ints, band: int) -> list[tuple[int, int]]:
    """First rank of each stratum in a band, and the first after it."""
    return list(zip(before[band].tolist(), (before[band] + counts[band]).tolist(), strict=True))


def _between(ranks: Ints, first: int, last: int) -> Ints:
    """Ascending ranks first … last − 1, counted from `first`."""
    low, high = np.searchsorted(ranks, (first, last))
    return ranks[low:high] - first
