"""`--dissolve`: one multipolygon for each class, gathered on disk while polygons come in.

Two components of one class share no edge (they would be one), they only touch in points. So the multipolygon of a
class is valid as it stands: its components' polygons, one after the other. Parts that `--max-vertices` made do share
edges: they cannot be dissolved.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.io import posix

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_BYTES = 2**31 - 1
"""What one geometry may take: no Arrow column of binaries and no GeoPackage holds more."""
_HEAD = struct.Struct("<BII")
_MULTIPOLYGON = 6


@dataclass(frozen=True)
class Rows:
    """Polygons of components and what adds up over a class; all arrays are (polygon,)."""

    wkb: NDArray[np.object_]
    """WKB of each polygon, little-endian, in two dimensions, as bytes."""
    class_id: Ints
    """Class code."""
    poly_id: Ints
    """row · width + column of the first pixel."""
    n_pixels: Ints
    """Pixels."""
    score_sum: Ints
    """Sum of the confidence raster over the pixels."""
    area_m2: Floats
    """Area, ground square meters."""
    perim_m: Floats
    """Length of all rings, ground meters."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in vars(self).values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of {sorted(lengths)} rows.")

    def __len__(self) -> int:
        return len(self.wkb)


class Dissolver:
    """Gathers polygons by class; a context manager that deletes its file.

    A multipolygon's members stand in the order in which they came. Memory: 16 bytes a polygon, a few numbers for each
    class of each batch; while a class is given out, twice its geometry.

    Args:
        path: a file to be, in an existing folder; grows to the size of all geometries.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._stretches: dict[int, list[tuple[int, int]]] = {}
        self._sums: dict[int, _Sums] = {}

    def __enter__(self) -> Self:
        """Create the file.

        Raises:
            OutputError: the disk refuses.
        """
        with posix.disk_errors("dissolved polygons", self._path):
            self._file = cast("BinaryIO", self._path.open("w+b"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)

    def add(self, rows: Rows) -> None:
        """Take polygons in.

        Raises:
            OutputError: the disk refuses.
        """
        if not len(rows):
            return
        order = np.argsort(rows.class_id, kind="stable")
        classes, first = np.unique(rows.class_id[order], return_index=True)
        for code, mine in zip(classes.tolist(), np.split(order, first[1:]), strict=True):
            data = b"".join(rows.wkb[mine])
            with posix.disk_errors("dissolved polygons", self._path):
                self._open_file.seek(self._size)
                self._open_file.write(data)
            self._stretches.setdefault(code, []).append((self._size, len(data)))
            self._size += len(data)
            self._sums.setdefault(code, _Sums()).add(rows, mine)

    def classes(self) -> Iterator[Rows]:
        """One row for each class, by class code: its multipolygon, sums, and the smallest `poly_id`.

        Raises:
            InputError: a class is too large for one geometry.
            OutputError: the disk refuses.
        """
        for code in sorted(self._stretches):
            stretches = self._stretches[code]
            size = _HEAD.size + sum(length for _, length in stretches)
            if size > MOST_BYTES:
                raise InputError(
                    f"--dissolve: class {code} makes one geometry of {size} bytes, formats hold at most {MOST_BYTES}: "
                    f"leave --dissolve out, or simplify (--mmu, --simplify)."
                )
            wkb = bytearray(_HEAD.pack(1, _MULTIPOLYGON, self._sums[code].count))
            with posix.disk_errors("dissolved polygons", self._path):
                for start, length in stretches:
                    self._open_file.seek(start)
                    wkb += self._open_file.read(length)
            yield self._sums[code].row(code, bytes(wkb))

    @property
    def _open_file(self) -> BinaryIO:
        if self._file is None:
            raise ValueError(f"{self._path} is not open; use the dissolver in a with block.")
        return self._file


@dataclass
class _Sums:
    """What adds up over a class, exactly, so that the order in which polygons come does not show."""

    poly_id: int = np.iinfo(np.int64).max
    count: int = 0
    n_pixels: int = 0
    score_sum: int = 0
    areas: list[Floats] = field(default_factory=list)
    perimeters: list[Floats] = field(default_factory=list)

    def add(self, rows: Rows, mine: Ints) -> None:
        self.poly_id = min(self.poly_id, int(rows.poly_id[mine].min()))
        self.count += len(mine)
        self.n_pixels += int(rows.n_pixels[mine].sum())
        self.score_sum += int(rows.score_sum[mine].sum())
        self.areas.append(rows.area_m2[mine])
        self.perimeters.append(rows.perim_m[mine])

    def row(self, code: int, wkb: bytes) -> Rows:
        area_m2, perim_m = (math.fsum(np.concatenate(parts)) for parts in (self.areas, self.perimeters))
        numbers = (code, self.poly_id, self.n_pixels, self.score_sum, area_m2, perim_m)
        return Rows(np.array([wkb], object), *(np.array([number]) for number in numbers))
