"""`geoseg evaluate --objects`: rasters and polygons of objects, through the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
from builders import UTM, write_raster
from cli_kit import geoseg, names_in
from html_kit import Checked
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from zone_kit import class_raster, square

from geoseg.accuracy.panoptic import panoptic_figures
from geoseg.accuracy.segments import PairTally, segment_keys
from geoseg.classes import ClassScheme, LandClass
from geoseg.stories.evaluate_maps import compare_maps
from geoseg.stories.evaluate_objects import compare_objects
from geoseg.stories.evaluate_settings import EvaluateSettings
from geoseg.stories.watcher import Silent

SCHEME = ClassScheme((LandClass(1, "ground", (200, 200, 200)), LandClass(2, "tree", (0, 140, 60), thing=True)))
MAP = np.array([[1, 2, 2, 1, 2, 2], [1, 2, 2, 1, 2, 2], [1, 1, 1, 1, 1, 1], [2, 2, 1, 1, 255, 255]])
IDS = np.array([[0, 1, 1, 0, 2, 2], [0, 1, 1, 0, 2, 2], [0] * 6, [3, 3, 0, 0, 0, 0]])


def objects_of(*args: object) -> dict[str, Any]:
    done = geoseg("evaluate", *args, "--objects", "--json", "-q")
    assert done.code == 0, done.err
    return json.loads(done.out)["objects"]


@pytest.fixture
def prediction(tmp_path: Path) -> Path:
    return class_raster(tmp_path / "scene.classes.tif", MAP, SCHEME)


def polygons(path: Path, *shapes: Any) -> Path:
    gpd.GeoDataFrame({"kind": ["tree"] * len(shapes)}, geometry=list(shapes), crs=UTM).to_file(path)
    return path


def test_a_map_is_itself(prediction, tmp_path) -> None:
    found = objects_of(prediction, class_raster(tmp_path / "truth.tif", MAP, SCHEME))
    assert found["pq"] == found["sq"] == found["rq"] == 1.0
    assert found["classes"]["tree"]["reference"] == 3
    assert found["objects"]["0.5"]["tp"] == 3
    assert found["map_objects"] == found["reference_objects"] == "4-connected components"


def test_instance_rasters_beside_class_rasters_count(prediction, tmp_path) -> None:
    """The map joins two trees that the reference tells apart."""
    codes = np.where(MAP == 255, 255, MAP)
    codes[0:2, 3] = 2
    joined = class_raster(tmp_path / "other.classes.tif", codes, SCHEME)
    truth = class_raster(tmp_path / "truth.classes.tif", codes, SCHEME)
    write_raster(tmp_path / "truth.instances.tif", np.where(codes == 2, IDS + (IDS == 0), 0).astype("int32"), nodata=0)
    found = objects_of(joined, truth)
    # Five columns of trees as one of 10 pixels; the reference has 6 and 4 of them.
    assert found["objects"]["0.5"] == pytest.approx(
        {"precision": 1.0, "recall": 2 / 3, "f1": 0.8, "tp": 2, "fp": 0, "fn": 1}
    )
    assert found["reference_objects"].endswith("truth.instances.tif")
    named = objects_of(joined, truth, "--reference-instances", tmp_path / "truth.instances.tif", "--iou", "0.5,0.7")
    assert named["objects"]["0.7"]["tp"] == 1


def test_polygons_are_objects_and_elsewhere_nobody_knows(prediction, tmp_path) -> None:
    truth = polygons(tmp_path / "trees.gpkg", square(1, 0, 3, 2), square(4, 0, 6, 1))
    found = objects_of(prediction, truth, "--field", "kind", "--map", "tree=tree")
    assert found["objects"]["0.5"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "tp": 2, "fp": 0, "fn": 0}
    whole = objects_of(prediction, truth, "--field", "kind", "--map", "tree=tree", "--complete")
    assert {key: whole["objects"]["0.5"][key] for key in ("tp", "fp", "fn")} == {"tp": 1, "fp": 2, "fn": 1}


def test_where_polygons_overlap_nobody_knows_whose_a_pixel_is(prediction, tmp_path) -> None:
    truth = polygons(tmp_path / "trees.gpkg", square(1, 0, 3, 2), square(2, 0, 3, 2))
    found = objects_of(prediction, truth, "--field", "kind", "--map", "tree=tree")
    assert found["classes"]["tree"]["reference"] == 1
    assert (found["classes"]["tree"]["tp"], found["classes"]["tree"]["sq"]) == (1, 1.0)


def test_files_keep_the_figures_and_follow_the_instances(prediction, tmp_path) -> None:
    truth = class_raster(tmp_path / "truth.tif", MAP, SCHEME)
    out = tmp_path / "report.json"
    call = ["evaluate", prediction, truth, "-o", out, "--objects", "-q"]
    first = geoseg(*call)
    assert first.code == 0, first.err
    assert "objects at IoU > 0.5: precision 1.000, recall 1.000, F1 1.000 (3 found, 0 false, 0 missed)" in first.out
    assert json.loads(out.read_text())["geoseg:accuracy"]["objects"]["pq"] == 1.0
    assert "up to date" in geoseg(*call).out
    write_raster(tmp_path / "scene.instances.tif", IDS.astype("int32"), nodata=0)
    changed = geoseg(*call)
    assert (changed.code, "--overwrite" in changed.last) == (73, True)


@pytest.mark.parametrize(
    ("flags", "says", "code"),
    [
        (("--objects", "--things", "sea"), "--things 'sea' is no class", 2),
        (("--objects", "--things", "none"), "no class is a thing", 2),
        (("--objects", "--iou", "0.4"), "--iou 0.4 must be 0.5 or more", 2),
        (("--complete",), "--complete is about objects", 2),
        (("--objects", "--instances", "{}/none.tif"), "none.tif", 66),
        (("--objects", "--instances", "{}/small.tif"), "is not on the grid of its class raster", 65),
        (("--objects", "--instances", "{}/float.tif"), "one band of whole numbers", 65),
    ],
)
def test_refusals(prediction, tmp_path, flags, says, code) -> None:
    write_raster(tmp_path / "small.tif", np.zeros((2, 2), "int32"))
    write_raster(tmp_path / "float.tif", np.zeros(MAP.shape, "float32"))
    truth = class_raster(tmp_path / "truth.tif", MAP, SCHEME)
    done = geoseg("evaluate", prediction, truth, *(flag.format(tmp_path) for flag in flags))
    assert (done.code, says in done.last) == (code, True), done.err


def slow(reference: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    """All pixels at once, SciPy's components."""
    keys = []
    for codes in (reference, predicted):
        labels = np.where(codes == 255, 2, codes - 1).astype(np.uint8)
        keys.append(segment_keys(labels, ndimage.label(codes == 2)[0], np.array([False, True])))
    tally = PairTally()
    tally.add(*keys)
    return panoptic_figures(tally.finished(), ("ground", "tree"), np.array([False, True]), (0.5,))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), band=st.integers(1, 300))
def test_no_band_shows(tmp_path_factory, seed: int, band: int) -> None:
    rng = np.random.default_rng(seed)
    blobs = (ndimage.gaussian_filter(rng.random((30, 25)), 1.2) > 0.5) + 1
    codes = np.where(rng.random(blobs.shape) < 0.05, 255, blobs)
    other = np.where(rng.random(blobs.shape) < 0.1, rng.integers(1, 3, blobs.shape), blobs)
    folder = tmp_path_factory.mktemp("maps")
    truth, told = (class_raster(folder / f"{name}.tif", m, SCHEME) for name, m in (("a", codes), ("b", other)))
    asked = EvaluateSettings(objects=True, boundary="none")
    found = compare_objects(compare_maps(told, truth, asked, Silent()), asked, band_px=band)
    for key, value in slow(codes, other).items():
        assert found[key] == value


def test_mutation_components_end_at_bands(monkeypatch, tmp_path) -> None:
    """Named mutation: the components of two bands are not joined at the seam."""
    from geoseg.polygons import survey

    codes = np.full((8, 3), 2)
    paths = [class_raster(tmp_path / f"{name}.tif", codes, SCHEME) for name in "ab"]
    asked = EvaluateSettings(objects=True, boundary="none")
    unite = survey.unite_over_seams
    monkeypatch.setattr(survey, "unite_over_seams", lambda n, _: unite(n, []))
    found = compare_objects(compare_maps(*paths, asked, Silent()), asked, band_px=6)
    assert found["classes"]["tree"]["reference"] == 4


def test_page_and_table_tell_of_objects(prediction, tmp_path) -> None:
    """One tree is found at any threshold, one up to 2/3; one is missed, and one of the map is false."""
    truth = polygons(tmp_path / "truth.gpkg", square(1, 0, 3, 2), square(3, 0, 6, 2), square(4, 3, 6, 4))
    flags = ("--field", "kind", "--map", "tree=tree", "--objects", "--complete", "--iou", "0.5,0.9")
    done = geoseg("evaluate", prediction, truth, "-o", tmp_path / "out", *flags, "--json", "-q")
    assert done.code == 0, done.err
    figures = json.loads(done.out)["objects"]
    assert [figures["objects"][at]["tp"] for at in ("0.5", "0.9")] == [2, 1]
    assert {f"scene.accuracy.{end}" for end in ("objects.csv", "html")} < names_in(tmp_path / "out")
    with (tmp_path / "out" / "scene.accuracy.objects.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    tree = figures["classes"]["tree"]
    assert float(rows["tree"]["pq"]) == tree["pq"]
    assert (rows["tree"]["thing"], rows["ground"]["thing"]) == ("1", "0")
    for at in ("0.5", "0.9"):
        assert [int(rows["tree"][f"{key}_{at}"]) for key in ("tp", "fp", "fn")] == [
            tree["objects"][at][key] for key in ("tp", "fp", "fn")
        ]
        assert rows["ground"][f"tp_{at}"] == ""
    page = (tmp_path / "out" / "scene.accuracy.html").read_text(encoding="utf-8")
    words = " ".join(" ".join(Checked(page).words).split())
    assert f"tree (things) 3 3 {tree['pq']:.3f} {tree['sq']:.3f} {tree['rq']:.3f}" in words
    for at, row in figures["objects"].items():
        assert f"{at} {row['precision']:.3f} {row['recall']:.3f}" in words
    assert "Objects of the map: 4-connected components; of the reference: polygons." in words
