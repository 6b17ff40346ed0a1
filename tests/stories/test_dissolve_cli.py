"""`--dissolve` through the command line and the file that it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from affine import Affine
from builders import write_raster
from cli_kit import FORMATS, codes_of, geoseg, polygons_in, states
from rasterio.features import rasterize
from scipy.ndimage import gaussian_filter

from geoseg.io import geojson, vector

NODATA = 255
PLACE = Affine(10, 0, 500_000, 0, -10, 4_200_000)
SHAPINGS = ((), ("--simplify", "25"), ("--smooth",), ("--mmu", "5px", "--simplify", "15", "--smooth"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> Path:
    """Four classes in patches with holes, islands and diagonal neighbors; nodata inside; scores beside them."""
    rng = np.random.default_rng(8)
    field = gaussian_filter(rng.random((110, 130)), 1.5)
    codes = np.digitize(field, np.quantile(field, [0.15, 0.7, 0.9])).astype("uint8") + 1
    codes[60:75, 80:95] = NODATA
    folder = tmp_path_factory.mktemp("map")
    scores = rng.integers(1, 256, codes.shape).astype("uint8")
    write_raster(folder / "map.confidence.tif", scores, nodata=0, transform=PLACE)
    return write_raster(folder / "map.classes.tif", codes, nodata=NODATA, transform=PLACE)


def made(classes: Path, out: Path, *flags: str) -> tuple[gpd.GeoDataFrame, dict[str, object]]:
    done = geoseg("vectorize", classes, "-o", out, *flags, "--json", "--overwrite")
    assert done.code == 0, done.err
    table, told = polygons_in(out).reset_index(), json.loads(done.out)
    assert told["n_polygons"] == len(table) == sum(told["count"].values())
    assert shapely.is_valid(table.geometry.values).all()
    return table, told


def belongs(one: gpd.GeoDataFrame, many: gpd.GeoDataFrame) -> None:
    """Rows of classes say what the rows of their components say together."""
    by_class = many.assign(weighted=many["score"] * many["n_pixels"]).groupby("class_id")
    one = one.set_index("class_id")
    assert one.index.is_unique
    assert set(one.index) == set(by_class.groups)
    for column, rel in (("n_pixels", 0), ("area_m2", 1e-12), ("area_ha", 1e-12), ("perim_m", 1e-12)):
        assert one[column].to_dict() == pytest.approx(by_class[column].sum().to_dict(), rel=rel, abs=0)
    assert one["poly_id"].to_dict() == by_class["poly_id"].min().to_dict()
    assert one["class_name"].to_dict() == by_class["class_name"].first().to_dict()
    means = (by_class["weighted"].sum() / by_class["n_pixels"].sum()).to_dict()
    assert one["score"].to_dict() == pytest.approx(means, rel=1e-12)
    for code, group in by_class:
        union = shapely.union_all(group.geometry.values)
        assert shapely.area(one.geometry[code]) == pytest.approx(shapely.area(group.geometry.values).sum(), rel=1e-9)
        assert one.geometry[code].symmetric_difference(union).area <= 1e-9 * union.area
        assert len(shapely.get_parts(one.geometry[code])) == len(group)


@pytest.mark.parametrize("shaping", SHAPINGS, ids=" ".join)
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_class_is_the_sum_of_its_polygons(classes, tmp_path, suffix, shaping) -> None:
    """In all columns, in each format. Mutation seen red: the layer declared as one of plain polygons."""
    many, told = made(classes, tmp_path / f"many.{suffix}", *shaping)
    one, told_one = made(classes, tmp_path / f"one.{suffix}", *shaping, "--dissolve")
    belongs(one, many)
    assert told_one["area_m2"] == told["area_m2"]
    assert told_one["changed"] == told["changed"]
    assert (one["scene_id"] == "map").all()


def test_dissolved_polygons_are_the_class_map(classes, tmp_path) -> None:
    """Law 4, class by class. The layer is of multipolygons, whatever a class holds."""
    table, _ = made(classes, tmp_path / "one.gpkg", "--dissolve")
    codes = codes_of(classes)
    shapes = zip(table.geometry, table["class_id"], strict=True)
    burned = rasterize(shapes, codes.shape, fill=NODATA, transform=PLACE, dtype="uint8")
    np.testing.assert_array_equal(burned, codes)
    assert table["n_pixels"].tolist() == [int((codes == code).sum()) for code in table["class_id"]]
    layers = dict(pyogrio.list_layers(tmp_path / "one.gpkg"))
    assert layers == {"map": "MultiPolygon", "layer_styles": None}
    styles = pyogrio.read_dataframe(tmp_path / "one.gpkg", layer="layer_styles", read_geometry=False)
    assert "class_id" in styles["styleQML"][0]
    assert (shapely.get_num_coordinates(table.geometry.values) > 5).all()


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_class_of_one_polygon_is_a_multipolygon_too(tmp_path, suffix) -> None:
    raster = write_raster(tmp_path / "a.tif", np.array([[1, 1, 2]], "uint8"), nodata=NODATA, transform=PLACE)
    table, _ = made(raster, tmp_path / f"a.{suffix}", "--dissolve")
    # A Shapefile knows one type for both; GDAL, which warps what becomes GeoJSON, leaves a lone member alone.
    assert set(table.geom_type) == {"Polygon" if suffix in {"shp", "geojson"} else "MultiPolygon"}
    if suffix == "parquet":
        geo = json.loads(pq.read_metadata(tmp_path / "a.parquet").metadata[b"geo"])
        assert geo["columns"]["geometry"]["geometry_types"] == ["MultiPolygon"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_no_class_at_all(tmp_path, suffix) -> None:
    raster = write_raster(tmp_path / "a.tif", np.array([[1, 1]], "uint8"), nodata=NODATA, transform=PLACE)
    output = tmp_path / f"a.{suffix}"
    done = geoseg("vectorize", raster, "-o", output, "--dissolve", "--skip-classes", "1", "--json")
    assert (done.code, json.loads(done.out)["n_polygons"]) == (0, 0)
    assert vector.count_features(output) == 0


def test_another_crs(classes, tmp_path) -> None:
    """Areas stay those of the ground."""
    one, _ = made(classes, tmp_path / "one.fgb", "--dissolve")
    there, _ = made(classes, tmp_path / "there.fgb", "--dissolve", "--out-crs", "EPSG:3857")
    assert there.crs == "EPSG:3857"
    assert there["area_m2"].tolist() == one["area_m2"].tolist()
    expected = one.to_crs("EPSG:3857").geometry
    assert (there.geometry.symmetric_difference(expected).area < 1e-3 * expected.area).all()


@pytest.mark.parametrize("shaping", SHAPINGS, ids=" ".join)
def test_pieces_that_an_aoi_cuts(classes, tmp_path, shaping) -> None:
    """Pixels and scores of a component in several pieces count once, its areas all. Mutation seen red: every row."""
    # Slits of 4 m: all pixels are touched, so components are those of the whole map.
    teeth = [shapely.box(5e5 + x, 4.2e6 - 1011, 5e5 + x + 36, 4.2e6 - 17) for x in range(12, 1250, 40)]
    area = gpd.GeoSeries([shapely.MultiPolygon(teeth)], crs="EPSG:32618")
    area.to_file(tmp_path / "area.gpkg")
    flags = (*shaping, "--aoi", str(tmp_path / "area.gpkg"))
    many, _ = made(classes, tmp_path / "many.gpkg", *flags)
    one, _ = made(classes, tmp_path / "one.gpkg", *flags, "--dissolve")
    components = many.drop_duplicates("poly_id")
    assert len(many) > len(components) + 50
    weighted = (components["score"] * components["n_pixels"]).groupby(components["class_id"]).sum()
    one = one.set_index("class_id")
    n_pixels = components.groupby("class_id")["n_pixels"].sum()
    assert one["n_pixels"].to_dict() == n_pixels.to_dict()
    assert one["score"].to_dict() == pytest.approx((weighted / n_pixels).to_dict(), rel=1e-12)
    assert one["area_m2"].to_dict() == pytest.approx(many.groupby("class_id")["area_m2"].sum().to_dict(), rel=1e-12)


def test_it_is_part_of_the_key(classes, tmp_path) -> None:
    output = tmp_path / "a.gpkg"
    first = geoseg("vectorize", classes, "-o", output, "--dissolve", "--json")
    before = states(tmp_path)
    again = geoseg("vectorize", classes, "-o", output, "--dissolve", "--json")
    assert (again.code, states(tmp_path)) == (0, before)
    assert json.loads(again.out) == json.loads(first.out) | {"up_to_date": True}
    other = geoseg("vectorize", classes, "-o", output)
    assert (other.code, "dissolve" in other.last) == (73, True)


def test_what_cannot_be_is_one_line(classes, tmp_path, monkeypatch) -> None:
    done = geoseg("vectorize", classes, "-o", tmp_path / "a.gpkg", "--dissolve", "--max-vertices", "50")
    assert (done.code, "--dissolve joins what --max-vertices 50 cuts apart" in done.last) == (2, True)
    monkeypatch.setattr(geojson, "_LIMIT", 10_000)
    done = geoseg("vectorize", classes, "-o", tmp_path / "a.geojson", "--dissolve")
    assert (done.code, "GDAL reads no GeoJSON feature above 52" in done.last) == (74, True)
    monkeypatch.setattr(vector, "_SHP_LIMIT", 10_000)
    done = geoseg("vectorize", classes, "-o", tmp_path / "a.shp", "--dissolve")
    assert (done.code, "a Shapefile holds 2" in done.last) == (74, True)
    assert list(tmp_path.iterdir()) == []


def test_run_takes_it_in_every_format(piece, model, tmp_path) -> None:
    flags = ("-m", model, "--confidence", "--format", ",".join(FORMATS), "--mmu", "4px", "--simplify", "12", "--json")
    told = {}
    for name, more in (("many", ()), ("one", ("--dissolve",))):
        done = geoseg("run", piece, "-o", tmp_path / name, *flags, *more)
        assert done.code == 0, done.err
        told[name] = json.loads(done.out)
    assert told["one"]["summary"]["area_m2"] == told["many"]["summary"]["area_m2"]
    for one, many in zip(told["one"]["polygons"], told["many"]["polygons"], strict=True):
        table = polygons_in(Path(one)).reset_index()
        belongs(table, polygons_in(Path(many)).reset_index())
        assert len(table) == told["one"]["n_polygons"]
