"""`geoseg evaluate` through the command line, and `geoseg.evaluate`."""

from __future__ import annotations

import csv
import json
import sys
import types
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from builders import NORTH_UP, UTM, linear_spec, write_raster
from cli_kit import geoseg as command
from cli_kit import names_in, states
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from zone_kit import THREE, class_raster, square, write_zones

import geoseg
from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import GeosegWarning, InputError, UsageError
from geoseg.grid import Window
from geoseg.io.record import verify_record
from geoseg.stories import evaluate_maps
from geoseg.stories.evaluate_maps import compare_maps
from geoseg.stories.watcher import Silent

# water 1, trees 2, bare 7
MAP = [
    [1, 1, 2, 2],
    [1, 1, 2, 2],
    [1, 255, 7, 7],
    [1, 1, 7, 7],
]
TRUTH = [
    [1, 1, 2, 2],
    [1, 2, 2, 2],
    [1, 1, 2, 7],
    [255, 1, 7, 7],
]
# counted: 14 pixels; 12 agree; (1,1) and (2,2) do not


@pytest.fixture
def prediction(tmp_path: Path) -> Path:
    return class_raster(tmp_path / "scene.classes.tif", MAP)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return class_raster(tmp_path / "truth.tif", TRUTH)


def report_of(*args: object) -> dict:
    done = command("evaluate", *args, "--json", "-q")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_figures_by_hand(prediction, truth) -> None:
    report = report_of(prediction, truth)
    assert report["pixels"] == 14
    assert report["overall_accuracy"] == 12 / 14
    assert report["confusion"]["counts"] == [[5, 0, 0], [1, 4, 1], [0, 0, 3]]
    assert report["classes"]["trees"] == {
        "code": 2,
        "pixels": 6,
        "map_pixels": 4,
        "iou": 4 / 6,
        "f1": 8 / 10,
        "users_accuracy": 1.0,
        "producers_accuracy": 4 / 6,
        "boundary_iou": pytest.approx(4 / 6),
    }
    assert report["kappa"] == pytest.approx((14 * 12 - (5 * 6 + 6 * 4 + 3 * 4)) / (14 * 14 - (5 * 6 + 6 * 4 + 3 * 4)))
    assert report["not_counted"] == {"map_without_class": 1, "contradictory_reference": 0}
    assert report["calibration"] is None
    assert report["files"] == []


def test_the_table_on_the_terminal(prediction, truth) -> None:
    done = command("evaluate", prediction, truth, "-q")
    lines = done.out.splitlines()
    assert lines[0].split() == [
        "class",
        "reference",
        "px",
        "map",
        "px",
        "user's",
        "producer's",
        "F1",
        "IoU",
        "boundary",
        "IoU",
    ]
    assert lines[2].split() == ["water", "5", "6", "0.833", "1.000", "0.909", "0.833", lines[2].split()[-1]]
    assert "overall accuracy 0.857, kappa" in done.out
    assert "boundary IoU within 2 pixels" in done.out
    assert "1 reference pixels do not count" in done.out
    plain = command("evaluate", prediction, truth, "-q", "--boundary", "none").out
    assert "boundary" not in plain


def test_a_folder_of_results_and_the_second_time(prediction, truth, tmp_path) -> None:
    out = tmp_path / "accuracy"
    first = command("evaluate", prediction, truth, "-o", out)
    assert first.code == 0, first.err
    stem = "scene.accuracy"
    assert names_in(out) == {f"{stem}.json", f"{stem}.html", f"{stem}.classes.csv", f"{stem}.confusion.csv"}
    assert verify_record(out / f"{stem}.json") == []
    with (out / f"{stem}.confusion.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[2] == ["trees", "1", "4", "1"]
    assert "Accuracy of scene" in (out / f"{stem}.html").read_text(encoding="utf-8")
    record = json.loads((out / f"{stem}.json").read_text(encoding="utf-8"))
    assert record["geoseg:accuracy"]["overall_accuracy"] == 12 / 14
    before = states(out)
    second = command("evaluate", prediction, truth, "-o", out)
    assert second.out == first.out.replace("(written)", "(up to date)")
    assert states(out) == before
    changed = command("evaluate", prediction, truth, "-o", out, "--boundary", "1px")
    assert (changed.code, "--overwrite" in changed.last) == (73, True)
    assert states(out) == before
    assert command("evaluate", prediction, truth, "-o", out, "--boundary", "1px", "--overwrite").code == 0


def test_a_json_file_alone(prediction, truth, tmp_path) -> None:
    out = tmp_path / "only" / "figures.json"
    report = report_of(prediction, truth, "-o", out)
    assert names_in(out.parent) == {"figures.json"}
    assert report["files"] == [str(out)]
    assert json.loads(out.read_text(encoding="utf-8"))["geoseg:accuracy"]["kappa"] == report["kappa"]
    assert report_of(prediction, truth, "-o", out) == report | {"up_to_date": True}
    refused = command("evaluate", prediction, truth, "-o", tmp_path / "page.html")
    assert (refused.code, "must be a folder" in refused.last) == (2, True)
    refused = command("evaluate", prediction, truth, "-o", tmp_path / "figures.json", "--overwrite", "--field", "x")
    assert refused.code == 0  # a field means nothing to a raster


def test_an_output_that_is_an_input(prediction, tmp_path) -> None:
    zones = write_zones(tmp_path / "ref.json", {1: square(0, 0, 4, 4)}, driver="GeoJSON")
    before = zones.read_bytes()
    done = command("evaluate", prediction, zones, "--field", "name", "-o", zones, "--overwrite")
    assert (done.code, "is an input, too" in done.last) == (73, True)
    assert zones.read_bytes() == before


def test_a_reference_of_another_crs_and_grid(prediction, tmp_path) -> None:
    """The truth on pixels of a fifth of the size, in degrees: the same figures."""
    from rasterio.warp import Resampling, reproject

    fine = np.kron(np.array(TRUTH, np.uint8), np.ones((5, 5), np.uint8))
    there = np.full((60, 60), 255, np.uint8)
    left, top = Transformer.from_crs(UTM, 4326, always_xy=True).transform(500_000, 4_200_000)
    to = Affine(1.2e-5, 0, left - 1e-4, 0, -1e-5, top + 1e-4)
    reproject(
        fine, there, src_transform=NORTH_UP @ Affine.scale(0.2), src_crs=UTM, dst_transform=to, dst_crs="EPSG:4326",
        src_nodata=255, dst_nodata=255, resampling=Resampling.nearest,
    )  # fmt: skip
    other = class_raster(tmp_path / "degrees.tif", there, crs="EPSG:4326", transform=to)
    report = report_of(prediction, other)
    assert report["confusion"]["counts"] == [[5, 0, 0], [1, 4, 1], [0, 0, 3]]
    assert report["notes"][0] == "the reference was brought onto the map's grid by nearest neighbor"


def test_polygons_by_name_and_by_code(prediction, tmp_path) -> None:
    shapes = {
        "water": square(0, 0, 2, 4),
        "trees": [square(2, 0, 4, 2), square(2, 2, 3, 3)],
        "bare": square(2, 3, 4, 4),
    }
    by_name = write_zones(tmp_path / "names.gpkg", shapes)
    codes = {"water": 1, "trees": 2, "bare": 7}
    by_code = write_zones(tmp_path / "codes.shp", {codes[name]: shape for name, shape in shapes.items()})
    report = report_of(prediction, by_name, "--field", "name")
    assert report["confusion"]["counts"] == [[7, 0, 0], [0, 4, 1], [0, 0, 2]]
    assert report["kind"] == "polygons"
    assert report_of(prediction, by_code, "--field", "name")["confusion"] == report["confusion"]
    in_degrees = tmp_path / "degrees.geojson"
    frame = gpd.read_file(by_name)
    frame.geometry = frame.geometry.segmentize(1)
    frame.to_crs(4326).to_file(in_degrees)
    assert report_of(prediction, in_degrees, "--field", "name")["confusion"] == report["confusion"]


def test_a_reference_without_outlines_has_no_boundary_iou(prediction, tmp_path) -> None:
    """Polygons that touch no other: the map's outlines within them are no mistakes of drawing."""
    labels = write_zones(tmp_path / "few.gpkg", {"water": square(0, 0, 1, 4), "trees": square(3, 0, 4, 2)})
    report = report_of(prediction, labels, "--field", "name")
    assert report["boundary"] is None
    assert "no boundary IoU: the reference has no outline between two classes" in report["notes"]
    assert "boundary_iou" not in report["classes"]["water"]


def test_overlapping_polygons_do_not_count_and_are_told(prediction, tmp_path) -> None:
    labels = write_zones(tmp_path / "l.gpkg", {"water": square(0, 0, 2, 4), "trees": square(1, 0, 4, 2)})
    report = report_of(prediction, labels, "--field", "name")
    assert report["not_counted"]["contradictory_reference"] == 2
    assert "2 pixels do not count: reference polygons of different classes overlap there" in report["notes"]
    assert report["pixels"] == 7 + 6 - 2 * 2  # water without nodata, trees, and two pixels in both


def test_names_that_differ_by_case_are_told_with_the_remedy(prediction, tmp_path) -> None:
    labels = write_zones(tmp_path / "l.gpkg", {"Water": square(0, 0, 2, 4), "?": square(2, 2, 4, 4)})
    done = command("evaluate", prediction, labels, "--field", "name")
    assert done.code == 78
    assert "the reference says 'Water', the map 'water'" in done.last
    report = report_of(prediction, labels, "--field", "name", "--map", "Water=water,?=none")
    assert report["pixels"] == 7
    assert report["overall_accuracy"] == 1
    assert report["classes"]["trees"]["iou"] is None


def test_map_and_legends(prediction, tmp_path) -> None:
    other = ClassScheme(tuple(LandClass(code, f"n{code}", (1, 2, 3)) for code in (11, 41, 42, 31)))
    codes = np.select([np.array(TRUTH) == 1, np.array(TRUTH) == 7], [11, 31], 41)
    codes[0, 3] = 42
    truth = class_raster(tmp_path / "nlcd.tif", codes, other)
    refused = command("evaluate", prediction, truth)
    assert refused.code == 78
    assert "no class code in common" in refused.last
    by_map = report_of(prediction, truth, "--map", "11=water,41=2,42=2,31=7")
    legend = tmp_path / "legend.csv"
    legend.write_text("code,name,from\n1,water,n11\n2,trees,n41|42\n7,bare,31\n", encoding="utf-8")
    by_legend = report_of(prediction, truth, "--reference-legend", legend)
    assert by_map["confusion"] == by_legend["confusion"]
    assert by_map["pixels"] == 15
    merging = tmp_path / "merge.csv"
    merging.write_text("code,name,from\n11,wet,water\n41,dry,trees|bare\n", encoding="utf-8")
    merged = report_of(prediction, truth, "--legend", merging, "--map", "11=11,41=41,42=41,31=41")
    assert list(merged["classes"]) == ["wet", "dry"]
    assert merged["confusion"]["counts"] == [[5, 0], [2, 8]]


def test_an_area_of_interest(prediction, truth, tmp_path) -> None:
    """All pixels that it touches, as everywhere."""
    aoi = write_zones(tmp_path / "aoi.gpkg", {"a": square(0.5, 0.5, 1.5, 1.5)})
    report = report_of(prediction, truth, "--aoi", aoi)
    assert report["confusion"]["counts"] == [[3, 0, 0], [1, 0, 0], [0, 0, 0]]
    beyond = write_zones(tmp_path / "beyond.gpkg", {"a": square(50, 50, 60, 60)})
    done = command("evaluate", prediction, truth, "--aoi", beyond)
    assert (done.code, "wholly outside" in done.last) == (65, True)


def test_calibration_from_the_rasters_beside_the_map(prediction, truth, tmp_path) -> None:
    scores = np.full((4, 4), 204, np.uint8)  # 0.8 everywhere
    scores[2, 1] = 0
    write_raster(tmp_path / "scene.confidence.tif", scores, nodata=0)
    report = report_of(prediction, truth)
    calibration = report["calibration"]
    assert calibration["pixels"] == 14
    assert calibration["ece"] == pytest.approx(abs(12 / 14 - 0.8))
    assert [b["pixels"] for b in calibration["bins"] if b["pixels"]] == [14]
    assert calibration["brier"] is None
    sure = np.full((3, 4, 4), 1, np.uint8)
    for layer, code in enumerate((7, 1, 2)):
        sure[layer][np.array(MAP) == code] = 255
    sure[:, 2, 1] = 0
    write_raster(tmp_path / "scene.probabilities.tif", sure, names=("bare", "water", "trees"), nodata=0)
    report = report_of(prediction, truth)
    # 12 pixels right, with 2 other layers of 1/255; 2 wrong
    expected = (12 * 2 / 255**2 + 2 * (1 + (254 / 255) ** 2 + 1 / 255**2)) / 14
    assert report["calibration"]["brier"] == pytest.approx(expected)
    named = write_raster(tmp_path / "mine.tif", np.full((4, 4), 255, np.uint8))
    assert report_of(prediction, truth, "--scores", named)["calibration"]["ece"] == pytest.approx(2 / 14)
    wrong = write_raster(tmp_path / "wrong.tif", np.full((4, 5), 255, np.uint8))
    done = command("evaluate", prediction, truth, "--scores", wrong)
    assert (done.code, "not on the class raster's grid" in done.last) == (65, True)


def test_confidence_of_another_raster_is_told(prediction, truth, tmp_path) -> None:
    write_raster(tmp_path / "scene.confidence.tif", np.full((4, 4), 204, np.uint8))
    class_raster(tmp_path / "scene.raw.tif", MAP)
    assert "before the minimum mapping unit" in report_of(prediction, truth)["warnings"][0]
    assert report_of(tmp_path / "scene.raw.tif", truth)["warnings"] == []
    merging = tmp_path / "merge.csv"
    merging.write_text("code,name,from\n1,wet,water\n2,dry,trees|bare\n", encoding="utf-8")
    report = report_of(tmp_path / "scene.raw.tif", truth, "--legend", merging, "--map", "1=1,2=2,7=2")
    assert "before the legend merged them" in report["warnings"][0]


@pytest.mark.parametrize(
    ("box", "told"),
    [([-75.1, 37.9, -74.9, 38.0], True), ([10.0, 50.0, 11.0, 51.0], False), ([179.0, 30.0, -74.0, 40.0], True)],
)
def test_a_reference_where_the_model_was_trained_is_told(prediction, truth, tmp_path, box, told) -> None:
    spec = replace(linear_spec(2, 3), training_data=({"name": "chips", "footprints": [box]},))
    item = {"properties": {"geoseg:model": {"name": "toy", "training_footprints": spec.training_footprints}}}
    (tmp_path / "scene.json").write_text(json.dumps(item), encoding="utf-8")
    done = command("evaluate", prediction, truth)
    assert ("lies where the model toy was trained" in done.err) is told
    (tmp_path / "scene.json").write_text("[1, 2]", encoding="utf-8")
    assert report_of(prediction, truth)["warnings"] == []


def test_nothing_to_compare_is_an_error(prediction, tmp_path) -> None:
    away = class_raster(tmp_path / "away.tif", TRUTH, transform=NORTH_UP @ Affine.translation(100, 0))
    with pytest.raises(InputError, match=r"away\.tif has no class on the pixels of"):
        geoseg.evaluate(prediction, away)
    there = class_raster(tmp_path / "there.tif", [[255] * 4] * 2 + [[255, 1, 255, 255]] + [[255] * 4])
    with pytest.raises(InputError, match=r"scene\.classes\.tif has no class wherever"):
        geoseg.evaluate(prediction, there)
    far = write_zones(tmp_path / "far.gpkg", {"water": square(100, 0, 120, 9)})
    with pytest.raises(InputError, match="wholly outside the map"):
        geoseg.evaluate(prediction, far, settings=geoseg.EvaluateSettings(field="name"))


@pytest.mark.parametrize("text", ["3", "3 km", "0px", "-1m", "x"])
def test_distances_of_another_form(text) -> None:
    with pytest.raises(UsageError, match="is no distance; write 3px, 30m or none"):
        geoseg.EvaluateSettings(boundary=text)


def test_distances_in_meters_are_of_the_ground() -> None:
    assert geoseg.EvaluateSettings(boundary="30m").distance_px(10.0) == 3
    assert geoseg.EvaluateSettings(boundary="0.3m").distance_px(10.0) == 1
    assert geoseg.EvaluateSettings(boundary="4 px").distance_px(0.5) == 4
    with pytest.raises(UsageError, match="at most 1024"):
        geoseg.EvaluateSettings(boundary="30m").distance_px(0.01)
    with pytest.raises(UsageError, match="--level 95 must lie between 0 and 1"):
        geoseg.EvaluateSettings(level=95)


def test_points_are_assessed_by_their_design(prediction, tmp_path, monkeypatch) -> None:
    """What is handed on; the figures are those of the room of estimators."""
    seen = []

    class Assessed:
        def as_dict(self) -> dict:
            return {"overall_accuracy": 0.5}

        def table(self) -> str:
            return "the table <1>"

    def evaluate_points(*args: object, **options: object) -> Assessed:
        seen.append((args, options))
        return Assessed()

    module = types.ModuleType("geoseg.stories.evaluate_points")
    module.evaluate_points = evaluate_points  # type: ignore[attr-defined]
    module.find_companion = lambda _points, companion: companion  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    points = tmp_path / "points.csv"
    points.write_text("lon,lat,ref_class\n", encoding="utf-8")
    out = tmp_path / "out"
    call = ("evaluate", prediction, points, "--level", "0.9", "--unsure", "keep", "-o", out)
    done = command(*call)
    assert done.code == 0, done.err
    assert done.out.startswith("the table <1>\n")
    asked = {"field": "ref_class", "companion": None, "confidence": 0.9, "unsure": "keep", "legend": None}
    assert seen == [((prediction, points), asked)]
    assert names_in(out) == {"scene.accuracy.json", "scene.accuracy.html"}
    assert "the table &lt;1&gt;" in (out / "scene.accuracy.html").read_text(encoding="utf-8")
    assert command(*call).out.startswith("the table <1>\n")
    assert len(seen) == 1


def test_warnings_reach_python(prediction, tmp_path) -> None:
    more = ClassScheme((*THREE.classes, LandClass(9, "ice", (255, 255, 255))))
    truth = class_raster(tmp_path / "ice.tif", np.where(np.array(TRUTH) == 7, 9, TRUTH), more)
    with pytest.warns(GeosegWarning, match="the map has no 9 'ice'"):
        result = geoseg.evaluate(str(prediction), str(truth))
    assert result.report["classes"]["ice"]["producers_accuracy"] == 0
    assert result.report["classes"]["ice"]["users_accuracy"] is None
    assert result.files == ()


@given(st.integers(1, 400), st.integers(0, 3), st.booleans())
@settings(max_examples=25)
def test_bands_change_no_figure(tmp_path_factory, band_px, distance, polygons) -> None:
    """Through files, from bands of one row to the whole map."""
    folder = tmp_path_factory.mktemp("bands")
    rng = np.random.default_rng(11)
    blocks = rng.choice([1, 2, 7, 255], (2, 6, 5))
    codes, other = (np.kron(b, np.ones((5, 4), int)) for b in blocks)
    prediction = class_raster(folder / "a.classes.tif", codes)
    if polygons:
        shapes = {"water": square(2, 3, 12, 20), "trees": square(10, 15, 19, 29)}
        reference = write_zones(folder / "b.gpkg", shapes)
    else:
        reference = class_raster(folder / "b.tif", np.roll(other, 1, 0))
    scores = rng.integers(0, 256, codes.shape).astype(np.uint8)
    write_raster(folder / "a.confidence.tif", scores)
    asked = geoseg.EvaluateSettings(field="name", boundary=f"{distance}px" if distance else "none")
    found = [compare_maps(prediction, reference, asked, Silent(), band_px=size).tally for size in (band_px, 10**6)]
    for name in ("pairs", "boundary", "levels", "small_reference", "small_predicted"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name), name)
    assert found[0].counted == found[1].counted
    assert found[0].matrix.sum() > 100


def test_bands_overlap_by_the_distance() -> None:
    jobs = list(evaluate_maps._jobs(Window(0, 0, 4, 4), 1, 4))
    assert [(core.row_off, core.row_end) for core, _ in jobs] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert [(around.row_off, around.row_end) for _, around in jobs] == [(0, 2), (0, 3), (1, 4), (2, 4)]


def test_the_same_label_on_another_grid_and_crs(shared) -> None:
    """NLCD as shipped (Albers, 31.5 m) and aligned to the Landsat scene by others: the same map."""
    folder = shared / "zion_landsat_nlcd"
    result = geoseg.evaluate(folder / "nlcd2011_aligned.tif", folder / "nlcd2011_native_grid.tif")
    assert result.report["pixels"] > 1_000_000
    assert result.report["overall_accuracy"] > 0.999


@pytest.mark.slow
def test_a_pair_of_30000_squared_in_two_gigabytes(tmp_path) -> None:
    from cli_kit import measured

    size = 30_000
    for name, shift in (("a.classes.tif", 0), ("b.tif", 37)):
        profile = {"driver": "GTiff", "crs": UTM, "transform": NORTH_UP, "count": 1, "width": size, "height": size}
        options = {"dtype": "uint8", "nodata": 255, "compress": "deflate", "tiled": True, "zlevel": 1}
        rng = np.random.default_rng(5)
        tile = np.kron(rng.integers(1, 9, (20, 1500)), np.ones((20, 20), int)).astype(np.uint8)
        with rasterio.open(tmp_path / name, "w", **profile, **options) as dataset:
            for row in range(0, size, 400):
                part = np.roll(tile, row + shift, axis=1)
                dataset.write(part, 1, window=((row, row + 400), (0, size)))
    done, peak = measured("evaluate", tmp_path / "a.classes.tif", tmp_path / "b.tif", "-o", tmp_path / "out", "-q")
    assert done.code == 0, done.err
    assert peak < 2 * 2**30
    report = json.loads((tmp_path / "out" / "a.accuracy.json").read_text(encoding="utf-8"))["geoseg:accuracy"]
    assert report["pixels"] == size * size
