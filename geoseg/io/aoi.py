"""Areas of interest: polygons from any vector file, in the CRS of a raster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from shapely import MultiPolygon

from geoseg.errors import InputError, InputMissingError

_PIECES = 100
"""An edge is cut so that none is longer than this part of the AOI's extent: straight lines bend in another CRS."""


def read_aoi_wkb(path: Path, crs: CRS) -> bytes:
    """The same area as `read_aoi` gives, as WKB."""
    return bytes(shapely.to_wkb(read_aoi(path, crs)))


def read_aoi(path: Path, crs: CRS) -> MultiPolygon:
    """Read all polygons of a vector file as one area.

    Args:
        path: any file that OGR reads, or GeoParquet; with one layer of polygons.
        crs: CRS of the result, x (east or longitude) first.

    Raises:
        InputMissingError: there is no such file.
        InputError: it cannot be read, has no CRS or no polygons, or leaves the domain of `crs`.
    """
    if not path.exists():
        raise InputMissingError(f"AOI {path} does not exist.")
    table = _read(path)
    if table.crs is None:
        raise InputError(f"AOI {path} has no CRS: set it first, for instance with `ogr2ogr -a_srs`.")
    area = _polygonal(np.asarray(table.geometry.array))
    if area.is_empty:
        raise InputError(f"AOI {path} holds no polygons.")
    if CRS(table.crs) == crs:
        return area
    xmin, ymin, xmax, ymax = area.bounds
    dense = shapely.segmentize(area, max(xmax - xmin, ymax - ymin) / _PIECES)
    try:
        to_crs = Transformer.from_crs(table.crs, crs, always_xy=True)
    except ProjError as error:
        raise InputError(
            f"AOI {path} is in {CRS(table.crs).name!r}, from which no way leads to {crs.name!r}: give it in that CRS."
        ) from error
    moved = shapely.transform(dense, lambda xy: np.column_stack(to_crs.transform(*xy.T)))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise InputError(f"AOI {path} reaches beyond the domain of {crs.name!r}: cut it to the raster's region.")
    return _polygonal(np.array([moved]))


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".parquet":
            return geopandas.read_parquet(path)
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    except (DataSourceError, OSError, ValueError) as error:
        raise InputError(f"AOI {path} cannot be read: {error}") from error
    if len(layers) != 1:
        names = ", ".join(layers) or "none"
        raise InputError(f"AOI {path} has {len(layers)} layers with geometry ({names}): give a file with one.")
    try:
        return pyogrio.read_dataframe(path, layer=layers[0], columns=[])
    except (DataSourceError, DataLayerError, FeatureError, GeometryError) as error:
        raise InputError(f"AOI {path} cannot be read: {error}") from error


def _polygonal(geometries: Any) -> MultiPolygon:
    """Union of the polygonal parts, made valid."""
    parts = shapely.get_parts(shapely.make_valid(shapely.force_2d(geometries[~shapely.is_missing(geometries)])))
    while (shapely.get_num_geometries(parts) > 1).any():
        parts = shapely.get_parts(parts)
    union = shapely.union_all(parts[shapely.get_dimensions(parts) == 2])
    return MultiPolygon(list(shapely.get_parts(union)))
