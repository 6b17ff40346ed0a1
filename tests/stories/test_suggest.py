"""`geoseg suggest`, through the command line and the file that it wrote."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from builders import NORTH_UP, write_raster
from cli_kit import cut, names_in, reflectance_model
from cli_kit import geoseg as command
from pyproj import CRS
from zone_kit import class_raster

import geoseg
from geoseg.errors import InputError
from geoseg.grid import Grid
from geoseg.io import boxes as boxes_module
from geoseg.io.boxes import cell_ambiguity
from geoseg.stories.suggest import box_pixels


def doubtful(folder: Path, layer: str = "ambiguity") -> Path:
    """40 × 60 pixels; doubt grows to the right, two cells of 10 × 10 are in great doubt, the last ten rows unknown."""
    codes = np.full((40, 60), 2)
    codes[:, 30:] = 1
    codes[0:10, 20:23] = 7
    ambiguity = np.tile(np.arange(1, 61), (40, 1))
    ambiguity[0:10, 20:30] = 204
    ambiguity[10:20, 0:10] = 153
    values = ambiguity if layer == "ambiguity" else 255 - ambiguity
    values[30:] = 0
    write_raster(folder / f"m.{layer}.tif", values.astype(np.uint8), nodata=0, names=[layer])
    return class_raster(folder / "m.classes.tif", codes)


def suggest(folder: Path, *flags: object) -> gpd.GeoDataFrame:
    done = command("suggest", folder / "m.classes.tif", "-o", folder / "b.gpkg", *flags)
    assert done.code == 0, done.err
    return gpd.read_file(folder / "b.gpkg")


@pytest.mark.parametrize("layer", ["ambiguity", "confidence"])
def test_the_most_ambiguous_boxes_come_first(tmp_path, layer) -> None:
    doubtful(tmp_path, layer)
    table = suggest(tmp_path, "-n", 3, "--size", "10px")
    assert table["rank"].tolist() == [1, 2, 3]
    assert table["ambiguity"].tolist() == pytest.approx([0.8, 0.6, 55.5 / 255], abs=1e-4)
    corners = [NORTH_UP @ at for at in ((20, 0), (0, 10), (50, 0))]
    assert [(box.bounds[0], box.bounds[3]) for box in table.geometry] == corners
    assert (table.geometry.area == 100 * 100).all()
    assert table["classes"].tolist() == ["trees 70 %, bare 30 %", "trees 100 %", "water 100 %"]


def test_boxes_without_scores_are_not_proposed(tmp_path) -> None:
    doubtful(tmp_path)
    table = suggest(tmp_path, "-n", 50, "--size", "10px")
    assert len(table) == 18
    assert table.total_bounds[1] == (NORTH_UP @ (0, 30))[1]
    done = command("suggest", tmp_path / "m.classes.tif", "-o", tmp_path / "c.gpkg", "--size", "10px")
    assert "only 18 of 50 boxes have scores and fit" in done.out
    assert "18 boxes of 10 × 10 pixels" in done.out


def test_json_and_the_second_time(tmp_path) -> None:
    doubtful(tmp_path)
    call = ("suggest", tmp_path / "m.classes.tif", "-o", tmp_path / "b.gpkg", "--n", 2, "--size", "100m", "--json")
    first, second = (json.loads(command(*call).out) for _ in range(2))
    assert (first["up_to_date"], second["up_to_date"]) == (False, True)
    assert first | {"up_to_date": True} == second
    assert (first["n"], first["pixels"]) == (2, [10, 10])
    cells = np.array([204, 153, *np.delete(np.tile(np.arange(5.5, 60, 10), 3), [2, 6])])
    assert first["map_ambiguity"] == pytest.approx(cells.mean() / 255)
    assert names_in(tmp_path) == {"m.classes.tif", "m.ambiguity.tif", "b.gpkg", "b.gpkg.json"}
    assert command(*call, "--size", "50m").code == 73


@pytest.mark.parametrize("band", [1, 700, 2**23])
def test_means_are_the_same_for_all_bands(tmp_path, monkeypatch, band) -> None:
    values = np.random.default_rng(3).integers(0, 256, (47, 35)).astype(np.uint8)
    path = write_raster(tmp_path / "s.tif", values, nodata=0, names=["ambiguity"])
    monkeypatch.setattr(boxes_module, "_BAND_PX", band)
    found = cell_ambiguity(path, Grid(CRS(32618), NORTH_UP, 35, 47), height=9, width=8)
    assert found.shape == (5, 4)
    for row, col in np.ndindex(5, 4):
        cell = values[9 * row : 9 * row + 9, 8 * col : 8 * col + 8]
        assert found[row, col] == pytest.approx(cell[cell > 0].mean() / 255)


def test_boxes_are_square_on_the_ground() -> None:
    lonlat = Grid(CRS(4326), NORTH_UP.__class__(0.001, 0, 10, 0, -0.001, 60), 1000, 1000)
    height, width = box_pixels("1000m", lonlat)
    assert (height, width) == (9, 18)  # a thousandth of a degree is 111 m down and 56 m across
    assert box_pixels("5000px", lonlat) == (1000, 1000)
    feet = Grid(CRS(2263), NORTH_UP.__class__(10, 0, 980_000, 0, -10, 200_000), 100, 100)
    assert box_pixels("30.48m", feet) == (10, 10)


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (("--size", "10ha"), 2, "--size '10ha' is no size: write 640m or 64px"),
        (("--size", "3m"), 2, "--size 3m is less than a pixel (10 × 10 m)"),
        (("--n", 0), 2, "--n 0 is less than one box"),
        (("--scores", "none.tif"), 66, "none.tif does not exist: check --scores"),
        (("-o", "b.shp"), 2, "must end in .gpkg"),
    ],
)
def test_refusals_are_one_line(tmp_path, flags, code, message) -> None:
    doubtful(tmp_path)
    done = command("suggest", tmp_path / "m.classes.tif", "-o", tmp_path / "b.gpkg", *flags)
    assert done.code == code
    assert len(done.err.strip().splitlines()) == 1
    assert message in done.last.replace("10 × 10.0", "10 × 10")


def test_without_scores_the_error_names_the_flag(tmp_path) -> None:
    doubtful(tmp_path)
    (tmp_path / "m.ambiguity.tif").unlink()
    done = command("suggest", tmp_path / "m.classes.tif", "-o", tmp_path / "b.gpkg")
    assert done.code == 66
    assert "make it with `geoseg run … --ambiguity`" in done.last


def test_scores_of_another_map_and_empty_ones_are_refused(tmp_path) -> None:
    path = doubtful(tmp_path)
    other = write_raster(tmp_path / "o.tif", np.ones((5, 5), np.uint8))
    with pytest.raises(InputError, match="is not on the class raster's grid"):
        geoseg.suggest(path, tmp_path / "b.gpkg", scores=other)
    empty = write_raster(tmp_path / "e.tif", np.zeros((40, 60), np.uint8))
    with pytest.raises(InputError, match="has scores in half of it; lower --size"):
        geoseg.suggest(path, tmp_path / "b.gpkg", scores=empty, size="10px")


def test_a_run_with_ambiguity_is_all_that_it_needs(sample, tmp_path) -> None:
    model, scene = reflectance_model(tmp_path / "toy.safetensors"), cut(sample, tmp_path / "piece.tif")
    classes = tmp_path / "piece.classes.tif"
    assert command("segment", scene, "-m", model, "--ambiguity", "-o", classes).code == 0
    result = geoseg.suggest(classes, tmp_path / "b.gpkg", n=4, size="30px")
    assert result.scores == tmp_path / "piece.ambiguity.tif"
    assert result.n == 4
    assert np.mean(result.ambiguity) > result.map_ambiguity
    with rasterio.open(result.scores) as dataset:
        box = gpd.read_file(tmp_path / "b.gpkg").geometry[0]
        window = dataset.window(*box.bounds)
        values = dataset.read(1, window=window)
    assert values.shape == (30, 30)
    assert values[values > 0].mean() / 255 == pytest.approx(result.ambiguity[0])
