"""4-connected components of one band of rows, on runs: maximal stretches of equal code within a row.

The runs of a row partition it, so two neighboring rows are merged by walking their runs side by side, and no pixel
is looked at twice. Union-find keeps the smallest run as root: the root is the component's first run, whose start
is its first pixel, and one sweep in run order numbers the components by first pixel (Wu, Otoo & Suzuki 2009).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING

Int32s = NDArray[np.int32]
Codes = NDArray[Any]


@dataclass(frozen=True)
class Runs:
    """The labeled runs of one band of rows."""

    shape: tuple[int, int]
    """(rows, columns) of the band."""
    starts: Int32s
    """(run + 1,) row · width + column in the band of each run's first pixel, then the number of pixels."""
    labels: Int32s
    """(run,) component within the band, numbered by first pixel, or NOTHING."""
    n: int
    """Number of components."""

    def __post_init__(self) -> None:
        if len(self.starts) != len(self.labels) + 1 or self.starts[-1] != self.shape[0] * self.shape[1]:
            raise ValueError(
                f"{len(self.labels)} runs do not cover a band of {self.shape[0]} × {self.shape[1]} pixels."
            )

    def paint(self, numbers: Int32s, out: Int32s) -> None:
        """Write each component's number into its pixels.

        Args:
            numbers: (component,) what to write, by label.
            out: (row, col) of the band's shape, also a view of something wider; NOTHING where no component is.
        """
        _paint(self.starts, self.labels, numbers, out)


def wanted_pixels(codes: Codes, nodata: int | None, skip: Collection[int] = ()) -> NDArray[np.bool_]:
    """(row, col) True where a pixel belongs to a polygon: neither nodata nor of a skipped class.

    Args:
        codes: (row, col) integers.
        nodata: code of what is not there; None: all pixels are.
        skip: codes of the classes that get no polygons.
    """
    wanted: NDArray[np.bool_] = np.ones(codes.shape, np.bool_) if nodata is None else codes != nodata
    for code in skip:
        wanted &= codes != code
    return wanted


def label_runs(codes: Codes, wanted: NDArray[np.bool_]) -> Runs:
    """Label the 4-connected components of equal code among the wanted pixels of a band.

    Args:
        codes: (row, col) uint8, uint16 or int32; fewer than 2³¹ pixels.
        wanted: (row, col) True = belongs to a component.

    Raises:
        ValueError: the arrays do not match, or the band is empty or too large to be counted in 32 bits.
    """
    if codes.ndim != 2 or codes.shape != wanted.shape or not 0 < codes.size < 2**31:
        raise ValueError(f"codes {codes.shape} and wanted {wanted.shape}: bands are equal, 2-D, of 1 … 2³¹ - 1 pixels.")
    starts, parents = np.empty(codes.size + 1, np.int32), np.empty(codes.size, np.int32)  # the worst; mostly untouched
    n_runs = _join_runs(np.ascontiguousarray(codes), np.ascontiguousarray(wanted), starts, parents)
    n = number_sets(parents[:n_runs])
    return Runs((codes.shape[0], codes.shape[1]), starts[: n_runs + 1].copy(), parents[:n_runs].copy(), n)


def label_band(codes: Codes, wanted: NDArray[np.bool_]) -> tuple[Int32s, int]:
    """Label the 4-connected components of equal code among the wanted pixels.

    Args:
        codes: (row, col) uint8, uint16 or int32.
        wanted: (row, col) True = belongs to a component.

    Returns:
        (row, col) component of each pixel, numbered by first pixel in row order, NOTHING elsewhere; and how many.
    """
    runs = label_runs(codes, wanted)
    labels = np.empty(runs.shape, np.int32)
    runs.paint(np.arange(runs.n, dtype=np.int32), labels)
    return labels, runs.n


@njit(cache=True, nogil=True)
def root(parents: Int32s, node: int) -> int:
    """The set's smallest member; halves the path on its way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@njit(cache=True, nogil=True)
def unite(parents: Int32s, one: int, other: int) -> None:
    """Join two sets; the smaller root becomes the root of both."""
    one, other = root(parents, one), root(parents, other)
    if one < other:
        parents[other] = one
    else:
        parents[one] = other


@njit(cache=True, nogil=True)
def _join_runs(codes: Codes, wanted: NDArray[np.bool_], starts: Int32s, parents: Int32s) -> int:
    """Fill starts (and the end after the last) and parents (NOTHING for unwanted runs); the number of runs."""
    height, width = codes.shape
    n_runs, above = 0, 0
    for row in range(height):
        first = n_runs
        n_runs = _runs_of_row(codes[row], wanted[row], row * width, n_runs, starts, parents)
        if row:
            _join_rows(codes, width, above, first, n_runs, starts, parents)
        above = first
    starts[n_runs] = height * width
    return n_runs


@njit(cache=True, nogil=True)
def _runs_of_row(
    codes: Codes, wanted: NDArray[np.bool_], offset: int, run: int, starts: Int32s, parents: Int32s
) -> int:
    code, is_wanted = codes[0], wanted[0]
    starts[run] = offset
    parents[run] = run if is_wanted else NOTHING
    for col in range(1, len(codes)):
        if codes[col] != code or wanted[col] != is_wanted:
            code, is_wanted = codes[col], wanted[col]
            run += 1
            starts[run] = offset + col
            parents[run] = run if is_wanted else NOTHING
    return run + 1


@njit(cache=True, nogil=True)
def _join_rows(codes: Codes, width: int, above: int, first: int, end: int, starts: Int32s, parents: Int32s) -> None:
    """Unite the runs of one row (first … end - 1) with those of equal code over them (above … first - 1)."""
    upper_row, lower_row = codes[starts[above] // width], codes[starts[first] // width]
    upper_offset, lower_offset = starts[above], starts[first]
    upper, lower = above, first
    while upper < first and lower < end:
        upper_code = upper_row[starts[upper] - upper_offset]
        if upper_code == lower_row[starts[lower] - lower_offset] and parents[upper] >= 0 and parents[lower] >= 0:
            unite(parents, upper, lower)
        upper_end = starts[upper + 1] - upper_offset if upper + 1 < first else width
        lower_end = starts[lower + 1] - lower_offset if lower + 1 < end else width
        upper += upper_end <= lower_end
        lower += lower_end <= upper_end


@njit(cache=True, nogil=True)
def number_sets(parents: Int32s) -> int:
    """Turn parents, in place, into component numbers; how many there are."""
    n = 0
    for run in range(len(parents)):
        parent = parents[run]
        if parent == run:
            parents[run] = n
            n += 1
        elif parent >= 0:
            parents[run] = parents[parent]  # a parent comes first, so it is a number by now
    return n


@njit(cache=True, nogil=True)
def _paint(starts: Int32s, labels: Int32s, numbers: Int32s, out: Int32s) -> None:
    width = out.shape[1]
    for run in range(len(labels)):
        number = numbers[labels[run]] if labels[run] >= 0 else NOTHING
        row = starts[run] // width
        offset = row * width
        for col in range(starts[run] - offset, starts[run + 1] - offset):
            out[row, col] = number
