"""Zones and class rasters for tests of zone tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from builders import NORTH_UP, UTM, write_raster
from pyproj import CRS

from geoseg.classes import ClassScheme, LandClass
from geoseg.ground import area_model
from geoseg.io.class_raster import CLASSES_TAG, open_class_raster, read_codes
from geoseg.stories.stats import zone_table
from geoseg.zones.shares import Edges
from geoseg.zones.table import Zones, ZoneTable

WATER, TREES, BARE = (
    LandClass(1, "water", (0, 100, 200)),
    LandClass(2, "trees", (0, 140, 60)),
    LandClass(7, "bare", (230, 200, 40)),
)
THREE = ClassScheme((WATER, TREES, BARE))
PX = NORTH_UP.a


def class_raster(path: Path, codes: Any, scheme: ClassScheme = THREE, **profile: Any) -> Path:
    """(row, col) codes → a class raster of ours, nodata 255."""
    path = write_raster(path, np.asarray(codes, np.uint8), nodata=255, **profile)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**{CLASSES_TAG: json.dumps(scheme.to_json())})
    return path


def at(*corners: tuple[float, float]) -> shapely.Polygon:
    """A polygon given in (column, row) of the builders' UTM grid."""
    return shapely.Polygon([NORTH_UP @ corner for corner in corners])


def square(left: float, top: float, right: float, bottom: float) -> shapely.Polygon:
    """A rectangle of the same."""
    return at((left, top), (right, top), (right, bottom), (left, bottom))


def write_zones(path: Path, zones: dict[Any, Any], *, field: str = "name", crs: Any = UTM, **options: Any) -> Path:
    """Name → geometry, or list of geometries."""
    rows = [(name, g) for name, given in zones.items() for g in (given if isinstance(given, list) else [given])]
    names, geometries = zip(*rows, strict=True)
    frame = gpd.GeoDataFrame({field: list(names)}, geometry=list(geometries), crs=crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path, **options)
    return path


def in_memory(polygons: list[Any], crs: Any = UTM) -> Zones:
    """Zones 0, 1, … without a file."""
    array = np.empty(len(polygons), object)
    array[:] = polygons
    return Zones(tuple(range(len(polygons))), array, CRS.from_user_input(crs), array, np.arange(len(polygons)))


def table_of(raster: Path | list[Path], polygons: list[Any], crs: Any = UTM) -> ZoneTable:
    return zone_table(raster if isinstance(raster, list) else [raster], in_memory(polygons, crs))


def pixel_edges(polygon: Any) -> Edges:
    """The outline of a polygon given in pixels."""
    rings = shapely.get_rings(shapely.get_parts(shapely.orient_polygons(polygon, exterior_cw=False)))
    ends = [np.hstack((xy[:-1], xy[1:])) for xy in map(shapely.get_coordinates, rings)]
    return Edges(np.concatenate(ends))


def polygonal(geometry: Any) -> Any:
    """The valid areas of whatever points make."""
    parts = shapely.get_parts(shapely.make_valid(geometry))
    while (shapely.get_num_geometries(parts) > 1).any():
        parts = shapely.get_parts(parts)
    return shapely.union_all(parts[shapely.get_dimensions(parts) == 2])


def map_total_m2(path: Path) -> dict[str, float]:
    """Class name → m² of all its pixels."""
    raster = open_class_raster(path)
    row_m2 = area_model(raster.grid).pixel_areas(raster.grid)
    codes = read_codes(raster)
    return {c.name: float(((codes == c.code).sum(axis=1) * row_m2).sum()) for c in raster.scheme.classes}
