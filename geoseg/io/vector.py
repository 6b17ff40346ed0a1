"""Polygons to vector files: GeoPackage, Shapefile, FlatGeobuf, GeoJSON, GeoParquet.

All formats are fed from one Arrow file, made once (`geoseg.io.polygon_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
from pyogrio.raw import open_arrow

from geoseg.errors import InputError, OutputError, OutputExistsError, UsageError
from geoseg.io.early import EarlyWriter
from geoseg.io.geojson import check_geojson, with_short_edges
from geoseg.io.geoparquet import write_parquet
from geoseg.io.ogr import OGR_ERRORS, Layer, write_layer
from geoseg.io.polygon_rows import SCHEMA, StoredPolygons
from geoseg.polygons.table import Polygons
from geoseg.settings import VECTOR_SUFFIXES
from geoseg.style import vector_qml

_SIDECARS = {".gpkg": (), ".shp": (".shx", ".dbf", ".prj", ".cpg", ".qml")}
_DBF_TEXT = 254
_DBF_NUMBERS = 256
"""Bytes that OGR gives the numeric fields, the date and the deletion mark of a record, rounded up."""
_DBF_NUMBER = 24
_SHP_LIMIT = 2**31 - 1
READ_ROWS = 4096
"""Features read back at a time: GDAL's own 65 536 were seen to take 400 MB, and as long."""
_ABOUT = {
    "LICENSE": ("GEOSEG_MODEL_LICENSE",),
    "ATTRIBUTION": ("GEOSEG_MODEL_ATTRIBUTION",),
    "MODEL": ("GEOSEG_MODEL", "GEOSEG_MODEL_VERSION"),
    "GEOSEG_VERSION": ("GEOSEG_VERSION",),
    "DATETIME": ("GEOSEG_DATETIME",),
}
"""Key in the vector files ← tags of the class raster, joined by a space."""


def sidecars(path: Path) -> tuple[Path, ...]:
    """The files that `write_polygons` puts beside its output, whichever polygons it gets.

    Raises:
        UsageError: the suffix is none that geoseg writes.
    """
    suffix = vector_suffix(path)
    return tuple(path.with_suffix(other) for other in _SIDECARS.get(suffix, (".qml",)))


def vector_suffix(path: Path) -> str:
    """The output's suffix in lower case.

    Raises:
        UsageError: the suffix is none that geoseg writes.
    """
    suffix = path.suffix.lower()
    if suffix not in VECTOR_SUFFIXES:
        raise UsageError(f"output {path.name!r} must end in {', '.join(VECTOR_SUFFIXES)}.")
    return suffix


def check_path(path: Path) -> None:
    """Refuse what pyogrio would take apart: it cuts paths at `;` and reads `!` as an archive's mark.

    Raises:
        UsageError: the path, its folder included, has such a character.
    """
    odd = next((mark for mark in "!;" if mark in str(path)), None)
    if odd is not None:
        raise UsageError(f"output {path} has a {odd!r} in its path, which GDAL's writer takes apart; rename it.")


def about_of(tags: Mapping[str, str]) -> dict[str, str]:
    """What users of a vector file should know of its origin, from the tags of the class raster.

    Args:
        tags: metadata of a class raster, perhaps somebody else's.

    Returns:
        LICENSE and ATTRIBUTION of the model, MODEL (name and version), GEOSEG_VERSION, DATETIME of the image: those
        that are known, each one line of printable text, so that it fits XML and JSON.
    """
    found = {key: " ".join(tags.get(tag, "") for tag in names) for key, names in _ABOUT.items()}
    lines = {key: " ".join("".join(c if c.isprintable() else " " for c in text).split()) for key, text in found.items()}
    return {key: line for key, line in lines.items() if line}


def write_polygons(
    polygons: StoredPolygons,
    path: Path,
    *,
    layer: str,
    about: Mapping[str, str] = MappingProxyType({}),
    written: datetime | None = None,
    early: EarlyWriter | None = None,
    finished: Callable[[], None] | None = None,
) -> None:
    """Write polygons in the format of the suffix, styled, and read all of them back.

    The CRS is kept (WKT2, with or without an EPSG code); GeoJSON is longitude and latitude after RFC 7946, split at
    the antimeridian, and there GDAL makes a multipolygon of one member a polygon. Without polygons the layer is empty.
    The order of features is that in which polygons were finished; `poly_id` names them.

    Args:
        polygons: what to write; read once, in batches.
        path: file to create; its sidecars are created beside it.
        layer: layer name, in the formats that have one.
        about: key → text, as of `about_of`; kept by GeoPackage (file and layer), FlatGeobuf and GeoParquet as
            metadata, by GeoJSON in its `description`. A Shapefile has no place for it.
        written: time that GeoPackage and Shapefile carry; None: now. All else in the files depends on the polygons.
        early: perhaps has written this very file while the polygons were found.
        finished: called when the file is written, before it is read.

    Raises:
        UsageError: the suffix is none that geoseg writes.
        InputError: the polygons do not fit the format.
        OutputExistsError: the file is already there or cannot be created.
        OutputError: disk full, more than the format holds, or fewer polygons can be read back than were written.
    """
    suffix = vector_suffix(path)
    _check_fits(polygons, path)
    is_there = early is not None and early.path == path and early.finished()
    if not is_there:
        _check_creatable(path)
    try:
        if not is_there:
            _write(polygons, path, layer_of(polygons, layer, about, written, polygons.geometry_type))
        if suffix != ".gpkg":
            path.with_suffix(".qml").write_text(vector_qml(polygons.scheme), encoding="utf-8")
    except (*OGR_ERRORS, OSError, pa.ArrowException) as error:
        raise OutputError(f"writing {path} failed: {error}; check free space and permissions.") from error
    if finished is not None:
        finished()
    found = count_features(path)
    if found != len(polygons):
        raise OutputError(f"{path} holds {found} of {len(polygons)} polygons: is the disk full?")


def layer_of(
    polygons: Polygons | StoredPolygons,
    layer: str,
    about: Mapping[str, str],
    written: datetime | None = None,
    geometry_type: Literal["Polygon", "MultiPolygon"] = "Polygon",
) -> Layer:
    """What `write_polygons` tells of polygons besides their rows; arguments are its own."""
    return Layer(
        name=layer,
        crs_wkt=polygons.crs.to_wkt(),
        style=vector_qml(polygons.scheme),
        geometry_type=geometry_type,
        about=tuple(about.items()),
        written=None if written is None else written.isoformat(),
    )


def _write(polygons: StoredPolygons, path: Path, layer: Layer) -> None:
    if path.suffix.lower() == ".parquet":
        write_parquet(polygons, path, dict(layer.about))
        return
    batches = with_short_edges(polygons) if path.suffix.lower() == ".geojson" else polygons.batches()
    write_layer(polygons.schema, batches, path, layer)


def count_features(path: Path) -> int:
    """Number of features of the first layer that can really be read, geometry included.

    Headers are not believed: a FlatGeobuf cut short still announces all features.

    Raises:
        OutputError: the file cannot be read to its end.
    """
    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                return sum(batch.num_rows for batch in file.iter_batches(READ_ROWS, columns=["geometry"]))
        layer = pyogrio.list_layers(path)[0, 0]
        with open_arrow(path, layer=layer, columns=[], use_pyarrow=True, batch_size=READ_ROWS) as (_, reader):
            return sum(batch.num_rows for batch in reader)
    except (*OGR_ERRORS, OSError, pa.ArrowException) as error:
        raise OutputError(f"{path} does not read back: {error}.") from error


def _check_creatable(path: Path) -> None:
    for file in (path, *sidecars(path)):
        # Formats of one stem share their style: QGIS looks for STEM.qml whatever the suffix.
        if file.suffix != ".qml" and file.exists():
            raise OutputExistsError(f"{file} already exists: remove it or choose another name.")
    try:
        path.touch(exist_ok=False)
        path.unlink()
    except OSError as error:
        raise OutputExistsError(f"{path} cannot be created: {error.strerror}.") from error


def _check_fits(polygons: StoredPolygons, path: Path) -> None:
    if path.suffix.lower() == ".shp":
        _check_shapefile(polygons, path)
    if path.suffix.lower() == ".geojson":
        check_geojson(polygons, path)


def _check_shapefile(polygons: StoredPolygons, path: Path) -> None:
    """Refuse what a Shapefile would cut off.

    Raises:
        InputError: a text is longer than a field may be.
        OutputError: .shp or .dbf would pass 2 GiB.
    """
    texts = [*polygons.scheme.names, polygons.scene_id]
    widths = [len(text.encode()) for text in texts]
    for text, width in zip(texts, widths, strict=True):
        if width > _DBF_TEXT:
            raise InputError(f"{text[:20]!r}… has {width} bytes, Shapefile fields {_DBF_TEXT}: choose .gpkg.")
    rings, points = polygons.totals.n_rings, polygons.totals.n_vertices
    # A record: 8 bytes of header, 44 of type, box and counts; 4 a ring; 16 a point (ESRI white paper, 1998).
    shp = 100 + 52 * len(polygons) + 4 * rings + 16 * points
    name = max(80, *widths)
    more = [name if pa.types.is_string(field.type) else _DBF_NUMBER for field in list(polygons.schema)[len(SCHEMA) :]]
    dbf = len(polygons) * (_DBF_NUMBERS + sum(more) + name + max(80, widths[-1]))
    if max(shp, dbf) > _SHP_LIMIT:
        raise OutputError(
            f"{path} would need {max(shp, dbf) / 2**30:.1f} GiB, a Shapefile holds 2: choose .gpkg or .parquet."
        )
