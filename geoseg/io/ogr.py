"""Layers in the formats that GDAL writes: GeoPackage, Shapefile, FlatGeobuf, GeoJSON.

A process that only writes (`geoseg.io.early_child`) imports this and little else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyogrio import errors as ogr
from pyogrio import get_gdal_config_option, set_gdal_config_options
from pyogrio.raw import write_arrow

from geoseg.io.failpoint import failpoint

_DRIVERS = {".gpkg": "GPKG", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf", ".geojson": "GeoJSON"}
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


@dataclass(frozen=True)
class Layer:
    """What a file of polygons tells besides its rows, in plain words that another process can be told."""

    name: str
    crs_wkt: str
    style: str
    """QML."""
    geometry_type: str = "Polygon"
    about: tuple[tuple[str, str], ...] = ()
    """Key, text: see `write_polygons`."""
    written: str | None = None
    """ISO 8601 time that GeoPackage and Shapefile carry; None: now."""


def write_layer(schema: pa.Schema, batches: Iterable[pa.RecordBatch], path: Path, layer: Layer) -> None:
    """Write rows with the driver of the suffix; a GeoPackage gets QGIS's style table, too.

    Raises:
        OGR_ERRORS: GDAL refuses.
    """
    suffix = path.suffix.lower()
    written = None if layer.written is None else datetime.fromisoformat(layer.written).astimezone(UTC)
    options = _options(suffix, layer.name, dict(layer.about))
    if suffix == ".shp" and written is not None:
        options["layer_options"] = {"DBF_DATE_LAST_UPDATE": f"{written:%Y-%m-%d}"}
    with _dated(written):
        write_arrow(
            pa.RecordBatchReader.from_batches(schema, _counted(batches)),
            path,
            driver=_DRIVERS[suffix],
            geometry_name="geometry",
            geometry_type=layer.geometry_type,
            crs=layer.crs_wkt,
            **options,
        )
        if suffix == ".gpkg":
            _add_style(path, layer.name, layer.style)


@contextmanager
def _dated(written: datetime | None) -> Iterator[None]:
    """GDAL's drivers take this for the present time, unless the user has named another."""
    if written is None or get_gdal_config_option(_NOW) is not None:
        yield
        return
    set_gdal_config_options({_NOW: f"{written:%Y-%m-%dT%H:%M:%S.000Z}"})
    try:
        yield
    finally:
        set_gdal_config_options({_NOW: None})


def _counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
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
