"""`--max-vertices` and `--out-crs`, through the command line and the file that it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from builders import write_raster
from cli_kit import geoseg, polygons_in
from scipy.ndimage import gaussian_filter

SHAPINGS = ((), ("--simplify", "25"), ("--smooth",), ("--mmu", "5px", "--simplify", "15", "--smooth"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> Path:
    """A map of four classes with a hole of nodata, and one large component with many holes."""
    rng = np.random.default_rng(4)
    field = gaussian_filter(rng.random((150, 170)), 2.0)
    codes = np.digitize(field, np.quantile(field, [0.15, 0.7, 0.9])).astype("uint8") + 1
    codes[60:75, 80:95] = 255
    place = Affine(10, 0, 500_000, 0, -10, 4_200_000)
    return write_raster(tmp_path_factory.mktemp("map") / "map.tif", codes, nodata=255, transform=place)


def polygons(classes: Path, out: Path, *flags: str) -> gpd.GeoDataFrame:
    done = geoseg("vectorize", classes, "-o", out, *flags, "--json", "--overwrite")
    assert done.code == 0, done.err
    table = polygons_in(out).reset_index()
    assert json.loads(done.out)["n_polygons"] == len(table)
    assert shapely.is_valid(table.geometry.values).all()
    assert shapely.coverage_is_valid(table.geometry.values)
    return table


@pytest.mark.parametrize("shaping", SHAPINGS, ids=" ".join)
def test_parts_make_up_their_whole(classes, tmp_path, shaping) -> None:
    """Parts share poly_id, n_pixels and class; their areas add up. Mutation: parts counted as components."""
    whole = polygons(classes, tmp_path / "whole.gpkg", *shaping)
    parts = polygons(classes, tmp_path / "parts.gpkg", *shaping, "--max-vertices", "60")
    assert shapely.get_num_coordinates(whole.geometry.values).max() > 200
    # Each ring repeats its first vertex.
    rings = 1 + shapely.get_num_interior_rings(parts.geometry.values)
    assert (shapely.get_num_coordinates(parts.geometry.values) - rings).max() <= 60
    assert set(parts["poly_id"]) == set(whole["poly_id"])
    for column in ("class_id", "n_pixels"):
        by_part = parts.groupby("poly_id")[column]
        assert (by_part.nunique() == 1).all()
        assert by_part.first().to_dict() == whole.set_index("poly_id")[column].to_dict()
    # Cut ends are junctions, which simplification keeps: then the lines themselves differ a little.
    loose = 0 if not shaping else 0.02
    assert parts["area_m2"].sum() == pytest.approx(whole["area_m2"].sum(), rel=1e-12 + loose)
    if not shaping:
        summed = parts.groupby("poly_id")["area_m2"].sum()
        assert summed.to_numpy() == pytest.approx(whole.set_index("poly_id")["area_m2"].loc[summed.index].to_numpy())


@pytest.mark.parametrize("shaping", SHAPINGS, ids=" ".join)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3413"])
def test_another_crs(classes, tmp_path, crs, shaping) -> None:
    """Exactly where PROJ puts the vertices; areas stay those of the ground. Mutation: areas measured afterwards."""
    own = polygons(classes, tmp_path / "own.gpkg", *shaping)
    there = polygons(classes, tmp_path / "there.gpkg", *shaping, "--out-crs", crs)
    assert there.crs == crs
    assert there["area_m2"].tolist() == own["area_m2"].tolist()
    expected = own.to_crs(crs)
    for ours, theirs in zip(there.geometry, expected.geometry, strict=True):
        assert shapely.symmetric_difference(ours, theirs).area <= 1e-3 * theirs.area
    oriented = shapely.orient_polygons(there.geometry.values, exterior_cw=False)
    assert shapely.equals_exact(oriented, there.geometry.values).all()


def test_run_takes_both(piece, model, tmp_path) -> None:
    done = geoseg("run", piece, "-o", tmp_path, "-m", model, "--out-crs", "EPSG:4326", "--max-vertices", "40", "--json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    table = polygons_in(Path(result["polygons"][0])).reset_index()
    assert table.crs == "EPSG:4326"
    assert len(table) == result["n_polygons"] > table["poly_id"].nunique()
    assert table["area_m2"].sum() == pytest.approx(sum(result["summary"]["area_m2"].values()), rel=1e-9)


@pytest.mark.parametrize(
    ("flags", "code", "says"),
    [
        (("--max-vertices", "3"), 2, "at least 4"),
        (("--max-vertices", "7", "--smooth"), 2, "at least 8"),
        (("--out-crs", "EPSG:99999999"), 65, "--out-crs"),
    ],
)
def test_refusals(classes, tmp_path, flags, code, says) -> None:
    done = geoseg("vectorize", classes, "-o", tmp_path / "a.gpkg", *flags)
    assert (done.code, says in done.last) == (code, True)
    assert not (tmp_path / "a.gpkg").exists()


def test_no_place_in_the_other_crs_is_one_line(tmp_path) -> None:
    """UTM 60 across the antimeridian has no one picture in longitude and latitude."""
    place = Affine(1000, 0, 800_000, 0, -1000, 8_000_000)
    codes = np.arange(300).reshape(10, 30).astype("uint8") % 3
    scene = write_raster(tmp_path / "fiji.tif", codes, crs="EPSG:32760", transform=place)
    done = geoseg("vectorize", scene, "-o", tmp_path / "a.gpkg", "--out-crs", "EPSG:4326")
    assert done.code == 65
    assert not (tmp_path / "a.gpkg").exists()
