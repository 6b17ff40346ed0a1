"""The component table: what is known of each component besides its shape, in exact integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Codes, Int32s, Runs

Ints = NDArray[np.int64]


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
        table = _blank(len(self), first=self.first, code=self.code if code is None else code)
        return _fold(table, into, self.take(kept))


def merge_tables(parts: Iterable[Components], numbers: Int32s) -> Components:
    """One table from the bands' own.

    Args:
        parts: each band's, in row order; taken one after the other, so that they need not stay.
        numbers: component of each row of each part.
    """
    n, at = int(numbers.max(initial=-1)) + 1, 0
    table = _blank(n, first=np.full(n, np.iinfo(np.int64).max), code=np.zeros(n, np.int32))
    for part in parts:
        into = numbers[at : at + len(part)]
        table.code[into] = part.code
        np.minimum.at(table.first, into, part.first)
        _fold(table, into, part)
        at += len(part)
    return table


def _blank(n: int, *, first: Ints, code: Int32s) -> Components:
    return Components(code, np.zeros(n, np.int64), first, np.full(n, -1, np.int32), np.zeros(n, np.int64))


def _fold(table: Components, into: NDArray[np.integer], rows: Components) -> Components:
    """Enter rows that belong to a table's components: pixels and scores add up, the last row counts."""
    np.add.at(table.n_pixels, into, rows.n_pixels)
    np.add.at(table.score_sum, into, rows.score_sum)
    np.maximum.at(table.last_row, into, rows.last_row)
    return table


def measure_band(runs: Runs, first_row: int, codes: Codes, scores: NDArray[Any]) -> Components:
    """The table of one band.

    Args:
        runs: the labeled band.
        first_row: its first row in the raster.
        codes: (row, col) what was labeled.
        scores: (row, col) what to sum over each component, or (0, 0).
    """
    code, last_row = np.empty(runs.n, np.int32), np.empty(runs.n, np.int32)
    n_pixels, first, score_sum = np.zeros(runs.n, np.int64), np.empty(runs.n, np.int64), np.zeros(runs.n, np.int64)
    _measure(runs.starts, runs.labels, first_row, codes, scores, code, n_pixels, first, last_row, score_sum)
    return Components(code, n_pixels, first, last_row, score_sum)


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
