"""The intermediate raster: takes tile cores in any order, raw pixels row by row in one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.errors import OutputError
from geoseg.grid import Grid, Window
from geoseg.io import posix

_FILL_BYTES = 4 * 2**20
_BAND_PX = 2**23


class RasterSpool:
    """Bands on a grid, written at random, without compression; a context manager that deletes its file.

    Tile cores are not aligned to storage blocks, so a tiled TIFF would read, change and write every block several
    times. Here each row of a core is one write, band after band. The file is filled at the start: what no core covers
    is nodata, and a full disk shows before hours of work (a sparse or mapped file would die later, by a signal).

    Memory: one fill buffer of 4 MiB. Not thread-safe: the coordinator alone writes.

    Args:
        path: the file, in an existing folder.
        grid: where the pixels lie.
        dtype: uint8 or uint16, say; stored little-endian.
        fill: value of pixels that no core covers.
        bands: how many.
    """

    def __init__(self, path: Path, grid: Grid, dtype: DTypeLike, fill: int, *, bands: int = 1) -> None:
        self.path = path
        self.grid = grid
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.fill = fill
        self.bands = bands
        self._file: BinaryIO | None = None

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return self.bands * self.band_bytes

    @property
    def band_bytes(self) -> int:
        """Length of one band."""
        return self.grid.width * self.grid.height * self.dtype.itemsize

    def __enter__(self) -> Self:
        """Create the file and fill it.

        Raises:
            OutputError: the file cannot be created, or the disk cannot hold it and the raster made from it.
        """
        needed, free = needed_bytes(self.grid, self.dtype, self.bands), posix.free_bytes(self.path.parent)
        if free < needed:
            raise OutputError(
                f"writing {self.path} and the raster made from it needs {needed} bytes, {free} are free: "
                f"make room or choose another -o."
            )
        with posix.disk_errors("intermediate raster", self.path, self.size_bytes):
            self._file = cast("BinaryIO", self.path.open("w+b", buffering=0))
            try:
                self._fill_file()
            except BaseException:
                self._discard()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the file."""
        self._discard()

    def write(self, window: Window, array: NDArray[Any]) -> None:
        """Store the pixels of a window.

        Args:
            window: inside the grid.
            array: (row, col), or (band, row, col) for several bands, of the spool's type.

        Raises:
            ValueError: window outside the grid, or array of another shape or type.
            OutputError: the disk refuses.
        """
        self._check(window)
        planes = array[None] if array.ndim == 2 else array
        if planes.shape != (self.bands, *window.shape) or array.dtype != self.dtype:
            raise ValueError(
                f"{array.dtype} array {array.shape} does not fit window {window.shape} of a {self.dtype} spool "
                f"of {self.bands} bands."
            )
        with posix.disk_errors("intermediate raster", self.path, self.size_bytes):
            for band, plane in enumerate(planes):
                rows = np.ascontiguousarray(plane, dtype=self.dtype)
                if window.width == self.grid.width:
                    self._write_at(window, 0, band, rows)
                    continue
                for row in range(window.height):
                    self._write_at(window, row, band, rows[row])

    def read(self, window: Window, band: int = 0) -> NDArray[Any]:
        """Pixels of a window of a band (0-based), (row, col).

        Raises:
            ValueError: window outside the grid.
            OutputError: the file was cut short behind our back.
        """
        self._check(window)
        out = np.empty(window.shape, self.dtype)
        with posix.disk_errors("intermediate raster", self.path, self.size_bytes):
            for row in range(window.height):
                view = out[row].view(np.uint8).data
                self._open_file.seek(self._offset(window, row, band))
                while view:
                    count = self._open_file.readinto(view)  # type: ignore[attr-defined]
                    if not count:
                        raise OutputError(f"intermediate raster {self.path} ends early; something else cut it.")
                    view = view[count:]
        return out

    @property
    def _open_file(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"spool {self.path} is not open; use it in a with block.")
        return self._file

    def _check(self, window: Window) -> None:
        if window.intersection(self.grid.window) != window:
            raise ValueError(f"{window} is not inside the grid of {self.grid.width} × {self.grid.height} pixels.")

    def _offset(self, window: Window, row: int, band: int) -> int:
        pixel = (window.row_off + row) * self.grid.width + window.col_off
        return band * self.band_bytes + pixel * self.dtype.itemsize

    def _write_at(self, window: Window, row: int, band: int, pixels: NDArray[Any]) -> None:
        self._open_file.seek(self._offset(window, row, band))
        self._write(pixels.reshape(-1).view(np.uint8).data)

    def _write(self, view: memoryview) -> None:
        while view:  # an unbuffered file may take only a part
            view = view[self._open_file.write(view) :]

    def _fill_file(self) -> None:
        buffer = np.full(_FILL_BYTES // self.dtype.itemsize, self.fill, self.dtype)
        view = buffer.view(np.uint8).data
        for start in range(0, self.size_bytes, _FILL_BYTES):
            self._write(view[: self.size_bytes - start])

    def _discard(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self.path.unlink(missing_ok=True)


def needed_bytes(grid: Grid, dtype: DTypeLike, bands: int = 1) -> int:
    """Bytes of disk to ask for before a run: the spool, and as much again for its overviews (a third) and the COG.

    Pure noise would need a third more for the COG alone; whether it really fits is seen when it is read back.
    """
    return 2 * bands * grid.width * grid.height * np.dtype(dtype).itemsize


def row_bands(grid: Grid) -> Iterator[Window]:
    """Full-width windows of at most 8 Mpx (at least one row) that partition a grid from top to bottom.

    Suits raw rows, strips and tiles alike: the blocks that two bands share stay in GDAL's cache.
    """
    rows = max(1, _BAND_PX // grid.width)
    for row in range(0, grid.height, rows):
        yield Window(0, row, grid.width, min(rows, grid.height - row))
