"""Polygons to GeoParquet, by pyarrow: the wheels of GDAL have no Parquet driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from geoseg.io.polygon_rows import StoredPolygons, binary_parts
from geoseg.polygons.wkb import bounds_of


def write_parquet(polygons: StoredPolygons, path: Path, about: Mapping[str, str]) -> None:
    """GeoParquet 1.1 with a bounding box column, zstd, a row group for each batch of the stored polygons.

    What is to be known about the map stands among the file's metadata.

    Format: https://geoparquet.org/releases/v1.1.0/.
    """
    box = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
    geometry = {
        "encoding": "WKB",
        "geometry_types": [polygons.geometry_type],
        "crs": polygons.crs.to_json_dict(),
        "orientation": "counterclockwise",
        "covering": {"bbox": {field.name: ["bbox", field.name] for field in box}},
    }
    if len(polygons):
        geometry["bbox"] = polygons.totals.bounds.tolist()
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    schema = polygons.schema.append(pa.field("bbox", box)).with_metadata({**about, "geo": json.dumps(geo)})
    # No two geometries are alike, and nobody asks for the smallest: both would copy what may be a gigabyte.
    names = [field.name for field in polygons.schema if field.name != "geometry"]
    sides = [f"bbox.{field.name}" for field in box]
    options = {"use_dictionary": names, "write_statistics": [*names, *sides]}
    with pq.ParquetWriter(path, schema, compression="zstd", **options) as writer:
        for batch in polygons.batches():
            bounds = bounds_of(*binary_parts(batch["geometry"])).T
            boxes = pa.StructArray.from_arrays([pa.array(side) for side in bounds], fields=list(box))
            writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, boxes], schema=schema))
