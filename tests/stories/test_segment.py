"""`geoseg segment`: one class raster, by the same stages as `run`; areas of interest, pixel sizes, bad models."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from builders import argmax_model, linear_model, write_raster
from cli_kit import codes_of, geoseg, names_in, polygons_in, reflectance_model, states

from geoseg.io import read as read_module
from geoseg.io.record import verify_record
from geoseg.model.file import bundled, read_spec
from geoseg.stories.segment import describe_accuracy


@pytest.fixture(scope="module")
def whole(piece, model, tmp_path_factory) -> Path:
    """The class raster of the piece, without any area of interest."""
    output = tmp_path_factory.mktemp("whole") / "piece.classes.tif"
    assert geoseg("segment", piece, "-o", output, "-m", model, "--confidence").code == 0
    return output


def test_files_record_and_second_call(whole, piece, model) -> None:
    folder = whole.parent
    rasters = {"classes.tif", "classes.tif.aux.xml", "classes.qml", "confidence.tif"}
    made = {*rasters, "tiles.parquet", "classes.tif.json"}
    assert names_in(folder) == {f"piece.{rest}" for rest in made}
    assert verify_record(folder / "piece.classes.tif.json") == []
    before = states(folder)
    done = geoseg("segment", piece, "-o", whole, "-m", model, "--confidence", "--json")
    assert (done.code, json.loads(done.out)["up_to_date"], states(folder) == before) == (0, True, True)


def test_run_is_segment_then_vectorize(whole, piece, model, tmp_path) -> None:
    assert geoseg("run", piece, "-o", tmp_path, "-m", model, "--confidence").code == 0
    assert geoseg("vectorize", whole, "-o", tmp_path / "later.fgb").code == 0
    np.testing.assert_array_equal(codes_of(whole), codes_of(tmp_path / "piece.classes.tif"))
    first, second = polygons_in(tmp_path / "piece.polygons.gpkg"), polygons_in(tmp_path / "later.fgb")
    assert first.drop(columns="geometry").equals(second.drop(columns="geometry"))
    assert shapely.equals(first.geometry.array, second.geometry.array).all()
    assert first.score.between(0, 1).all()


@pytest.fixture
def aoi(piece, tmp_path) -> Path:
    """Two fields of interest in longitude and latitude, far apart on the raster of 171 × 150."""
    with rasterio.open(piece) as image:
        left, _, _, top = image.bounds
        areas = [
            shapely.Point(left + 335, top - 335).buffer(300),
            shapely.box(left + 1400, top - 1490, left + 1600, top),
        ]
        gpd.GeoDataFrame(geometry=areas, crs=image.crs).to_crs("EPSG:4326").to_file(tmp_path / "aoi.gpkg")
    return tmp_path / "aoi.gpkg"


def test_outside_the_area_of_interest_is_nodata_and_inside_nothing_changes(whole, piece, model, aoi, tmp_path) -> None:
    done = geoseg("segment", piece, "-o", tmp_path / "cut.tif", "-m", model, "--aoi", aoi, "--tile", "32", "--json")
    assert done.code == 0, done.err
    codes, everywhere = codes_of(tmp_path / "cut.tif"), codes_of(whole)
    with rasterio.open(piece) as image:
        area = gpd.read_file(aoi).to_crs(image.crs).geometry.union_all()
        cols, rows = np.meshgrid(np.arange(image.width), np.arange(image.height))
        (left, top), (right, bottom) = image.transform @ (cols, rows), image.transform @ (cols + 1, rows + 1)
    pixels = shapely.box(left, bottom, right, top)
    inside = codes != 255
    np.testing.assert_array_equal(codes, np.where(inside, everywhere, 255))
    # The area is snapped to 1/1024 pixel of 10 m.
    assert inside[shapely.area(shapely.intersection(pixels, area)) > 0.2].all()
    assert not inside[shapely.distance(pixels, area) > 0.02].any()
    summary = json.loads(done.out)["summary"]
    assert summary["outside_px"] == (~inside).sum()
    assert sum(summary["pixels"].values()) == inside.sum()
    assert summary["nodata_px"] == 0


def test_the_table_tells_outside_and_nodata_apart(piece, model, aoi, tmp_path) -> None:
    done = geoseg("segment", piece, "-o", tmp_path / "cut.tif", "-m", model, "--aoi", aoi)
    outside = next(line for line in done.out.splitlines() if line.startswith("outside"))
    inside_m2 = gpd.read_file(aoi).to_crs("EPSG:32618").area.sum()
    assert float(outside.split()[1]) == pytest.approx(171 * 150 / 100 - inside_m2 / 1e4, abs=1.5)
    assert "nodata" not in done.out


def test_tiles_outside_the_area_of_interest_are_never_read(piece, model, aoi, tmp_path, monkeypatch) -> None:
    """The sample for the fit check is read before any tile; from then on only windows near the AOI."""
    windows = []
    original = read_module.read_chip

    def watched(scene, window):
        windows.append(window)
        return original(scene, window)

    monkeypatch.setattr("geoseg.tiling.worker.read_chip", watched)
    assert geoseg("segment", piece, "-o", tmp_path / "cut.tif", "-m", model, "--aoi", aoi, "--tile", "24").code == 0
    with rasterio.open(piece) as image:
        near = gpd.read_file(aoi).to_crs(image.crs).geometry.union_all()
        left, top = image.bounds.left, image.bounds.top
    touched = [
        near.intersects(
            shapely.box(left + 10 * w.col_off, top - 10 * w.row_end, left + 10 * w.col_end, top - 10 * w.row_off)
        )
        for w in windows
    ]
    assert 4 < len(windows) < 30  # of the 56 chips of the whole raster
    assert all(touched)


def test_an_area_of_interest_elsewhere_leaves_nothing_to_do(piece, model, tmp_path) -> None:
    gpd.GeoDataFrame(geometry=[shapely.box(10, 50, 11, 51)], crs="EPSG:4326").to_file(tmp_path / "far.geojson")
    done = geoseg("segment", piece, "-o", tmp_path / "o.tif", "-m", model, "--aoi", tmp_path / "far.geojson")
    assert (done.code, "far.geojson" in done.last, "outside" in done.last) == (65, True, True)


@pytest.mark.parametrize(("gsd", "network_m"), [((20.0, 30.0), 20), ((2.0, 5.0), 5)], ids=["finer", "coarser"])
def test_resampled_for_the_model_the_raster_stays_on_the_input_grid(piece, whole, tmp_path, gsd, network_m) -> None:
    """Where everything around agrees, a detour over another pixel size must not change the class."""
    model = reflectance_model(tmp_path / "other.safetensors", gsd_m=gsd)
    done = geoseg("run", piece, "-o", tmp_path, "-m", model, "--json")
    assert done.code == 0, done.err
    codes, direct = codes_of(tmp_path / "piece.classes.tif"), codes_of(whole)
    with rasterio.open(piece) as image, rasterio.open(tmp_path / "piece.classes.tif") as classes:
        assert (classes.crs, classes.transform, classes.shape) == (image.crs, image.transform, image.shape)
    flat = np.lib.stride_tricks.sliding_window_view(np.pad(direct, 3, mode="edge"), (7, 7))
    uniform = (flat == direct[:, :, None, None]).all(axis=(2, 3))
    assert uniform.sum() > 2000
    assert (codes == direct)[uniform].mean() > 0.999
    assert 0.8 < (codes == direct).mean() < 1
    resampling = json.loads((tmp_path / "piece.json").read_text())["properties"]["geoseg:resampling"]
    assert resampling["from_gsd_m"] == pytest.approx(10, rel=1e-3)
    assert resampling["to_gsd_m"] == pytest.approx(network_m, rel=0.05)
    assert "input's grid" in resampling["note"]


@pytest.mark.parametrize("command", ["segment", "run"])
def test_a_network_that_answers_nan_is_told_and_nothing_is_left(tmp_path, command) -> None:
    """Finite weights, but ∞ − ∞ in the sum: argmax would call it a confident class."""
    scene = write_raster(tmp_path / "scene.tif", np.full((2, 40, 40), 10, "uint8"))
    weight = np.array([[3e38, -3e38], [1, 1]])[:, :, None, None]
    model = linear_model(tmp_path / "nan.safetensors", weight, [0, 0]).path
    out = tmp_path / "out"
    done = geoseg(command, scene, "-o", out if command == "run" else out / "o.tif", "-m", model)
    assert (done.code, "NaN" in done.last) == (70, True)
    assert names_in(out) == set()


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["a.tif", "-o", "out.png"], 2, "let the name end in .tif"),
        (["a.tif", "b.tif", "-o", "out.tif"], 2, "--stack"),
        (["a.tif", "b.tif", "--each", "-o", "out.tif"], 2, "one file"),
        (["none.tif", "-o", "out.tif"], 66, "none.tif"),
        (["a.tif", "-o", "out.tif", "-m", "none.safetensors"], 66, "none.safetensors"),
        (["a.tif", "-o", "out.tif", "-m", "nosuchmodel"], 66, "nosuchmodel"),
        (["a.tif", "-o", "out.tif", "--device", "cuda:99"], 69, "cuda:99"),
        (["a.tif", "-o", "out.tif", "--tile", "0"], 2, "--tile 0"),
        (["a.tif", "-o", "out.tif", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], 2, "--workers"),
        (["a.tif", "-o", "out.tif", "--aoi", "none.gpkg"], 66, "none.gpkg"),
    ],
    ids=str,
)
def test_errors_are_one_line_with_their_code(tmp_path, monkeypatch, args, code, says) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.tif", "b.tif"):
        write_raster(tmp_path / name, np.ones((2, 40, 40), "uint8"))
    argmax_model(tmp_path / "m.safetensors", 2)
    before = names_in(tmp_path)
    done = geoseg("segment", *args, *([] if "-m" in args else ["-m", "m.safetensors"]))
    assert (done.code, says in done.last) == (code, True), done
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert names_in(tmp_path) == before


def test_the_output_is_never_the_input(tmp_path) -> None:
    scene = write_raster(tmp_path / "scene.tif", np.ones((2, 40, 40), "uint8"))
    argmax_model(tmp_path / "m.safetensors", 2)
    before = scene.read_bytes()
    for extra in ([], ["--overwrite"]):
        done = geoseg("segment", scene, "-o", scene, "-m", tmp_path / "m.safetensors", *extra)
        assert (done.code, "scene.tif" in done.last) == (73, True)
    assert scene.read_bytes() == before


def test_the_accuracy_told_is_that_without_the_bands_that_are_missing() -> None:
    spec = read_spec(bundled()["vegetation-aerial"])
    with_all, without = (spec.metrics[key]["overall_accuracy"] for key in ("held_out", "held_out_without_nir"))
    assert describe_accuracy(spec).startswith(f"held-out accuracy {with_all:.2f}, mean IoU 0.94")
    assert describe_accuracy(spec, ("nir",)).startswith(f"held-out accuracy without nir {without:.2f}, mean IoU 0.87")
    assert describe_accuracy(spec, ("blue",)) == describe_accuracy(spec)  # nobody has measured that
