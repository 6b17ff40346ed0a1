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

from geoseg.errors import InputError
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Codes, Int32s, Runs, label_runs, number_sets, unite, wanted_pixels

Ints = NDArray[np.int64]
ReadRows = Callable[[int, int], NDArray[Any]]
"""Gives (row, col) values of rows first … last - 1; only ever called from the caller's own thread."""

THREADS = 2
_BAND_PIXELS = 1 << 21
_NO_SCORES = np.zeros((0, 0), np.uint8)
T = TypeVar("T")


@dataclass(frozen=True)
class Components:
    """Component table; all arrays are (component,), components numbered by first pixel in row order."""

    code: Int32s
    """Class code."""
    n_pixels: Ints
    """Number of pixels; 0 once another component has absorbed this one."""
    first: Ints
    """row · width + column of the first pixel."""
    last_row: Int32s
    """Last row that holds a pixel."""
    score_sum: Ints
    """Sum of the confidence raster over the pixels; 0 without one."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (self.n_pixels, self.first, self.last_row, self.score_sum)}
        if lengths != {len(self)}:
            raise ValueError(f"columns of {sorted(lengths)} rows for {len(self)} components.")

    def __len__(self) -> int:
        return len(self.code)

    def take(self, numbers: NDArray[np.integer]) -> Components:
        """The rows of some components."""
        return Components(
            self.code[numbers],
            self.n_pixels[numbers],
            self.first[numbers],
            self.last_row[numbers],
            self.score_sum[numbers],
        )

    def absorbed(self, final: Ints, code: Int32s | None = None) -> Components:
        """The table after components were given to others; survivors keep their numbers, the rest have 0 pixels.

        Args:
            final: (component,) number of the component that it now belongs to, the smallest of all its members;
                NOTHING: gets no polygon.
            code: (component,) class codes of the survivors; None: as before.

        Raises:
            ValueError: a survivor is not its set's smallest member.
        """
        kept = np.flatnonzero(final != NOTHING)
        into = final[kept]
        if len(final) != len(self) or (final[into] != into).any() or (into > kept).any():
            raise ValueError("final numbers are inconsistent: each is the smallest member of its set, itself included.")
        return _fold(len(self), into, self.take(kept), first=self.first, code=self.code if code is None else code)


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
) -> Survey:
    """Find the 4-connected components of equal code of a raster, reading it once in bands.

    Memory: 32 bytes a component for the table, 4 for the numbers, as much again while they are gathered.

    Args:
        read_rows: gives (row, col) codes: uint8, uint16 or int32.
        shape: (rows, columns) of the raster.
        nodata: code of what is not there; None: all pixels are.
        skip: codes of the classes that get no polygons.
        band_rows: rows labeled at once; None: about two million pixels.
        read_scores: gives (row, col) non-negative integers to be summed over each component.
        keep_runs: keep the labeled runs, so that pass B need not label again; 8 bytes a run.

    Raises:
        InputError: there are more components than 32 bits can count.
    """
    height, width = shape
    band_rows = band_rows or max(1, _BAND_PIXELS // width)
    wanted = _wanted(nodata, frozenset(skip))

    def label(first: int, codes: Codes, scores: NDArray[Any]) -> tuple[Runs, Components, Codes]:
        runs = label_runs(codes, wanted(codes))
        return runs, _measured(runs, first, codes, scores), codes[[0, -1]]

    arguments = (
        (first, read_rows(first, last), _NO_SCORES if read_scores is None else read_scores(first, last))
        for first, last in bands_of(height, band_rows)
    )
    parts, offsets, pairs, kept = [], [0], [], []
    bottom_codes, bottom_labels = np.zeros(width, np.int64), np.full(width, NOTHING, np.int32)
    for runs, part, edge_codes in run_ahead(label, arguments):
        top_labels = row_labels(runs, 0)
        meet = (bottom_labels >= 0) & (top_labels >= 0) & (bottom_codes == edge_codes[0])
        above = offsets[-2] if parts else 0
        pairs.append(_distinct(above + bottom_labels[meet].astype(np.int64), offsets[-1] + top_labels[meet]))
        bottom_codes, bottom_labels = edge_codes[1], row_labels(runs, runs.shape[0] - 1)
        parts.append(part)
        offsets.append(offsets[-1] + len(part))
        kept += [runs] if keep_runs else []
    numbers = _unite_over_seams(offsets[-1], pairs)
    components = _merged(parts, numbers)
    return Survey(shape, band_rows, np.array(offsets), numbers, components, wanted, tuple(kept))


def bands_of(height: int, band_rows: int) -> list[tuple[int, int]]:
    """First row and end of every band."""
    return [(first, min(first + band_rows, height)) for first in range(0, height, band_rows)]


def run_ahead(function: Callable[..., T], arguments: Iterator[tuple[Any, ...]], threads: int = THREADS) -> Iterator[T]:
    """Results in order; arguments are drawn here, a few ahead, and the calls made by threads."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for values in arguments:
            waiting.append(pool.submit(function, *values))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def row_labels(runs: Runs, row: int) -> Int32s:
    """(col,) labels of one row of a band."""
    width = runs.shape[1]
    first, end = np.searchsorted(runs.starts, (row * width, (row + 1) * width))
    return np.repeat(runs.labels[first:end], np.diff(runs.starts[first : end + 1]))


def _wanted(nodata: int | None, skip: frozenset[int]) -> Callable[[Codes], NDArray[np.bool_]]:
    return lambda codes: wanted_pixels(codes, nodata, skip)


def _distinct(upper: Ints, lower: Ints) -> Ints:
    """(pair, 2) with runs of the same pair counted once."""
    pairs = np.stack([upper, lower], axis=1)
    return pairs[np.append(True, (np.diff(pairs, axis=0) != 0).any(axis=1))[: len(pairs)]]


def _unite_over_seams(n: int, pairs: list[Ints]) -> Int32s:
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


def _merged(parts: list[Components], numbers: Int32s) -> Components:
    """One table from the bands' own."""
    n = int(numbers.max(initial=-1)) + 1

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])

    code, first = np.zeros(n, np.int32), np.full(n, np.iinfo(np.int64).max)
    code[numbers] = column("code")
    np.minimum.at(first, numbers, column("first"))
    rows = Components(*(column(name) for name in ("code", "n_pixels", "first", "last_row", "score_sum")))
    return _fold(n, numbers, rows, first=first, code=code)


def _fold(n: int, into: NDArray[np.integer], rows: Components, *, first: Ints, code: Int32s) -> Components:
    """A table of n components from rows that belong to them: pixels and scores add up, the last row counts."""
    n_pixels, score_sum, last_row = np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, -1, np.int32)
    np.add.at(n_pixels, into, rows.n_pixels)
    np.add.at(score_sum, into, rows.score_sum)
    np.maximum.at(last_row, into, rows.last_row)
    return Components(code, n_pixels, first, last_row, score_sum)


def _measured(runs: Runs, first_row: int, codes: Codes, scores: NDArray[Any]) -> Components:
    """The table of one band."""
    code, last_row = np.empty(runs.n, np.int32), np.empty(runs.n, np.int32)
    n_pixels, first, score_sum = np.zeros(runs.n, np.int64), np.empty(runs.n, np.int64), np.zeros(runs.n, np.int64)
    _measure(runs.starts, runs.labels, first_row, codes, scores, code, n_pixels, first, last_row, score_sum)
    return Components(code, n_pixels, first, last_row, score_sum)


@njit(cache=True, nogil=True)
def _unite_pairs(parents: Int32s, pairs: Ints) -> None:
    for pair in range(len(pairs)):
        unite(parents, pairs[pair, 0], pairs[pair, 1])


@njit(cache=True, nogil=True)
def _measure(  # noqa: PLR0917 (numba kernels take their columns by position)
    starts: Int32s,
    labels: Int32s,
    first_row: int,
    codes: Codes,
    scores: NDArray[Any],
    code: Int32s,
    n_pixels: Ints,
    first: Ints,
    last_row: Int32s,
    score_sum: Ints,
) -> None:
    width = codes.shape[1]
    for run in range(len(labels)):
        label = labels[run]
        if label >= 0:
            row = starts[run] // width
            begin, end = starts[run] - row * width, starts[run + 1] - row * width
            if n_pixels[label] == 0:
                code[label] = codes[row, begin]
                first[label] = (first_row + row) * width + begin
            n_pixels[label] += end - begin
            last_row[label] = first_row + row
            if len(scores):
                for col in range(begin, end):
                    score_sum[label] += scores[row, col]
