"""Polygons of finished runs, read back row by row and laid into one table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import rasterio
import shapely
from pyogrio.raw import open_arrow
from pyproj import CRS

from geoseg.classes import ClassScheme
from geoseg.errors import InputError
from geoseg.ground import AreaModelName
from geoseg.io.class_raster import CLASSES_TAG
from geoseg.io.ogr import OGR_ERRORS
from geoseg.io.polygon_rows import OBJECT_SCHEMA, SCHEMA, StoredPolygons, binary_parts, regrouped
from geoseg.io.posix import disk_errors
from geoseg.io.vector import READ_ROWS
from geoseg.polygons.table import Totals
from geoseg.polygons.wkb import bounds_of

MERGEABLE = (".parquet", ".gpkg")
"""Formats whose rows come back in the order and with the values that were written."""


@dataclass(frozen=True)
class FinishedPolygons:
    """The polygons of one run, as their file and the class raster beside it tell."""

    path: Path
    crs: CRS
    scheme: ClassScheme
    tags: dict[str, str]
    """Of the class raster."""
    geometry_type: str
    has_objects: bool
    """Whether its table is of `OBJECT_SCHEMA`."""


def finished_polygons(path: Path, classes: Path) -> FinishedPolygons:
    """Look at the polygons of a run; no row is read.

    Args:
        path: GeoPackage or GeoParquet that geoseg wrote.
        classes: the class raster that they outline.

    Raises:
        InputError: either is not what geoseg writes.
    """
    try:
        if path.suffix == ".parquet":
            schema = pq.read_schema(path)
            column = json.loads(schema.metadata[b"geo"])["columns"]["geometry"]
            crs, kind, names = CRS.from_user_input(column["crs"]), column["geometry_types"][0], schema.names
        else:
            facts = pyogrio.read_info(path, layer=_layer(path))
            crs, kind, names = CRS.from_user_input(facts["crs"]), facts["geometry_type"], facts["fields"]
        with rasterio.open(classes) as dataset:
            tags = dataset.tags()
        scheme = ClassScheme.from_json(json.loads(tags[CLASSES_TAG]))
    except (*OGR_ERRORS, rasterio.RasterioIOError, pa.ArrowException, KeyError, ValueError) as error:
        raise InputError(f"{path} and {classes.name} are no finished run's ({error}); run that scene again.") from error
    missing = set(SCHEMA.names) - {"geometry", *names}
    if missing:
        raise InputError(f"{path} has no {', '.join(sorted(missing))}: geoseg did not write it; run that scene again.")
    return FinishedPolygons(path, crs, scheme, tags, str(kind), "inst_id" in names)


def merged_rows(sources: Sequence[FinishedPolygons], area_model: AreaModelName, path: Path) -> StoredPolygons:
    """Write the rows of several runs into one file, run by run; memory: some record batches.

    Args:
        sources: at least one; alike in CRS, classes and kind of table.
        area_model: how their areas were measured.
        path: file to create.

    Raises:
        InputError: a file cannot be read to its end.
        OutputError: the disk refuses.
    """
    first, parts = sources[0], [_nothing(len(sources[0].scheme))]
    schema = OBJECT_SCHEMA if first.has_objects else SCHEMA
    longest = ""

    def rows() -> Iterator[pa.RecordBatch]:
        nonlocal longest
        for source in sources:
            before = -1
            for batch in _rows(source, schema):
                parts.append(_totals(batch, source.scheme, before))
                before = batch["poly_id"][-1].as_py()
                longest = max(longest, batch["scene_id"][0].as_py(), key=len)
                yield batch

    with disk_errors("polygons", path), path.open("wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in regrouped(rows()):
            writer.write_batch(batch)
    return StoredPolygons(
        path,
        first.scheme,
        first.crs,
        area_model,
        longest,
        Totals.sum(parts),
        geometry_type="MultiPolygon" if first.geometry_type == "MultiPolygon" else "Polygon",
        schema=schema,
    )


def _layer(path: Path) -> str:
    return str(pyogrio.list_layers(path)[0, 0])


def _rows(source: FinishedPolygons, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Batches that are not empty, in the schema."""
    try:
        if source.path.suffix == ".parquet":
            with pq.ParquetFile(source.path) as file:
                yield from (_row_batch(batch, "geometry", schema) for batch in file.iter_batches(READ_ROWS))
            return
        with open_arrow(source.path, layer=_layer(source.path), use_pyarrow=True, batch_size=READ_ROWS) as found:
            facts, reader = found
            name = facts["geometry_name"] or "wkb_geometry"
            yield from (_row_batch(batch, name, schema) for batch in reader if batch.num_rows)
    except (*OGR_ERRORS, pa.ArrowException) as error:
        raise InputError(f"{source.path} does not read back ({error}); run that scene again.") from error


def _row_batch(batch: pa.RecordBatch, geometry: str, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field in schema:
        column = batch.column(geometry if field.name == "geometry" else field.name)
        plain = column.storage if isinstance(column, pa.ExtensionArray) else column
        columns.append(plain.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _nothing(n: int) -> Totals:
    zeros = np.zeros(n, np.int64)
    return Totals(zeros, zeros, np.zeros(n), 0, 0, np.array([np.inf, np.inf, -np.inf, -np.inf]))


def _totals(batch: pa.RecordBatch, scheme: ClassScheme, before: int) -> Totals:
    """Sums over rows; rows of one component that follow each other count its pixels once."""
    n, codes = len(scheme), np.array(scheme.codes)
    order = np.argsort(codes)
    at = order[np.searchsorted(codes[order], batch["class_id"].to_numpy())]
    new = np.diff(batch["poly_id"].to_numpy(), prepend=before) != 0
    n_pixels = np.zeros(n, np.int64)
    np.add.at(n_pixels, at[new], batch["n_pixels"].to_numpy()[new])
    shapes = shapely.get_parts(shapely.from_wkb(batch["geometry"].to_numpy(zero_copy_only=False)))
    boxes = bounds_of(*binary_parts(batch["geometry"]))
    return Totals(
        count=np.bincount(at, minlength=n),
        n_pixels=n_pixels,
        area_m2=np.asarray(np.bincount(at, weights=batch["area_m2"].to_numpy(), minlength=n), np.float64),
        n_rings=int(len(shapes) + shapely.get_num_interior_rings(shapes).sum()),
        n_vertices=int(shapely.get_num_coordinates(shapes).sum()),
        bounds=np.append(boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)),
    )
