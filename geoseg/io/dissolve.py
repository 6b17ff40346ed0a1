"""`--dissolve`: the polygons of a class as one multipolygon.

Two components of one class share no edge (they would be one), they only touch in points, and so do the pieces into
which an AOI cuts a component. So the multipolygon of a class is valid as it stands: its polygons, one after the other.
Parts that `--max-vertices` made do share edges: they cannot be dissolved.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from geoseg.errors import OutputError
from geoseg.io import posix
from geoseg.io.early import EarlyWriter
from geoseg.io.polygon_rows import (
    LARGEST_GEOMETRY,
    SCHEMA,
    StoredPolygons,
    batch_edges,
    binary_parts,
    row_batch,
    store_polygons,
)
from geoseg.polygons.assemble import SCORE_SCALE
from geoseg.polygons.table import Polygons

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_HEAD = struct.Struct("=BII")
_MULTIPOLYGON = 6


def store(
    tables: Iterable[Polygons], folder: Path, *, dissolve: bool, early: EarlyWriter | None = None
) -> StoredPolygons:
    """Write the tables of one map into a file of a folder: their polygons, or one multipolygon for each class.

    Args:
        tables: at least one, possibly empty, all of one class raster.
        folder: where files may be made; dissolving needs room for all geometries twice.
        dissolve: gather the polygons of each class.
        early: follows the rows; not for what is dissolved.

    Raises:
        OutputError: the disk refuses, or a geometry is larger than any format holds.
    """
    polygons = store_polygons(tables, folder / "polygons", None if early is None else early.grown)
    if not dissolve:
        return polygons
    found = dissolved(polygons, folder / "classes")
    polygons.path.unlink()
    return found


def dissolved(polygons: StoredPolygons, path: Path) -> StoredPolygons:
    """One row for each class that has polygons, in the order of their codes.

    `poly_id` is the smallest; areas, perimeters and pixels are sums, `score` the mean over all pixels. A component in
    several rows that follow each other counts its pixels once. Members stand in the order of the rows. A class is no
    object: what is told of these goes.

    Memory: some numbers for each class; a batch of rows, or one class while it is written, on the disk's pages.

    Args:
        polygons: whole components or pieces that share no edges; two passes over the file.
        path: file to create; grows to the size of all geometries, so does a file beside it for the time being.

    Raises:
        OutputError: the disk refuses, or a class is larger than any format holds.
    """
    sums = _sums(polygons)
    members = path.with_suffix(".wkb")
    try:
        with posix.disk_errors("dissolved polygons", members):
            _gather(polygons, sums, members)
        with (
            posix.disk_errors("dissolved polygons", path),
            path.open("wb") as sink,
            pa.ipc.new_stream(sink, SCHEMA) as writer,
        ):
            for batch in _batches(polygons, sums, members):
                writer.write_batch(batch)
    finally:
        members.unlink(missing_ok=True)
    count = np.zeros_like(polygons.totals.count)
    count[sums.class_index] = 1
    totals = replace(polygons.totals, count=count)
    return replace(polygons, path=path, totals=totals, geometry_type="MultiPolygon", schema=SCHEMA)


@dataclass
class _Sums:
    """What adds up over each class; arrays are (class,), in the order of codes, classes without polygons left out."""

    codes: Ints
    class_index: Ints
    """Place in the scheme."""
    members: Ints
    n_bytes: Ints
    """WKB of all members."""
    poly_id: Ints
    n_pixels: Ints
    score_sum: Ints
    perim_m: Floats
    scored: bool = True

    @classmethod
    def none(cls, polygons: StoredPolygons) -> _Sums:
        codes = np.array(polygons.scheme.codes, np.int64)
        order = np.argsort(codes)
        order = order[polygons.totals.count[order] > 0]
        n = len(order)
        counts = [np.zeros(n, np.int64) for _ in range(4)]
        first = np.full(n, np.iinfo(np.int64).max)
        return cls(codes[order], order, counts[0], counts[1], first, counts[2], counts[3], np.zeros(n))

    @property
    def starts(self) -> Ints:
        """(class + 1,) first byte of each multipolygon, then the number of bytes."""
        return np.concatenate([[0], np.cumsum(_HEAD.size + self.n_bytes)])

    def place(self, batch: pa.RecordBatch) -> Ints:
        """(row,) class of each row."""
        found: Ints = np.searchsorted(self.codes, batch["class_id"].to_numpy())
        return found

    def add(self, batch: pa.RecordBatch, before: int) -> None:
        """Add rows up; the row before them belongs to component `before`."""
        at, poly_id = self.place(batch), batch["poly_id"].to_numpy()
        new = np.diff(poly_id, prepend=before) != 0
        n_pixels = batch["n_pixels"].to_numpy()
        np.add.at(self.members, at, 1)
        np.add.at(self.n_bytes, at, pc.binary_length(batch["geometry"]).to_numpy())
        np.minimum.at(self.poly_id, at, poly_id)
        np.add.at(self.n_pixels, at[new], n_pixels[new])
        np.add.at(self.perim_m, at, batch["perim_m"].to_numpy())
        self.scored = self.scored and not batch["score"].null_count
        if self.scored:
            # A score is a sum of bytes, divided: the sum is what it was.
            score_sum = np.rint(batch["score"].to_numpy() * n_pixels * SCORE_SCALE).astype(np.int64)
            np.add.at(self.score_sum, at[new], score_sum[new])


def _sums(polygons: StoredPolygons) -> _Sums:
    """Sums over all rows.

    Raises:
        OutputError: a class is larger than any format holds.
    """
    sums, before = _Sums.none(polygons), -1
    for batch in polygons.batches():
        if batch.num_rows:
            sums.add(batch, before)
            before = batch["poly_id"][-1].as_py()
    sizes = np.diff(sums.starts)
    if sizes.max(initial=0) > LARGEST_GEOMETRY:
        name = polygons.scheme.names[sums.class_index[sizes.argmax()]]
        raise OutputError(
            f"--dissolve makes one geometry of {sizes.max()} bytes for class {name!r}, files hold at most "
            f"{LARGEST_GEOMETRY}: leave --dissolve out, simplify (--simplify), raise the minimum mapping unit (--mmu), "
            "or leave the class out (--skip-classes)."
        )
    return sums


def _gather(polygons: StoredPolygons, sums: _Sums, path: Path) -> None:
    """Write the multipolygons one after the other."""
    starts, ends = sums.starts, sums.starts[:-1] + _HEAD.size
    with path.open("wb", buffering=0) as file:
        for start, members in zip(starts[:-1].tolist(), sums.members.tolist(), strict=True):
            file.seek(start)
            file.write(_HEAD.pack(sys.byteorder == "little", _MULTIPOLYGON, members))
        for batch in polygons.batches():
            at = sums.place(batch)
            order = np.argsort(at, kind="stable")
            found, first = np.unique(at[order], return_index=True)
            geometry = batch["geometry"].take(pa.array(order))
            data, offsets = binary_parts(geometry)
            edges = offsets[np.append(first, len(order))].tolist()
            for target, (start, end) in zip(ends[found].tolist(), pairwise(edges), strict=True):
                file.seek(target)
                _write_all(file, data[start:end].data)
            ends[found] += np.diff(edges)


def _write_all(file: FileIO, data: memoryview) -> None:
    """Linux writes no more than 2 GiB at once, and a nearly full disk less."""
    while data:
        data = data[file.write(data) :]


def _batches(polygons: StoredPolygons, sums: _Sums, path: Path) -> Iterator[pa.RecordBatch]:
    """The rows, their geometries mapped from the file of multipolygons."""
    if not len(sums.codes):
        return
    starts, area_m2 = sums.starts, polygons.totals.area_m2[sums.class_index]
    with pa.memory_map(str(path)) as source:
        data = source.read_buffer()
        for first, end in pairwise(batch_edges(np.diff(starts))):
            part = slice(first, end)
            offsets = (starts[first : end + 1] - starts[first]).astype(np.int32)
            buffers = [None, pa.py_buffer(offsets), data.slice(starts[first], starts[end] - starts[first])]
            columns = {
                "geometry": pa.Array.from_buffers(pa.binary(), end - first, buffers),
                "poly_id": sums.poly_id[part],
                "class_id": sums.codes[part],
                "area_m2": area_m2[part],
                "perim_m": sums.perim_m[part],
                "n_pixels": sums.n_pixels[part],
                "score": sums.score_sum[part] / (SCORE_SCALE * sums.n_pixels[part]) if sums.scored else None,
            }
            yield row_batch(columns, sums.class_index[part], polygons)
