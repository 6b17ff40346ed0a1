"""Zones from vector files: named polygons in their own CRS."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import GeosegWarning, InputError, InputMissingError, UsageError
from geoseg.io.ogr import OGR_ERRORS
from geoseg.io.vector_layers import check_field, one_layer
from geoseg.zones.table import ZoneName, Zones

__all__ = ["Zones", "read_zones", "zone_files"]

_POLYGONAL = {"Polygon", "MultiPolygon"}
_SHAPEFILE = (".shp", ".dbf", ".shx", ".prj", ".cpg")


def read_zones(path: Path, field: str, layer: str | None = None) -> Zones:
    """Read the polygons of a vector file; features of one name become one zone.

    Features that are no polygons are left out, invalid polygons repaired; both with a `GeosegWarning` that counts.

    Args:
        path: any file that OGR reads, or GeoParquet.
        field: attribute that names the zones: text, numbers or dates.
        layer: layer to read; None: the only one with geometry.

    Raises:
        InputMissingError: there is no such file.
        UsageError: no such layer or field, or several layers and none named.
        InputError: the file cannot be read, has no CRS, no polygons, or polygons without a name.
    """
    path = Path(path)
    if not path.exists():
        raise InputMissingError(f"zones {path} does not exist.")
    table = _read(path, field, layer)
    if table.crs is None:
        raise InputError(f"zones {path} has no CRS: set it first, for instance with `ogr2ogr -a_srs`.")
    features = np.asarray(table.geometry.array)
    polygonal = np.array([g is not None and g.geom_type in _POLYGONAL and not g.is_empty for g in features], bool)
    if not polygonal.any():
        raise InputError(f"zones {path} holds no polygons among its {len(features)} features.")
    if not polygonal.all():
        _warn(f"zones {path}: {(~polygonal).sum()} of {len(features)} features are no polygons and are left out.")
    features, values = features[polygonal], table[field][polygonal]
    if values.isna().any():
        raise InputError(f"zones {path}: {values.isna().sum()} polygons have no {field!r}: name them or take them out.")
    of_feature = [_name(value) for value in values]
    index = {name: i for i, name in enumerate(dict.fromkeys(of_feature))}
    zone_of = np.array([index[name] for name in of_feature])
    return Zones(tuple(index), _dissolved(path, features, zone_of), CRS(table.crs), features, zone_of)


def zone_files(path: Path) -> list[Path]:
    """The files that make up a vector file: all that a Shapefile keeps its geometry, names and CRS in."""
    path = Path(path)
    if path.suffix.lower() != ".shp":
        return [path]
    return [path, *(p for suffix in _SHAPEFILE[1:] if (p := path.with_suffix(suffix)).is_file())]


def _read(path: Path, field: str, layer: str | None) -> Any:
    try:
        if path.suffix.lower() == ".parquet":
            table = geopandas.read_parquet(path)
            check_field(path, field, [name for name in table.columns if name != table.geometry.name], "--field")
            return table
        layer = one_layer(path, layer, "--layer")
        fields = [str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]]
        check_field(path, field, fields, "--field")
        return pyogrio.read_dataframe(path, layer=layer, columns=[field])
    except UsageError:
        raise
    except (*OGR_ERRORS, OSError, ValueError) as error:
        raise InputError(f"zones {path} cannot be read: {error}") from error


def _name(value: Any) -> ZoneName:
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value)
    return str(value)


def _dissolved(path: Path, features: NDArray[np.object_], zone_of: NDArray[np.int64]) -> NDArray[np.object_]:
    """(zone,) valid areas; a zone of one valid polygon is that polygon."""
    flat = shapely.force_2d(features)
    broken = ~shapely.is_valid(flat)
    if broken.any():
        flat[broken] = [_polygonal(shapely.make_valid(polygon)) for polygon in flat[broken]]
        _warn(f"zones {path}: {broken.sum()} of {len(flat)} polygons cross themselves; they were repaired.")
    order = np.argsort(zone_of, kind="stable")
    groups = np.split(flat[order], np.flatnonzero(np.diff(zone_of[order])) + 1)
    areas = np.empty(len(groups), object)
    areas[:] = [group[0] if len(group) == 1 else shapely.union_all(group) for group in groups]
    return areas


def _polygonal(geometry: Any) -> Any:
    parts = shapely.get_parts(geometry)
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])


def _warn(text: str) -> None:
    warnings.warn(text, GeosegWarning, stacklevel=3)
