"""`--aoi` through the command line: files end exactly at the area's boundary, whatever else is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from builders import write_raster
from cli_kit import codes_of, geoseg, polygons_in
from scipy.ndimage import gaussian_filter
from shapely import Polygon, box

PLACE = Affine(10, 0, 500_000, 0, -10, 4_200_000)
CRS = "EPSG:32618"
AREA = Polygon(
    [(500_103.3, 4_199_890), (501_350, 4_199_702.7), (501_600, 4_198_600.2), (500_700, 4_199_150), (500_200, 4_198_651)]
)
AREA = shapely.difference(AREA, box(500_700, 4_199_400, 500_903.7, 4_199_555.5))
AREA = shapely.difference(AREA, box(500_300, 4_199_101, 501_400, 4_199_104))
"""In a map of 170 × 150 pixels of 10 m, off its lattice, with a hole and a slit of 3 m."""


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> Path:
    rng = np.random.default_rng(4)
    field = gaussian_filter(rng.random((150, 170)), 1.5)
    codes = np.digitize(field, np.quantile(field, [0.15, 0.7, 0.9])).astype("uint8") + 1
    return write_raster(tmp_path_factory.mktemp("map") / "map.tif", codes, crs=CRS, nodata=255, transform=PLACE)


@pytest.fixture(scope="module")
def aoi(tmp_path_factory) -> Path:
    return written(tmp_path_factory.mktemp("aoi") / "aoi.gpkg", AREA)


def written(path: Path, *geometries: object, crs: str = CRS) -> Path:
    gpd.GeoDataFrame(geometry=list(geometries), crs=crs).to_file(path)
    return path


def cut(classes: Path, out: Path, aoi: Path, *flags: object) -> gpd.GeoDataFrame:
    done = geoseg("vectorize", classes, "-o", out, "--aoi", aoi, *flags, "--json", "--overwrite")
    assert done.code == 0, done.err
    table, summary = polygons_in(out).reset_index(), json.loads(done.out)
    assert summary["n_polygons"] == len(table)
    assert sum(summary["area_m2"].values()) == pytest.approx(table.area_m2.sum())
    assert shapely.is_valid(table.geometry.values).all()
    assert shapely.coverage_is_valid(table.geometry.values)
    assert shapely.is_ccw(shapely.get_exterior_ring(table.geometry.values)).all()
    return table


SHAPINGS = (
    (),
    ("--simplify", "25"),
    ("--smooth",),
    ("--max-vertices", "40"),
    ("--mmu", "5px", "--simplify", "15", "--smooth", "--max-vertices", "40"),
)


@pytest.mark.parametrize("shaping", SHAPINGS, ids=" ".join)
def test_polygons_fill_the_area_exactly(classes, aoi, tmp_path, shaping) -> None:
    table = cut(classes, tmp_path / "cut.gpkg", aoi, *shaping)
    union = shapely.union_all(table.geometry.values)
    # The lattice of 1/1024 pixel is 1 cm here, the boundary 6 km long.
    assert shapely.symmetric_difference(union, AREA).area < 0.01 * AREA.length
    assert shapely.hausdorff_distance(union, AREA) < 0.01
    np.testing.assert_allclose(table.area_m2, table.geometry.area, rtol=1e-3)
    other = cut(classes, tmp_path / "other.gpkg", aoi, *shaping, "--out-crs", "EPSG:4326")
    np.testing.assert_allclose(other.area_m2, table.area_m2)


def test_attributes_are_those_of_the_touched_pixels(classes, aoi, tmp_path) -> None:
    """Parts of a component share poly_id, n_pixels and class; the generalized raster holds just these pixels."""
    table = cut(classes, tmp_path / "cut.gpkg", aoi, "--raster-out", tmp_path / "touched.tif")
    assert table.poly_id.duplicated().any()
    assert (table.groupby("poly_id")[["n_pixels", "class_id"]].nunique() == 1).all().all()
    there, everywhere = codes_of(tmp_path / "touched.tif"), codes_of(classes)
    rows, cols = np.indices(there.shape)
    covered = shapely.area(shapely.intersection(box(*(PLACE @ (cols, rows + 1)), *(PLACE @ (cols + 1, rows))), AREA))
    np.testing.assert_array_equal(there, np.where(covered > 0, everywhere, 255))
    assert table.groupby("poly_id").n_pixels.first().sum() == (covered > 0).sum()
    for code in range(1, 5):
        own = shapely.union_all(table.geometry[table.class_id == code].values)
        assert own.area == pytest.approx(covered[everywhere == code].sum(), abs=0.01 * own.length)


def test_any_crs_and_pixels_without_data(classes, tmp_path) -> None:
    """An area in longitude and latitude that reaches beyond the raster; what it holds of it comes, nothing else."""
    around = gpd.GeoSeries([box(499_000, 4_199_001, 500_505, 4_201_000)], crs=CRS).to_crs(4326)
    aoi = written(tmp_path / "around.geojson", *around, crs="EPSG:4326")
    union = shapely.union_all(cut(classes, tmp_path / "cut.gpkg", aoi).geometry.values)
    # Corners of a box in one CRS, straight lines in the other.
    assert shapely.hausdorff_distance(union, box(500_000, 4_199_001, 500_505, 4_200_000)) < 0.5


def test_dissolved_classes_end_there_too(classes, aoi, tmp_path) -> None:
    plain = cut(classes, tmp_path / "cut.gpkg", aoi)
    done = geoseg("vectorize", classes, "-o", tmp_path / "one.gpkg", "--aoi", aoi, "--dissolve")
    assert done.code == 0, done.err
    table = polygons_in(tmp_path / "one.gpkg")
    assert shapely.is_valid(table.geometry.values).all()
    sums = plain.groupby("class_id").area_m2.sum()
    assert table.set_index("class_id").area_m2.to_dict() == pytest.approx(sums.to_dict())
    assert shapely.hausdorff_distance(shapely.union_all(table.geometry.values), AREA) < 0.01


def test_the_key_holds_what_the_area_is_not_what_it_is_called(classes, aoi, tmp_path) -> None:
    call = ("vectorize", classes, "-o", tmp_path / "cut.gpkg", "--aoi")
    assert "written" in geoseg(*call, aoi).out
    copy = written(tmp_path / "copy.geojson", AREA)
    assert "up to date" in geoseg(*call, copy).out
    other = geoseg(*call, written(tmp_path / "other.gpkg", AREA.buffer(5)))
    assert (other.code, "aoi" in other.last) == (73, True)


@pytest.mark.parametrize(
    ("geometry", "flags", "code", "message"),
    [
        (box(0, 0, 9, 9), [], 65, "lies wholly outside the raster; check its place and CRS"),
        (AREA, ["--smooth", "--simplify-outer"], 2, "--simplify-outer would shape lines along the AOI"),
    ],
)
def test_what_cannot_be_done_is_one_line(classes, tmp_path, geometry, flags, code, message) -> None:
    path = written(tmp_path / "aoi.gpkg", geometry)
    done = geoseg("vectorize", classes, "-o", tmp_path / "cut.gpkg", "--aoi", path, *flags)
    assert (done.code, message in done.last) == (code, True), done.err
    assert geoseg("vectorize", classes, "-o", tmp_path / "cut.gpkg", "--aoi", tmp_path / "no.gpkg").code == 66


def test_the_area_is_never_written_over(classes, tmp_path) -> None:
    path = written(tmp_path / "aoi.gpkg", AREA)
    before = path.read_bytes()
    done = geoseg("vectorize", classes, "-o", path, "--aoi", path, "--overwrite")
    assert (done.code, "is also the AOI; choose another -o" in done.last) == (73, True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("flags", [(), ("--mmu", "9px", "--simplify", "20")], ids=" ".join)
def test_a_run_ends_exactly_at_its_area(piece, model, tmp_path, flags) -> None:
    with rasterio.open(piece) as image:
        left, bottom, right, top = image.bounds
        crs = image.crs
    area = Polygon([(left + 103.7, top - 50), (right - 91, top - 301.3), (right - 400, bottom + 120.9)])
    aoi = written(tmp_path / "aoi.gpkg", area, crs=crs)
    done = geoseg("run", piece, "-o", tmp_path / "out", "-m", model, "--aoi", aoi, *flags, "--json")
    assert done.code == 0, done.err
    table, summary = polygons_in(tmp_path / "out/piece.polygons.gpkg"), json.loads(done.out)["summary"]
    assert shapely.coverage_is_valid(table.geometry.values)
    assert shapely.hausdorff_distance(shapely.union_all(table.geometry.values), area) < 0.01
    assert sum(summary["area_m2"].values()) == pytest.approx(table.area_m2.sum())
    whole_m2 = (right - left) * (top - bottom)
    assert summary["outside_m2"] == pytest.approx(whole_m2 - area.area, rel=1e-3)
    assert summary["nodata_px"] == 0
    # The class raster holds every pixel that the area touches, so that the next `vectorize` finds all of it.
    again = cut(tmp_path / "out/piece.classes.tif", tmp_path / "again.gpkg", aoi, *flags[2:])
    assert again.area_m2.sum() == pytest.approx(table.area_m2.sum())
