"""One bit per pixel corner: where original arcs have a vertex, and whether a triangle holds one.

The question that keeps simplified and smoothed arcs apart is always the same: does this closed triangle hold an
original vertex? The triangle is walked row by row; its columns in a row are found by exact integer division, so only
bits inside it are looked at, 64 in a word.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

Words = NDArray[np.uint64]
Corners = NDArray[np.int32]

_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)


class VertexBits:
    """The original vertices (turns, junctions, ends of arcs) of a whole raster; 1 bit per pixel corner.

    An arc may be simplified or smoothed as soon as the bits of all rows that it touches are complete: triangles never
    leave its bounding box. Vertices of arcs that are still incomplete count, too: add them as they are traced.
    """

    words: Words
    """(row, word) bit `col & 63` of word `col >> 6` belongs to pixel corner (col, row)."""

    def __init__(self, height: int, width: int, file: Path | None = None) -> None:
        """No vertex yet.

        Args:
            height: pixel rows of the raster.
            width: pixel columns of the raster.
            file: where to keep the bits of a raster whose (height + 1) · (width + 1) / 8 bytes should not stay in
                memory; created or replaced, sparse at first.
        """
        shape = (height + 1, (width >> 6) + 1)
        if file is None:
            self.words = np.zeros(shape, np.uint64)
        else:
            self.words = np.memmap(file, np.uint64, "w+", shape=shape).view(np.ndarray)

    def add(self, corners: Corners) -> None:
        """Set the bits of original vertices.

        Args:
            corners: (vertex, 2) column and row; vertices may repeat and come in any order.
        """
        set_vertices(self.words, corners)


@njit(cache=True, nogil=True)
def set_vertices(words: Words, corners: Corners) -> None:
    """Set the bit of each of the (vertex, 2) corners."""
    for i in range(len(corners)):
        col = corners[i, 0]
        words[corners[i, 1], col >> 6] |= _ONE << np.uint64(col & 63)


@njit(cache=True, nogil=True)
def clear_vertex(words: Words, col: int, row: int) -> None:
    """Unset the bit of one corner."""
    words[row, col >> 6] &= ~(_ONE << np.uint64(col & 63))


@njit(cache=True, nogil=True)
def crowded(words: Words, a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], unit: int, own: int) -> bool:
    """Whether a closed triangle holds more vertices than its own.

    Args:
        words: of `VertexBits`.
        a: (x, y) first corner of the triangle in 1/unit pixel; likewise b and c. All lie in the raster.
        b: second corner.
        c: third corner.
        unit: parts of a pixel; columns and rows times unit below 2³⁰ keep all products in 64 bits.
        own: number of set bits that may lie in it, its own corners.
    """
    if b[1] < a[1]:
        a, b = b, a
    if c[1] < a[1]:
        a, c = c, a
    if c[1] < b[1]:
        b, c = c, b
    for row in range(-(-a[1] // unit), c[1] // unit + 1):
        low, high = _columns(a, b, c, row * unit, unit)
        own -= _count(words[row], low, high, own)
        if own < 0:
            return True
    return False


@njit(cache=True, nogil=True)
def _columns(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], y: int, unit: int) -> tuple[int, int]:
    """First and last whole column inside a triangle at height y; a, b, c go downward."""
    if a[1] == c[1]:
        return -(-min(a[0], b[0], c[0]) // unit), max(a[0], b[0], c[0]) // unit
    # On the long side ac: x = p / q. On the short sides ab or bc: x = r / s.
    q = c[1] - a[1]
    p = a[0] * q + (c[0] - a[0]) * (y - a[1])
    if y == b[1]:
        s = 1
        r = b[0]
    elif y < b[1]:
        s = b[1] - a[1]
        r = a[0] * s + (b[0] - a[0]) * (y - a[1])
    else:
        s = c[1] - b[1]
        r = b[0] * s + (c[0] - b[0]) * (y - b[1])
    if (b[0] - a[0]) * q < (c[0] - a[0]) * (b[1] - a[1]):  # b lies to the left of the long side
        return -(-r // (s * unit)), p // (q * unit)
    return -(-p // (q * unit)), r // (s * unit)


@njit(cache=True, nogil=True)
def _count(words: Words, low: int, high: int, enough: int) -> int:
    """Number of set bits in columns low … high of a row; counting ends when there are more than enough."""
    count = 0
    for k in range(low >> 6, (high >> 6) + 1):
        word = words[k]
        if word == 0:
            continue
        if k == low >> 6:
            word &= _ALL << np.uint64(low & 63)
        if k == high >> 6:
            word &= _ALL >> np.uint64(63 - (high & 63))
        while word != 0:
            word &= word - _ONE
            count += 1
            if count > enough:
                return count
    return count
