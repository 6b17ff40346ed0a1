"""Polygons to the formats that GDAL writes: GeoPackage, Shapefile, FlatGeobuf, GeoJSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import shapely
from pyogrio import errors as ogr
from pyogrio import get_gdal_config_option, set_gdal_config_options
from pyogrio.raw import write_arrow

from geoseg.io.failpoint import failpoint
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.style import vector_qml

_DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON"}
_GEOJSON_EDGE_M = 1000.0
_NOW = "OGR_CURRENT_DATE"
OGR_ERRORS = (
    ogr.CRSError,
    ogr.DataLayerError,
    ogr.DataSourceError,
    ogr.FeatureError,
    ogr.FieldError,
    ogr.GeometryError,
)
"""What pyogrio raises when GDAL refuses."""


def write_ogr(
    polygons: StoredPolygons, path: Path, layer: str, about: Mapping[str, str], written: datetime | None = None
) -> None:
    """Write polygons with the driver of the suffix; a GeoPackage gets QGIS's style table, too.

    Raises:
        OGR_ERRORS: GDAL refuses.
    """
    suffix = path.suffix.lower()
    batches = _counted(_bendable(polygons) if suffix == ".geojson" else polygons.batches())
    options = _options(suffix, layer, dict(about))
    if suffix == ".shp" and written is not None:
        options["layer_options"] = {"DBF_DATE_LAST_UPDATE": f"{written.astimezone(UTC):%Y-%m-%d}"}
    with _dated(written):
        write_arrow(
            pa.RecordBatchReader.from_batches(polygons.schema, batches),
            path,
            driver=_DRIVERS[suffix],
            geometry_name="geometry",
            geometry_type=polygons.geometry_type,
            crs=polygons.crs.to_wkt(),
            **options,
        )
        if suffix == ".gpkg":
            _add_style(path, layer, vector_qml(polygons.scheme))


@contextmanager
def _dated(written: datetime | None) -> Iterator[None]:
    """GDAL's drivers take this for the present time, unless the user has named another."""
    if written is None or get_gdal_config_option(_NOW) is not None:
        yield
        return
    set_gdal_config_options({_NOW: f"{written.astimezone(UTC):%Y-%m-%dT%H:%M:%S.000Z}"})
    try:
        yield
    finally:
        set_gdal_config_options({_NOW: None})


def _counted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches, each a moment at which the writer may die."""
    for batch in batches:
        yield batch
        failpoint("vector")


def _options(suffix: str, layer: str, about: dict[str, str]) -> dict[str, Any]:
    """Arguments of `write_arrow` by format; without anything about the data no metadata tables appear."""
    if suffix == ".gpkg":
        # GDAL writes 1.4 by default, which validators and readers of some years ago do not know.
        version = {"dataset_options": {"VERSION": "1.3"}, "layer": layer}
        # Of the layer, not of the file: GDAL copies the file's into an .aux.xml beside it.
        return version | ({"layer_metadata": about} if about else {})
    if suffix == ".shp":
        return {"encoding": "UTF-8"}
    if suffix == ".geojson":
        # Nine decimals are 0.1 mm: with the seven of the default a 10 m pixel loses 0.1 % of its area.
        options = {"RFC7946": "YES", "COORDINATE_PRECISION": "9"}
        if about:
            options["DESCRIPTION"] = "; ".join(f"{key}: {value}" for key, value in about.items())
        return {"layer_options": options, "layer": layer}
    return {"layer": layer} | ({"layer_metadata": about} if about else {})


def _bendable(polygons: StoredPolygons) -> Iterator[pa.RecordBatch]:
    """Edges cut to 1 km: OGR projects vertices only, and at that length an edge strays by centimeters."""
    if polygons.crs.is_geographic:
        yield from polygons.batches()
        return
    longest = _GEOJSON_EDGE_M / polygons.crs.axis_info[0].unit_conversion_factor
    for batch in polygons.batches():
        bent = shapely.to_wkb(shapely.segmentize(shapely.from_wkb(batch["geometry"]), longest))
        yield batch.set_column(0, polygons.schema.field(0), pa.array(bent, pa.binary()))


def _add_style(path: Path, layer: str, qml: str) -> None:
    """Add QGIS's own style table, as QGIS itself does: a layer without geometry, written by OGR.

    Going through OGR keeps one SQLite library at the file: two in one process ignore each other's locks.
    """
    row = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": layer,
        "f_geometry_column": "geom",
        "styleName": layer,
        "styleQML": qml,
        "styleSLD": "",
        "useAsDefault": True,
        "description": "colors of the class scheme",
        "owner": "",
        "ui": None,
        "update_time": None,
    }
    types = {"useAsDefault": pa.bool_(), "update_time": pa.timestamp("ms")}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in row])
    table = pa.Table.from_pylist([row], schema=schema)
    write_arrow(table, path, layer="layer_styles", driver="GPKG", layer_options={"FID": "id"})
