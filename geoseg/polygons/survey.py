"""Pass A: the table of a raster's components, gathered band by band.

A *band* is a full-width block of rows; its height is a knob for memory and changes nothing else. Every band is
labeled alone, then labels that meet over a seam are united. Bands come in row order and labels are numbered by
first pixel, so the smallest member of a united set holds the component's first pixel: numbering the sets in order
of their roots numbers the components by first pixel, whatever the bands were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.errors import InputError, MemoryLimitError
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.components import Components, Ints, measure_band, merge_tables
from geoseg.polygons.label import Codes, Int32s, Runs, label_runs, number_sets, unite, wanted_pixels

ReadRows = Callable[[int, int], NDArray[Any]]
"""Gives (row, col) values of rows first … last - 1; only ever called from the caller's own thread."""

THREADS = 2
BYTES_PER_COMPONENT = 72
"""The bands' own tables, the one made of them, the numbers."""
BAND_PX = 1 << 21
_NO_SCORES = np.zeros((0, 0), np.uint8)
T = TypeVar("T")


@dataclass(frozen=True)
class Survey:
    """What pass A found and pass B needs."""

    shape: tuple[int, int]
    """(rows, columns) of the raster."""
    band_rows: int
    """Rows of every band but the last."""
    offsets: Ints
    """(band + 1,) first entry of each band in `numbers`, then their length."""
    numbers: Int32s
    """Component of each band's labels."""
    components: Components
    wanted: Callable[[Codes], NDArray[np.bool_]]
    """Which pixels belong to components."""
    runs: tuple[Runs, ...] = field(default=(), repr=False)
    """The labeled bands, if they were kept."""

    def painted_bands(self, read_rows: ReadRows, final: Ints | None = None) -> Iterator[tuple[int, Int32s]]:
        """Every band's pixels as component numbers, in row order, with the row above it and a frame.

        Bands are read here and labeled by threads that run ahead.

        Args:
            read_rows: gives the codes that were surveyed.
            final: (component,) what to paint for each component; None: its own number.

        Yields:
            first row of the band; (1 + row, 1 + col + 1) numbers: row 0 is the row above the band, the first and the
            last column lie beyond the raster's frame; NOTHING where no component is.
        """
        height, width = self.shape
        table = self.numbers if final is None else np.append(final, NOTHING).astype(np.int32)[self.numbers]

        def paint(band: int, codes: Codes | None) -> Int32s:
            runs = self.runs[band] if codes is None else label_runs(codes, self.wanted(codes))
            out = np.full((runs.shape[0] + 1, width + 2), NOTHING, np.int32)
            runs.paint(table[self.offsets[band] : self.offsets[band + 1]], out[1:, 1:-1])
            return out

        bands = bands_of(height, self.band_rows)
        above = np.full(width + 2, NOTHING, np.int32)
        arguments = ((i, None if self.runs else read_rows(first, last)) for i, (first, last) in enumerate(bands))
        for (first, _), painted in zip(bands, run_ahead(paint, arguments), strict=True):
            painted[0] = above
            above = painted[-1].copy()
            yield first, painted


def survey(
    read_rows: ReadRows,
    shape: tuple[int, int],
    *,
    nodata: int | None,
    skip: Collection[int] = (),
    band_rows: int | None = None,
    read_scores: ReadRows | None = None,
    keep_runs: bool = False,
    most_bytes: int | None = None,
) -> Survey:
    """Find the 4-connected components of equal code of a raster, reading it once in bands.

    Memory: `BYTES_PER_COMPONENT`, of which the table keeps 32 and the numbers 4.

    Args:
        read_rows: gives (row, col) codes: uint8, uint16 or int32.
        shape: (rows, columns) of the raster.
        nodata: code of what is not there; None: all pixels are.
        skip: codes of the classes that get no polygons.
        band_rows: rows labeled at once; None: about two million pixels.
        read_scores: gives (row, col) non-negative integers to be summed over each component.
        keep_runs: keep the labeled runs, so that pass B need not label again; 8 bytes a run.
        most_bytes: what all of this may take, the runs not counted; None: there is no limit.

    Raises:
        InputError: there are more components than 32 bits can count.
        MemoryLimitError: they take more.
    """
    height, width = shape
    band_rows = band_rows or max(1, BAND_PX // width)
    wanted = _wanted(nodata, frozenset(skip))

    def label(first: int, codes: Codes, scores: NDArray[Any]) -> tuple[Runs, Components, Codes]:
        runs = label_runs(codes, wanted(codes))
        return runs, measure_band(runs, first, codes, scores), codes[[0, -1]]

    arguments = (
        (first, read_rows(first, last), _NO_SCORES if read_scores is None else read_scores(first, last))
        for first, last in bands_of(height, band_rows)
    )
    parts: deque[Components] = deque()
    offsets, pairs, kept = [0], [], []
    bottom_codes, bottom_labels = np.zeros(width, np.int64), np.full(width, NOTHING, np.int32)
    for runs, part, edge_codes in run_ahead(label, arguments):
        top_labels = row_labels(runs, 0)
        meet = (bottom_labels >= 0) & (top_labels >= 0) & (bottom_codes == edge_codes[0])
        above = offsets[-2] if parts else 0
        pairs.append(_distinct(above + bottom_labels[meet].astype(np.int64), offsets[-1] + top_labels[meet]))
        bottom_codes, bottom_labels = edge_codes[1], row_labels(runs, runs.shape[0] - 1)
        parts.append(part)
        offsets.append(offsets[-1] + len(part))
        _check_room(offsets[-1], most_bytes)
        kept += [runs] if keep_runs else []
    numbers = unite_over_seams(offsets[-1], pairs)
    components = merge_tables((parts.popleft() for _ in range(len(parts))), numbers)
    return Survey(shape, band_rows, np.array(offsets), numbers, components, wanted, tuple(kept))


def _check_room(n: int, most_bytes: int | None) -> None:
    if most_bytes is not None and n * BYTES_PER_COMPONENT > most_bytes:
        raise MemoryLimitError(
            f"the table of the first {n} components needs {n * BYTES_PER_COMPONENT / 1e6:.1f} MB, "
            f"{most_bytes / 1e6:.1f} MB of memory are left for it: cut the raster (--aoi), leave noisy classes out "
            "(--skip-classes) or allow more (--max-memory)."
        )


def bands_of(height: int, band_rows: int) -> list[tuple[int, int]]:
    """First row and end of every band."""
    return [(first, min(first + band_rows, height)) for first in range(0, height, band_rows)]


def run_ahead(function: Callable[..., T], arguments: Iterator[tuple[Any, ...]], threads: int = THREADS) -> Iterator[T]:
    """Results in order; arguments are drawn here, a few ahead, and the calls made by threads."""
    waiting: deque[Future[T]] = deque()
    pool, wait = ThreadPoolExecutor(threads), True
    try:
        for values in arguments:
            waiting.append(pool.submit(function, *values))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except GeneratorExit:
        # Perhaps from the collector of garbage, in any thread, while Python itself starts or ends one: to join a thread
        # there was seen to wait for a lock that this very thread held.
        wait = False
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=True)


def row_labels(runs: Runs, row: int) -> Int32s:
    """(col,) labels of one row of a band."""
    width = runs.shape[1]
    first, end = np.searchsorted(runs.starts, (row * width, (row + 1) * width))
    return np.repeat(runs.labels[first:end], np.diff(runs.starts[first : end + 1]))


def _wanted(nodata: int | None, skip: frozenset[int]) -> Callable[[Codes], NDArray[np.bool_]]:
    return lambda codes: wanted_pixels(codes, nodata, skip)


def _distinct(upper: Ints, lower: Ints) -> Ints:
    """(pair, 2) with runs of the same pair counted once."""
    pairs: Ints = np.stack([upper, lower], axis=1)
    new: NDArray[np.bool_] = np.append(True, (np.diff(pairs, axis=0) != 0).any(axis=1))
    return pairs[new[: len(pairs)]]


def unite_over_seams(n: int, pairs: list[Ints]) -> Int32s:
    """(label,) component of every label of every band."""
    if n >= 2**31:
        raise InputError(
            f"the raster has {n} components, more than 2147483647 cannot be told apart: cut it with --aoi."
        )
    parents = np.arange(n, dtype=np.int32)
    for band in pairs:
        _unite_pairs(parents, band)
    number_sets(parents)
    return parents


@njit(cache=True, nogil=True)
def _unite_pairs(parents: Int32s, pairs: Ints) -> None:
    for pair in range(len(pairs)):
        unite(parents, pairs[pair, 0], pairs[pair, 1])
