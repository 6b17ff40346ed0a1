"""Polygons to GeoParquet, by pyarrow: the wheels of GDAL have no Parquet driver."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from geoseg.io.polygon_rows import SCHEMA, StoredPolygons


def write_parquet(polygons: StoredPolygons, path: Path, about: Mapping[str, str]) -> None:
    """GeoParquet 1.1 with a bounding box column, zstd, a row group for each batch of the stored polygons.

    What is to be known about the map stands among the file's metadata.

    Format: https://geoparquet.org/releases/v1.1.0/.
    """
    box = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
    geometry = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": polygons.crs.to_json_dict(),
        "orientation": "counterclockwise",
        "covering": {"bbox": {field.name: ["bbox", field.name] for field in box}},
    }
    if len(polygons):
        geometry["bbox"] = polygons.totals.bounds.tolist()
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    schema = SCHEMA.append(pa.field("bbox", box)).with_metadata({**about, "geo": json.dumps(geo)})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in polygons.batches():
            sides = shapely.bounds(shapely.from_wkb(batch["geometry"])).T
            boxes = pa.StructArray.from_arrays([pa.array(side) for side in sides], fields=list(box))
            writer.write_batch(pa.RecordBatch.from_arrays([*batch.columns, boxes], schema=schema))
