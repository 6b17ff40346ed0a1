"""The STAC item against the specification's own schema, and against what it claims about places."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import numpy as np
import pystac
import pytest
import shapely
from affine import Affine
from pyproj import CRS, Geod
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from geoseg.classes import ClassScheme, LandClass
from geoseg.footprint import bounding_box, footprint, meets_boxes
from geoseg.grid import Grid
from geoseg.model.spec import Architecture, Band, ModelSpec
from geoseg.settings import PredictSettings, ReadSettings, RunSettings
from geoseg.stac import ItemFile, SceneFacts, scene_item, settings_json

SCHEME = ClassScheme((LandClass(1, "Wald & Bäume", (57, 125, 73)), LandClass(20, "水", (65, 155, 223))))
UTM18 = Grid(CRS.from_epsg(32618), Affine(10, 0, 435730, 0, -10, 4179460), 1933, 1947)
PROCESSED = datetime(2026, 1, 31, 12, 0, 5, 250, tzinfo=UTC)
MODEL = ModelSpec(
    name="toy",
    version="1.2",
    license="CC0-1.0",
    attribution="nobody",
    architecture=Architecture(name="linear"),
    bands=(Band(name="red", mean=0.1, std=0.1),),
    classes=SCHEME,
    gsd_m=(5, 30),
    chip=256,
    stride=1,
    margin=0,
)


def files(folder: Path) -> tuple[ItemFile, ...]:
    (folder / "a b.classes.tif").write_bytes(b"classes")
    (folder / "a b.polygons.gpkg").write_bytes(b"")
    return (
        ItemFile.of(
            folder / "a b.classes.tif", folder, key="classes", roles=["data"], title="Classes", class_raster=True
        ),
        ItemFile.of(folder / "a b.polygons.gpkg", folder, key="polygons", roles=["data"], title="Polygons"),
    )


def facts(folder: Path, **changes: Any) -> SceneFacts:
    usual: dict[str, Any] = {
        "scene_id": "a b",
        "grid": UTM18,
        "files": files(folder),
        "scheme": SCHEME,
        "model": MODEL,
        "model_sha256": "ab" * 32,
        "processed": PROCESSED,
        "settings": settings_json(RunSettings()),
        "software": {"geoseg": "0.1.0", "torch": "2.15.0"},
        "radiometry": {"scale": [1e-4], "offset": [0.0], "source": "--scale"},
        "pixels": {"水": 12},
        "areas_ha": {"水": np.float64(0.12)},
        "warnings": ("demonstration model",),
    }
    return SceneFacts(**(usual | changes))


def check_against_schema(item: dict[str, Any]) -> None:
    """The item schema of STAC 1.1.0, as pystac carries it: nothing is fetched."""
    resources = [(uri, Resource.from_contents(schema)) for uri, schema in get_local_schema_cache().items()]
    registry: Registry[Any] = Registry().with_resources(resources)
    schema = registry.contents("https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json")
    validator = jsonschema.Draft7Validator(schema, registry=registry, format_checker=jsonschema.FormatChecker())
    assert [f"{list(e.absolute_path)}: {e.message[:200]}" for e in validator.iter_errors(item)] == []


def test_the_item_obeys_the_specification(tmp_path: Path) -> None:
    item = json.loads(json.dumps(scene_item(facts(tmp_path)), allow_nan=False))
    check_against_schema(item)
    read = pystac.Item.from_dict(item)
    assert read.id == "a b"
    assert read.properties["geoseg:settings"]["predict"]["model"] == "landcover"
    assert len(item["stac_extensions"]) == len(set(item["stac_extensions"])) == 4
    for name in (*item["properties"], *item["assets"]["classes"]):
        prefix = name.partition(":")[0]
        assert ":" not in name or prefix == "geoseg" or any(f"/{prefix}" in e for e in extensions(item)), name


def extensions(item: dict[str, Any]) -> list[str]:
    return [uri.replace("/projection/", "/proj/") for uri in item["stac_extensions"]]


def test_the_schema_check_sees_faults(tmp_path: Path) -> None:
    item = scene_item(facts(tmp_path))
    del item["properties"]["start_datetime"]
    with pytest.raises(AssertionError, match="properties"):
        check_against_schema(item)


def test_assets_carry_checksum_size_type_and_legend(tmp_path: Path) -> None:
    assets = scene_item(facts(tmp_path))["assets"]
    classes = assets["classes"]
    assert classes["href"] == "./a b.classes.tif"
    assert classes["file:checksum"] == "1220" + hashlib.sha256(b"classes").hexdigest()
    assert classes["file:size"] == 7
    assert classes["type"].startswith("image/tiff; application=geotiff")
    assert (classes["data_type"], classes["nodata"]) == ("uint8", 255)
    legend = classes["classification:classes"]
    assert [(row["value"], row.get("title"), row.get("color_hint")) for row in legend] == [
        (1, "Wald & Bäume", "397D49"),
        (20, "水", "419BDF"),
        (255, None, None),
    ]
    assert all(re.fullmatch(r"[0-9A-Za-z_-]+", row["name"]) for row in legend)
    assert "classification:classes" not in assets["polygons"]


def test_projection_and_provenance(tmp_path: Path) -> None:
    properties = scene_item(facts(tmp_path, extra={"device": "cpu"}))["properties"]
    assert properties["proj:code"] == "EPSG:32618"
    assert properties["proj:shape"] == [1947, 1933]
    assert properties["proj:transform"] == [10, 0, 435730, 0, -10, 4179460]
    assert properties["gsd"] == pytest.approx(10, rel=1e-3)
    assert properties["geoseg:model"]["sha256"] == "ab" * 32
    assert properties["geoseg:areas"] == [
        {"code": 1, "name": "Wald & Bäume"},
        {"code": 20, "name": "水", "pixels": 12, "hectares": 0.12},
    ]
    assert properties["geoseg:warnings"] == ["demonstration model"]
    assert properties["geoseg:device"] == "cpu"
    assert properties["geoseg:resampling"] is None


def test_the_places_of_training_are_told(tmp_path: Path) -> None:
    model = replace(MODEL, training_data=({"name": "chips", "footprints": [[7, 50, 8, 51]]},))
    told = scene_item(facts(tmp_path, model=model))["properties"]["geoseg:model"]
    assert told["training_footprints"] == [[7.0, 50.0, 8.0, 51.0]]


@pytest.mark.parametrize(
    ("boxes", "meets"),
    [
        ([], False),
        ([[-76.0, 37.0, -75.5, 38.0]], True),
        ([[-74.0, 37.0, -70.0, 38.0], [-75.6, 0.0, -75.5, 90.0]], True),
        ([[170.0, 30.0, -75.0, 40.0]], True),
        ([[170.0, 30.0, -170.0, 40.0]], False),
    ],
)
def test_a_place_meets_boxes_also_across_the_antimeridian(boxes: list[list[float]], *, meets: bool) -> None:
    assert meets_boxes(footprint(UTM18), boxes) is meets


def test_a_crs_without_code_is_told_as_wkt(tmp_path: Path) -> None:
    crs = CRS.from_proj4("+proj=laea +lat_0=51 +lon_0=9.3 +datum=WGS84 +units=m")
    item = scene_item(facts(tmp_path, grid=Grid(crs, Affine(10, 0, 0, 0, -10, 0), 100, 100)))
    assert item["properties"]["proj:code"] is None
    assert CRS.from_wkt(item["properties"]["proj:wkt2"]) == crs


def test_an_unknown_time_is_not_invented(tmp_path: Path) -> None:
    properties = scene_item(facts(tmp_path))["properties"]
    assert properties["datetime"] is None
    assert properties["start_datetime"] == "1970-01-01T00:00:00Z"
    assert properties["end_datetime"] == "2026-01-31T12:00:05Z"
    assert properties["geoseg:datetime_known"] is False


def test_known_times_are_told_in_utc(tmp_path: Path) -> None:
    noon = datetime(2021, 6, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    moment = scene_item(facts(tmp_path, acquired=noon))
    assert moment["properties"]["datetime"] == "2021-06-01T10:00:00Z"
    assert moment["properties"]["geoseg:datetime_known"] is True
    composite = scene_item(facts(tmp_path, acquired=(noon, noon + timedelta(days=1))))
    check_against_schema(composite)
    assert composite["properties"]["datetime"] is None
    assert composite["properties"]["end_datetime"] == "2021-06-02T10:00:00Z"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scene_id": " "}, "needs an id"),
        ({"processed": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001
        ({"acquired": (PROCESSED, PROCESSED - timedelta(1))}, "after its end"),
        ({"pixels": {"Moor": 1}}, "'Moor'"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        facts(tmp_path, **changes)


def test_asset_keys_are_distinct(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not distinct"):
        facts(tmp_path, files=files(tmp_path) * 2)


def test_settings_become_plain_json() -> None:
    settings = RunSettings(read=ReadSettings(aoi=Path("a/b.gpkg"), scale=(1e-4,)), predict=PredictSettings(chip=256))
    plain = json.loads(json.dumps(settings_json(settings), allow_nan=False))
    assert plain["read"]["aoi"] == "a/b.gpkg"
    assert plain["read"]["scale"] == [1e-4]
    assert plain["predict"]["chip"] == 256
    assert set(plain) == {"read", "predict", "schedule", "vector", "output"}
    assert settings_json({"x": float("nan"), "n": np.int32(4)}) == {"x": None, "n": 4}


# Footprints: (EPSG code, transform, width, height)
PLACES = {
    "utm": (32618, Affine(10, 0, 435730, 0, -10, 4179460), 1933, 1947),
    "south-up": (32618, Affine(10, 0, 435730, 0, 10, 4179460), 1933, 1947),
    "rotated": (32618, Affine.translation(435730, 4179460) @ Affine.rotation(30) @ Affine.scale(10, -10), 900, 700),
    "degrees": (4326, Affine(0.01, 0, 7, 0, -0.01, 51), 200, 100),
    "antimeridian utm": (32660, Affine(100, 0, 600000, 0, -100, 7000000), 3000, 2000),
    "antimeridian degrees": (4326, Affine(0.01, 0, 179, 0, -0.01, -16), 200, 100),
    "longitudes to 360": (4326, Affine(0.1, 0, 200, 0, -0.1, 10), 300, 100),
    "web mercator": (3857, Affine(100, 0, 700000, 0, -100, 6600000), 800, 500),
}


def grid_of(name: str) -> Grid:
    code, transform, width, height = PLACES[name]
    return Grid(CRS.from_epsg(code), transform, width, height)


@pytest.mark.parametrize("name", PLACES)
def test_footprints_hold_the_pixels_and_nothing_else(name: str) -> None:
    grid = grid_of(name)
    place = footprint(grid)
    assert place is not None
    assert place.is_valid
    assert all(part.exterior.is_ccw for part in shapely.get_parts(place))
    west, south, east, north = place.bounds
    assert -180 <= west <= east <= 180
    assert -90 <= south <= north <= 90
    rng = np.random.default_rng(5)
    inner, outer = rng.uniform(0.01, 0.99, (200, 2)), rng.uniform(1.01, 1.2, (200, 2)) * rng.choice([1, -1], (200, 1))
    for points, inside in ((inner, True), (outer, False)):
        x, y = np.array([grid.transform @ (u * grid.width, v * grid.height) for u, v in points]).T
        lon, lat = grid.to_lonlat.transform(x, y)
        lon = (np.asarray(lon) + 180) % 360 - 180
        assert (shapely.contains_xy(place, lon, lat) == inside).all()


@pytest.mark.parametrize(
    ("name", "parts", "crosses"),
    [
        ("utm", 1, False),
        ("antimeridian utm", 2, True),
        ("antimeridian degrees", 2, True),
        ("longitudes to 360", 1, False),
    ],
)
def test_bounding_boxes_cross_the_antimeridian_by_west_greater_east(name: str, parts: int, *, crosses: bool) -> None:
    place = footprint(grid_of(name))
    assert place is not None
    west, south, east, north = bounding_box(place)
    assert len(shapely.get_parts(place)) == parts
    assert (west > east) is crosses
    assert south < north
    assert (east - west) % 360 < 20 or name == "longitudes to 360"


@pytest.mark.parametrize(("code", "pole"), [(3413, 90), (3031, -90)])
def test_footprints_go_over_the_poles(tmp_path: Path, code: int, pole: int) -> None:
    grid = Grid(CRS.from_epsg(code), Affine(1000, 0, -1_000_000, 0, -1000, 1_000_000), 2000, 2000)
    place = footprint(grid)
    assert place is not None
    geod = Geod(ellps="WGS84")
    area = sum(abs(geod.geometry_area_perimeter(part)[0]) for part in shapely.get_parts(place))
    assert area == pytest.approx(4e12, rel=0.1)
    assert place.covers(shapely.Point(12, pole))
    item = scene_item(facts(tmp_path, grid=grid))
    check_against_schema(item)
    assert item["bbox"][0::2] == [-180, 180]


@pytest.mark.parametrize("west", [-180, 0])
def test_the_whole_world_stays_whole(west: int) -> None:
    place = footprint(Grid(CRS.from_epsg(4326), Affine(1, 0, west, 0, -1, 90), 360, 180))
    assert place is not None
    assert bounding_box(place) == [-180, -90, 180, 90]
    assert place.area == pytest.approx(360 * 180)


def test_a_frame_off_the_globe_has_no_footprint(tmp_path: Path) -> None:
    disk = CRS.from_proj4("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=WGS84")
    grid = Grid(disk, Affine(3000, 0, -5.5e6, 0, -3000, 5.5e6), 3667, 3667)
    item = scene_item(facts(tmp_path, grid=grid))
    check_against_schema(item)
    assert item["geometry"] is None
    assert "bbox" not in item
    assert "footprint unknown" in item["properties"]["geoseg:warnings"][-1]
