"""The rows of a polygon table: one schema, whose names have at most ten characters, for all formats."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import shapely

from geoseg.polygons.table import Polygons

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
BATCH = 50_000
"""Rows that are turned into Arrow at once."""


def batches(polygons: Polygons) -> Iterator[pa.RecordBatch]:
    """A table's rows in `SCHEMA`, at most `BATCH` at once; the geometry is WKB in the table's CRS."""
    names = polygons.class_name
    for first in range(0, len(polygons), BATCH):
        part = slice(first, first + BATCH)
        n = len(polygons.geometry[part])
        columns = {
            "geometry": shapely.to_wkb(polygons.geometry[part]),
            "poly_id": polygons.poly_id[part],
            "class_id": polygons.class_id[part],
            "class_name": names[part],
            "area_m2": polygons.area_m2[part],
            "area_ha": polygons.area_m2[part] / 1e4,
            "perim_m": polygons.perim_m[part],
            "n_pixels": polygons.n_pixels[part],
            "score": [None] * n if polygons.score is None else polygons.score[part],
            "scene_id": [polygons.scene_id] * n,
            "img_date": [polygons.img_date] * n,
        }
        arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
        yield pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
