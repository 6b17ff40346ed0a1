from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from builders import UTM
from zone_kit import square, write_zones

from geoseg.errors import GeosegWarning, InputError, InputMissingError, UsageError
from geoseg.io.zones import read_zones, zone_files

A, B = square(0, 0, 2, 2), square(2, 0, 4, 2)


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson", ".fgb", ".parquet"])
def test_any_format(suffix: str, tmp_path: Path) -> None:
    path = write_zones(tmp_path / f"z{suffix}", {"берег": A, "森": B}, crs=4326 if suffix == ".geojson" else UTM)
    zones = read_zones(path, "name")
    assert set(zones.names) == {"берег", "森"}
    assert zones.polygons[zones.names.index("берег")].equals(A)
    assert zones.crs.to_epsg() == (4326 if suffix == ".geojson" else 32618)


@pytest.mark.parametrize(
    ("values", "names"),
    [([3, 1], (3, 1)), ([1.5, 2.0], (1.5, 2.0)), (["b", "a"], ("b", "a")), ([True, False], ("true", "false"))],
)
def test_names_keep_their_type_and_order(values: list, names: tuple, tmp_path: Path) -> None:
    zones = read_zones(write_zones(tmp_path / "z.gpkg", dict(zip(values, (A, B), strict=True))), "name")
    assert zones.names == names
    assert [type(name) for name in zones.names] == [type(name) for name in names]


def test_features_of_one_name_are_one_zone(tmp_path: Path) -> None:
    overlapping = square(1, 1, 3, 3)
    zones = read_zones(write_zones(tmp_path / "z.gpkg", {"x": [A, overlapping], "y": B}), "name")
    assert (zones.names, zones.zone_of.tolist()) == (("x", "y"), [0, 0, 1])
    assert zones.polygons[0].equals(A.union(overlapping))
    assert [shapely.equals(*pair) for pair in zip(zones.features, (A, overlapping, B), strict=True)] == [True] * 3


def test_invalid_polygons_are_repaired_and_counted(tmp_path: Path) -> None:
    bowtie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    path = write_zones(tmp_path / "z.gpkg", {"x": bowtie, "y": B})
    with pytest.warns(GeosegWarning, match="1 of 2 polygons cross themselves"):
        zones = read_zones(path, "name")
    assert zones.polygons[0].area == pytest.approx(2)
    assert not zones.features[0].is_valid


def test_heights_are_ignored(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "z.gpkg", {"x": shapely.force_3d(A, 7.0)})
    zones = read_zones(path, "name")
    assert zones.polygons[0].equals(A)
    assert not zones.polygons[0].has_z
    assert zones.features[0].has_z


def test_what_is_no_polygon_is_left_out_and_counted(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "z.gpkg", {"x": A, "line": shapely.LineString([(0, 0), (1, 1)]), "none": None})
    with pytest.warns(GeosegWarning, match="2 of 3 features are no polygons"):
        assert read_zones(path, "name").names == ("x",)


def two_layers(path: Path) -> Path:
    write_zones(path, {"x": A}, layer="one")
    return write_zones(path, {"y": B}, layer="two", mode="a")


def test_a_layer_by_name(tmp_path: Path) -> None:
    assert read_zones(two_layers(tmp_path / "z.gpkg"), "name", "two").names == ("y",)


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (lambda p: p, ("name",), InputMissingError, r"zones .*z\.gpkg does not exist"),
        (lambda p: write_zones(p, {"x": A}), ("title",), UsageError, r"--field 'title' is not in .*; it has: name\."),
        (lambda p: write_zones(p, {"x": A}, crs=None), ("name",), InputError, "has no CRS: set it first"),
        (
            lambda p: write_zones(p, {"x": shapely.Point(0, 0)}),
            ("name",),
            InputError,
            "holds no polygons among its 1 features",
        ),
        (lambda p: write_zones(p, {"x": A, None: B}), ("name",), InputError, "1 polygons have no 'name': name them"),
        (two_layers, ("name",), UsageError, r"2 layers with geometry \(one, two\): name one with --layer"),
        (two_layers, ("name", "three"), UsageError, r"--layer 'three' is not in .*one, two"),
        (lambda p: (p.write_bytes(b"no database"), p)[1], ("name",), InputError, "cannot be read"),
    ],
)
def test_refusals(make, arguments, error: type[Exception], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        read_zones(make(tmp_path / "z.gpkg"), *arguments)


def test_a_parquet_file_without_the_field(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it has: name"):
        read_zones(write_zones(tmp_path / "z.parquet", {"x": A}), "geometry")


def test_a_shapefile_is_all_its_files(tmp_path: Path) -> None:
    path = write_zones(tmp_path / "z.shp", {"x": A})
    assert {file.suffix for file in zone_files(path)} == {".shp", ".dbf", ".shx", ".prj", ".cpg"}
    assert zone_files(tmp_path / "z.gpkg") == [tmp_path / "z.gpkg"]
    assert len(gpd.read_file(path)) == 1
