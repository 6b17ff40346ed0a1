"""The rows of polygon tables: one schema for all formats, kept in one Arrow file that every format is fed from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.classes import ClassScheme
from geoseg.errors import OutputError
from geoseg.ground import AreaModelName
from geoseg.io import posix
from geoseg.polygons.table import Polygons, Totals
from geoseg.polygons.wkb import VERTEX_BYTES, polygon_sizes, write_wkb

SCHEMA = pa.schema(
    [
        pa.field("geometry", pa.binary(), nullable=False),
        pa.field("poly_id", pa.int64(), nullable=False),
        pa.field("class_id", pa.int32(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("area_m2", pa.float64(), nullable=False),
        pa.field("area_ha", pa.float64(), nullable=False),
        pa.field("perim_m", pa.float64(), nullable=False),
        pa.field("n_pixels", pa.int64(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("scene_id", pa.string(), nullable=False),
        pa.field("img_date", pa.date32()),
    ]
)
"""Names have at most ten characters, as in a Shapefile; the geometry is WKB in the table's CRS."""
BOX = ("min_x", "min_y", "max_x", "max_y")
OBJECT_SCHEMA = SCHEMA
"""`SCHEMA` and what is told of objects where there are things: the number, null for all else, and the bounding box."""
for _field in (pa.field("inst_id", pa.int64()), *(pa.field(side, pa.float64(), nullable=False) for side in BOX)):
    OBJECT_SCHEMA = OBJECT_SCHEMA.append(_field)
BATCH_ROWS = 50_000
"""Rows of a record batch, hence of a row group in GeoParquet; the last one has fewer."""
BATCH_BYTES = 1 << 26
"""Geometry of a record batch, unless a single polygon has more."""
LARGEST_GEOMETRY = 10**9
"""SQLite, hence GeoPackage, takes no larger value; Arrow's plain binary columns end at twice that."""


@dataclass(frozen=True)
class StoredPolygons:
    """All polygons of a class raster, or one multipolygon for each class, in an Arrow IPC stream on disk."""

    path: Path
    scheme: ClassScheme
    crs: CRS
    area_model: AreaModelName
    scene_id: str
    totals: Totals
    """Its `count` counts rows."""
    img_date: date | None = None
    geometry_type: Literal["Polygon", "MultiPolygon"] = "Polygon"
    schema: pa.Schema = SCHEMA

    def __len__(self) -> int:
        return int(self.totals.count.sum())

    @property
    def count_by_class(self) -> dict[str, int]:
        """Number of polygons of every class of the scheme, by name."""
        return dict(zip(self.scheme.names, self.totals.count.tolist(), strict=True))

    @property
    def area_m2_by_class(self) -> dict[str, float]:
        """Summed area of every class of the scheme, by name."""
        return dict(zip(self.scheme.names, self.totals.area_m2.tolist(), strict=True))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in `schema`, read anew; pages of a mapped file would count as this process's memory."""
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_stream(source) as reader:
            yield from reader


def store_polygons(
    tables: Iterable[Polygons], path: Path, grown: Callable[[Polygons, Path, int], None] | None = None
) -> StoredPolygons:
    """Write the tables of one map into a file, one after the other; memory: a table and a record batch.

    Args:
        tables: at least one, possibly empty, all of one class raster.
        path: file to create.
        grown: told a table, the file and how many of its bytes stand, whenever there are more.

    Raises:
        OutputError: the disk refuses, or a polygon is larger than any format holds.
    """
    parts: list[Totals] = []
    rest = iter(tables)
    first = next(rest, None)
    if first is None:
        raise ValueError("a map without tables has no classes: give at least an empty one.")
    schema = SCHEMA if first.inst_id is None else OBJECT_SCHEMA

    def rows() -> Iterator[pa.RecordBatch]:
        for table in chain([first], rest):
            parts.append(Totals.of(table))
            yield from _rows(table)

    with (
        posix.disk_errors("polygons", path),
        pa.OSFile(str(path), "wb") as sink,  # a file of Python's would get copies
        pa.ipc.new_stream(sink, schema) as writer,
    ):
        for batch in regrouped(rows()):
            writer.write_batch(batch)
            if grown is not None:
                sink.flush()
                grown(first, path, sink.tell())
    facts = (first.scheme, first.crs, first.area_model, first.scene_id)
    return StoredPolygons(path, *facts, Totals.sum(parts), first.img_date, schema=schema)


def _rows(table: Polygons) -> Iterator[pa.RecordBatch]:
    """A table's rows, cut where a batch's geometry would grow too large.

    Raises:
        OutputError: a polygon is larger than any format holds.
    """
    sizes = polygon_sizes(table.ring_starts, table.polygon_starts)
    if sizes.max(initial=0) > LARGEST_GEOMETRY:
        which, points = table.poly_id[sizes.argmax()], int(sizes.max()) // VERTEX_BYTES
        raise OutputError(
            f"polygon {which} has {points} vertices, more than files hold: simplify (--simplify), "
            "raise the minimum mapping unit (--mmu), or leave its class out (--skip-classes)."
        )
    for first, end in pairwise(batch_edges(sizes)):
        part = slice(first, end)
        columns = {
            "geometry": _wkb_column(table, first, end),
            "poly_id": table.poly_id[part],
            "class_id": table.class_id[part],
            "area_m2": table.area_m2[part],
            "perim_m": table.perim_m[part],
            "n_pixels": table.n_pixels[part],
            "score": None if table.score is None else table.score[part],
            **({} if table.inst_id is None else _of_objects(table, part)),
        }
        yield row_batch(columns, table.class_index[part], table)


def _of_objects(table: Polygons, part: slice) -> dict[str, Any]:
    """The columns of `OBJECT_SCHEMA` that `SCHEMA` has not."""
    ids = pa.array(table.inst_id[part], mask=table.inst_id[part] == 0)  # type: ignore[index]
    return {"inst_id": ids, **dict(zip(BOX, table.boxes[part].T, strict=True))}


def batch_edges(sizes: NDArray[np.int64]) -> list[int]:
    """First row of each record batch, then the number of rows, so that no batch grows too large.

    Args:
        sizes: (row,) bytes of each geometry.
    """
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // BATCH_BYTES, prepend=0))
    by_rows = np.arange(0, len(sizes), BATCH_ROWS)
    edges: list[int] = np.unique(np.concatenate([by_rows, cuts, [0, len(sizes)]])).tolist()
    return edges


def row_batch(
    columns: Mapping[str, Any], class_index: NDArray[np.int64], table: Polygons | StoredPolygons
) -> pa.RecordBatch:
    """Rows in one of the schemas, from what differs from row to row and what all rows of a table have in common.

    Args:
        columns: geometry, poly_id, class_id, area_m2, perim_m, n_pixels, score or None, and perhaps what is told of
            objects; each (row,).
        class_index: (row,) place of each row's class in the scheme.
        table: of the rows.
    """
    n, day = len(class_index), table.img_date
    names = pa.DictionaryArray.from_arrays(class_index, list(table.scheme.names))
    found = {
        **columns,
        "class_name": names.dictionary_decode(),
        "area_ha": columns["area_m2"] / 1e4,
        "score": pa.nulls(n, pa.float64()) if columns["score"] is None else columns["score"],
        "scene_id": pa.repeat(table.scene_id, n),
        "img_date": pa.nulls(n, pa.date32()) if day is None else pa.repeat(pa.scalar(day, pa.date32()), n),
    }
    schema = OBJECT_SCHEMA if "inst_id" in columns else SCHEMA
    return pa.RecordBatch.from_arrays([pa.array(found[f.name], f.type) for f in schema], schema=schema)


def binary_parts(column: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """(byte,) data of a binary column and (row + 1,) first byte of each value, then the end of the last; no copy."""
    _, offsets, data = column.buffers()
    found = np.frombuffer(offsets, np.int32)
    return np.frombuffer(data, np.uint8), found[column.offset : column.offset + len(column) + 1]


def largest_geometry(batch: pa.RecordBatch) -> int:
    """Bytes of the largest geometry of a batch; 0: it has none."""
    return pc.max(pc.binary_length(batch["geometry"])).as_py() or 0


def _wkb_column(table: Polygons, first: int, end: int) -> pa.Array:
    polygons = table.polygon_starts[first : end + 1]
    rings = table.ring_starts[polygons[0] : polygons[-1] + 1]
    data, offsets = write_wkb(table.xy[rings[0] : rings[-1]], rings - rings[0], polygons - polygons[0])
    buffers = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.binary(), end - first, buffers)


def regrouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of `BATCH_ROWS`, or fewer where their geometry is large."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        for first in range(0, batch.num_rows, BATCH_ROWS):
            piece = batch.slice(first, BATCH_ROWS)
            together = [*waiting, piece]
            if sum(b.num_rows for b in together) > BATCH_ROWS or sum(b.nbytes for b in together) > 2 * BATCH_BYTES:
                yield from _combined(waiting)
                together = [piece]
            waiting = together
    yield from _combined(waiting)


def _combined(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return pa.Table.from_batches(batches).combine_chunks().to_batches() if batches else []
