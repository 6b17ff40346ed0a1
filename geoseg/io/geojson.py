"""What GeoJSON asks of polygons: longitude and latitude, so short edges, and features that readers take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import shapely

from geoseg.errors import InputError, OutputError
from geoseg.io.polygon_rows import StoredPolygons, largest_geometry
from geoseg.polygons.wkb import VERTEX_BYTES

_EDGE_M = 1000.0
_LIMIT = 200 * 2**20
"""What GDAL's readers, QGIS among them, spend on one feature before they give up (OGR_GEOJSON_MAX_OBJ_SIZE)."""
_EXPANSION = 12
"""They count 176 bytes a vertex and 80 a ring, which have 16 and 4 in WKB; a ring has five vertices at least."""


def check_geojson(polygons: StoredPolygons, path: Path) -> None:
    """Refuse what GDAL would not write, or not read again.

    Raises:
        InputError: the CRS is not tied to the Earth.
        OutputError: a feature is larger than readers take.
    """
    if polygons.crs.geodetic_crs is None:
        raise InputError(
            f"GeoJSON is longitude and latitude, but {polygons.crs.name!r} is not tied to the Earth: "
            "choose another format, such as .gpkg."
        )
    largest = max((largest_geometry(batch) for batch in polygons.batches()), default=0)
    if largest * _EXPANSION > _LIMIT:
        raise OutputError(
            f"{path} would have a feature of about {largest // VERTEX_BYTES} vertices, GDAL reads no GeoJSON feature "
            f"above {_LIMIT // _EXPANSION // VERTEX_BYTES}: choose .gpkg, .fgb or .parquet."
        )


def with_short_edges(polygons: StoredPolygons) -> Iterator[pa.RecordBatch]:
    """The rows, edges cut to 1 km: OGR projects vertices only, and at that length an edge strays by centimeters."""
    if polygons.crs.is_geographic:
        yield from polygons.batches()
        return
    longest = _EDGE_M / polygons.crs.axis_info[0].unit_conversion_factor
    for batch in polygons.batches():
        bent = shapely.to_wkb(shapely.segmentize(shapely.from_wkb(batch["geometry"]), longest))
        yield batch.set_column(0, polygons.schema.field(0), pa.array(bent, pa.binary()))
