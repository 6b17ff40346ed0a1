"""GeoJSON is the one format that is not written in the raster's own CRS (RFC 7946)."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from polygon_kit import write_polygons
from pyproj import CRS
from test_vector import NORTH_UP, UTM, polygons, write

from geoseg.errors import InputError


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, NORTH_UP),
        (UTM, Affine(10, 0, 500_000, 0, 10, 4_000_000)),
        (CRS.from_epsg(2180), Affine(10, 0, 500_000, 0, -10, 400_000)),  # axes: northing, easting
        (CRS.from_epsg(4326), Affine(1e-3, 0, 20, 0, -1e-3, 50)),
    ],
)
def test_geojson_is_lon_lat_and_right_handed(crs: CRS, transform: Affine, tmp_path: Path) -> None:
    table = polygons(crs=crs, transform=transform)
    write_polygons(table, tmp_path / "o.geojson", layer="land")
    document = json.loads((tmp_path / "o.geojson").read_text())
    assert "crs" not in document
    found = gpd.GeoDataFrame.from_features(document["features"], crs=4326).sort_values("poly_id")
    assert shapely.is_ccw(shapely.get_exterior_ring(found.geometry.array)).all()
    expected = gpd.GeoSeries(table.geometry, crs=crs).to_crs(4326)
    np.testing.assert_allclose(found.bounds, expected.bounds, atol=1e-7)


def test_geojson_is_split_at_the_antimeridian(tmp_path: Path) -> None:
    codes = np.full((10, 10), 5, np.uint8)
    table = polygons(codes, CRS.from_epsg(32660), Affine(10_000, 0, 680_000, 0, -10_000, 5_000_000))
    found = write(table, tmp_path / "o.geojson")
    assert found.geom_type.tolist() == ["MultiPolygon"]
    west, east = sorted(part.bounds[::2] for part in found.geometry[0].geoms)
    assert west[0] == -180
    assert east[1] == 180
    assert east[0] > 175


def test_long_edges_of_geojson_follow_the_projection(tmp_path: Path) -> None:
    """A straight edge of 400 km in UTM is an arc in longitude and latitude, 2.3 km from its chord."""
    table = polygons(np.full((4, 4), 5, np.uint8), transform=Affine(100_000, 0, 300_000, 0, -100_000, 4_400_000))
    found = write(table, tmp_path / "o.geojson")
    assert found.to_crs(UTM).area[0] == pytest.approx(table.geometry[0].area, rel=1e-6)


def test_geojson_needs_the_earth(tmp_path: Path) -> None:
    site = CRS.from_wkt(
        'ENGCRS["site",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    )
    with pytest.raises(InputError, match="'site' is not tied to the Earth"):
        write_polygons(polygons(crs=site), tmp_path / "o.geojson", layer="land")
    assert len(write(polygons(crs=site), tmp_path / "o.gpkg")) == 5
