"""Two class rasters of one grid, read together band by band: one raster of pairs, and what adds up over each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from geoseg.errors import InputError, OutputError
from geoseg.grid import Grid, Window
from geoseg.io import posix
from geoseg.io.class_dates import joined_tags, span, taken
from geoseg.io.class_raster import ClassRaster, opened_rows
from geoseg.io.score_raster import opened_scores
from geoseg.polygons.clip_area import Area
from geoseg.polygons.mmu_size import Scale
from geoseg.run_sums import run_sums
from geoseg.transitions import PairCodes, PairSum

Ints = NDArray[np.int64]
ReadRows = Callable[[int, int], NDArray[Any]]
BAND_PX = 1 << 20
_BITS = 31
_NONE = (1 << _BITS) - 1
"""No class code: the largest is one less."""
_OUTSIDE = -1


@dataclass(frozen=True)
class Dates:
    """Class rasters of one grid at two dates, each with its score raster or none of them."""

    before: ClassRaster
    after: ClassRaster
    scores: tuple[Path, Path] | None = None

    @property
    def grid(self) -> Grid:
        """The grid of all."""
        return self.before.grid


def write_pairs(
    dates: Dates,
    codes: PairCodes,
    scale: Scale,
    place: Path,
    area: Area | None = None,
    *,
    scores_place: Path | None = None,
    band_px: int = BAND_PX,
) -> tuple[ClassRaster, dict[tuple[int | None, int | None], PairSum]]:
    """Write the raster of pairs, nodata where a date is unobserved, and sum up every pair.

    Memory: some 100 bytes for each pixel of a band.

    Args:
        dates: what to read.
        codes: of pairs.
        scale: how ground is counted.
        place: GeoTIFF to make; intermediate, without overviews.
        area: pixels that it does not touch are left out of both; None: all count.
        scores_place: GeoTIFF to make of the smaller of both scores.
        band_px: pixels read at once, at least a row; never changes the result.

    Returns:
        the raster, and the sums by pair of class codes, None standing for unobserved.

    Raises:
        InputError: a raster cannot be read (any more), or no pixel is observed at both dates.
        OutputError: the disk refuses.
    """
    grid, sums = dates.grid, dict[int, PairSum]()
    dtype, nodata = _stored_type(codes.largest)
    with ExitStack() as stack:
        read = [stack.enter_context(opened_rows(raster)) for raster in (dates.before, dates.after)]
        none = [dates.before.nodata, dates.after.nodata]
        write = stack.enter_context(_created(place, grid, dtype, nodata))
        read_scores: list[ReadRows] = []
        if dates.scores is not None:
            read_scores = [stack.enter_context(opened_scores(path, grid)) for path in dates.scores]
        write_scores = None
        if scores_place is not None and read_scores:
            write_scores = stack.enter_context(_created(scores_place, grid, "uint8", 0))
        rows = max(1, band_px // grid.width)
        for first in range(0, grid.height, rows):
            last = min(first + rows, grid.height)
            before, after = (_wide(r(first, last), n) for r, n in zip(read, none, strict=True))
            scores = [r(first, last) for r in read_scores]
            both, keys = (before != _NONE) & (after != _NONE), (before << _BITS) | after
            if area is not None:
                touched = area.touched(Window(0, first, grid.width, last - first))
                both, keys = both & touched, np.where(touched, keys, _OUTSIDE)
            write(first, np.where(both, before * codes.base + after, nodata).astype(dtype))
            if write_scores is not None:
                write_scores(first, np.where(both, np.minimum(*scores), 0).astype(np.uint8))
            by_row = None if scale.by_row is None else scale.by_row[first:last]
            for key, found in run_sums(keys, by_row, scores):
                sums[key] = sums.get(key, PairSum()) + PairSum(*found)
    by_pair = {_pair(key): found for key, found in sums.items() if key != _OUTSIDE}
    return _raster(dates, codes, by_pair, place, nodata), by_pair


def _wide(codes: NDArray[Any], nodata: int) -> Ints:
    wide = codes.astype(np.int64)
    wide[codes == nodata] = _NONE
    return wide


def _pair(key: int) -> tuple[int | None, int | None]:
    before, after = key >> _BITS, key & _NONE
    return None if before == _NONE else before, None if after == _NONE else after


def _stored_type(largest: int) -> tuple[str, int]:
    for name in ("uint8", "uint16"):
        if largest < np.iinfo(name).max:
            return name, int(np.iinfo(name).max)
    return "int32", _NONE


@contextmanager
def _created(place: Path, grid: Grid, dtype: str, nodata: int) -> Iterator[Callable[[int, NDArray[Any]], None]]:
    """A function that writes rows from `first` on."""
    profile = {"driver": "GTiff", "compress": "deflate", "zlevel": 1, "bigtiff": "if_safer", "nodata": nodata}
    with _told(place), ExitStack() as stack:
        size = {"width": grid.width, "height": grid.height, "transform": grid.transform, "crs": grid.crs.to_wkt()}
        dataset = stack.enter_context(rasterio.open(place, "w", count=1, dtype=dtype, **size, **profile))

        def write(first: int, rows: NDArray[Any]) -> None:
            with _told(place):
                window = rasterio.windows.Window(0, first, grid.width, len(rows))
                dataset.write(rows, 1, window=window)

        yield write


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        with posix.disk_errors("intermediate raster", place):
            yield
    except RasterioError as error:
        free = posix.free_bytes(place.parent)
        raise OutputError(
            f"intermediate raster {place} could not be written ({error.__cause__ or error}); {free} bytes are free."
        ) from error


def _raster(
    dates: Dates,
    codes: PairCodes,
    sums: dict[tuple[int | None, int | None], PairSum],
    place: Path,
    nodata: int,
) -> ClassRaster:
    """The raster of pairs as a class raster of those that occur.

    Raises:
        InputError: none does.
    """
    found = [codes.code(*pair) for pair in sums if None not in pair]  # type: ignore[arg-type]
    if not found:
        raise InputError(
            f"no pixel has a class both in {dates.before.path} and in {dates.after.path}: there is nothing to compare."
        )
    scheme = codes.classes(found)
    both = [dates.before, dates.after]
    tags = joined_tags(both, span([taken(raster) for raster in both]))
    dtype = _stored_type(codes.largest)[0]
    return ClassRaster(place, dates.grid, scheme, {c: c for c in found}, nodata, dtype, tags, frozenset(found))
