"""Room for chips: memory for small sets, an unnamed file for large ones."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.errors import OutputError
from geoseg.io import posix

IN_MEMORY = 2**30
"""Bytes of an array that is kept in memory; a larger one is a memory map."""


def room(shape: tuple[int, ...], dtype: DTypeLike, scratch: Path | None, *, limit: int = IN_MEMORY) -> NDArray[Any]:
    """An array of zeros; its file, if it needs one, has no name and goes with the last reference to it.

    Args:
        shape: of the array.
        dtype: of the array.
        scratch: folder on the disk that has room; None: memory in any case.
        limit: bytes up to which it is memory.

    Raises:
        OutputError: the disk has no room.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if scratch is None or size <= limit:
        return np.zeros(shape, dtype)
    free = posix.free_bytes(scratch)
    if free < size:
        raise OutputError(
            f"training chips take {size} bytes in {scratch}, {free} are free: make room, choose another -o, or label "
            f"less."
        )
    with posix.disk_errors("training chips", scratch, size), tempfile.TemporaryFile(dir=scratch) as file:
        file.truncate(size)
        return np.memmap(file, dtype, "r+", shape=shape)


def rows(array: NDArray[Any], numbers: NDArray[np.intp], scratch: Path | None) -> NDArray[Any]:
    """Some rows of an array: neighbors of a memory map as a view of it, others copied to where they have room."""
    mapped = isinstance(array, np.memmap)
    if mapped and len(numbers) and np.array_equal(numbers, np.arange(numbers[0], numbers[0] + len(numbers))):
        return array[numbers[0] : numbers[0] + len(numbers)]
    if not mapped or scratch is None:
        return array[numbers]
    out = room((len(numbers), *array.shape[1:]), array.dtype, scratch)
    for to, number in enumerate(numbers):
        out[to] = array[number]
    return out
