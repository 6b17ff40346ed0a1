"""Labels as people draw them: what counts, what does not, and that it is said."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from builders import NORTH_UP, UTM, write_raster
from hypothesis import given
from hypothesis import strategies as st
from labelmaker import box, scene_recipe, training_map, write_scene, write_shapes

from geoseg.errors import ConfigError, InputError, InputMissingError, UsageError
from geoseg.io import label_burn
from geoseg.training.chips import IGNORE
from geoseg.training.data import TrainingData, check_scenes, load_data

SCENE = {"image": "image.tif", "labels": "labels.gpkg", "field": "kind", "split": "train"}


def _load(folder, shapes, *, labels="labels.gpkg", crs=UTM, columns=None, **more) -> TrainingData:
    write_scene(folder / "image.tif")
    write_shapes(folder / labels, shapes, crs, **(columns or {}))
    return load_data(scene_recipe(folder, [SCENE | {"labels": labels} | more]))


@given(st.lists(st.tuples(st.floats(0, 80), st.floats(0, 64)), min_size=3, max_size=6))
def test_a_pixel_is_labeled_when_its_center_lies_inside(tmp_path_factory, points) -> None:
    polygon = shapely.Polygon(points).buffer(0)
    if polygon.area < 2 or not isinstance(polygon, shapely.Polygon):
        return
    there = shapely.transform(polygon, lambda xy: np.column_stack(NORTH_UP @ tuple(xy.T)))
    folder = tmp_path_factory.mktemp("law")
    rows, cols = np.mgrid[0:64, 0:80] + 0.5
    inside = shapely.contains_xy(polygon, cols, rows)
    clear = shapely.distance(polygon.boundary, shapely.points(cols, rows)) > 1e-6
    if not (inside & clear).any():
        return
    found = training_map(_load(folder, [("a", there)]))
    np.testing.assert_array_equal(found[clear], np.where(inside[clear], 0, IGNORE))


def test_the_law_turns_red_when_touched_pixels_count(tmp_path, monkeypatch) -> None:
    """Mutation: every pixel that a polygon touches is labeled."""
    real = label_burn.rasterize
    monkeypatch.setattr(label_burn, "rasterize", lambda *a, **k: real(*a, **k, all_touched=True))
    found = training_map(_load(tmp_path, [("a", box(3.6, 3.6, 9.4, 9.4))]))
    assert (found == 0).sum() > 5 * 5  # centers 4.5 … 8.5


@pytest.mark.parametrize("labels", ["labels.gpkg", "labels.shp", "labels.geojson", "labels.fgb"])
def test_formats_and_another_crs(tmp_path, labels) -> None:
    shapes = [("a", box(2, 3, 12, 9)), ("b", box(40, 30, 44, 50))]
    found = training_map(_load(tmp_path, shapes, labels=labels, crs="EPSG:4326"))
    expected = np.full((64, 80), IGNORE, np.uint8)
    expected[3:9, 2:12], expected[30:50, 40:44] = 0, 1
    np.testing.assert_array_equal(found, expected)


def test_numbers_name_classes_like_their_text(tmp_path) -> None:
    found = training_map(_load(tmp_path, [(10, box(0, 0, 4, 4)), (30, box(8, 0, 12, 4))]))
    assert (found[:4, :4] == 0).all()
    assert (found[:4, 8:12] == 2).all()


def test_points_are_pixels_or_discs(tmp_path) -> None:
    points = [("a", shapely.Point(NORTH_UP @ (20.9, 30.1))), ("b", shapely.Point(NORTH_UP @ (50.5, 30.5)))]
    found = training_map(_load(tmp_path, points))
    assert list(zip(*np.nonzero(found != IGNORE), strict=True)) == [(30, 20), (30, 50)]
    found = training_map(_load(tmp_path, points, radius_m=31))
    rows, cols = np.mgrid[0:64, 0:80] + 0.5
    disc = np.hypot(rows - 30.5, cols - 50.5) * 10 < 31
    np.testing.assert_array_equal(found == 1, disc)


def test_contested_pixels_are_not_trained_on_and_the_area_is_told(tmp_path) -> None:
    data = _load(tmp_path, [("a", box(0, 0, 10, 10)), ("b", box(6, 0, 16, 10)), ("a", box(2, 2, 4, 4))])
    found = training_map(data)
    assert (found[:10, :6] == 0).all()
    assert (found[:10, 6:10] == IGNORE).all()
    assert (found[:10, 10:16] == 1).all()
    assert data.report is not None
    (line,) = [line for line in data.report.remarks if "overlap" in line]
    assert "'a' and 'b' overlap, 0.4 ha" in line  # 4 × 10 pixels of 100 m²; a on a is no contradiction


def test_only_reviewed_polygons_of_a_model_count(tmp_path) -> None:
    shapes = [("a", box(0, 0, 4, 4)), ("b", box(8, 0, 12, 4)), ("c", box(20, 0, 24, 4))]
    data = _load(tmp_path, shapes, columns={"reviewed": [True, False, True]})
    found = training_map(data)
    assert set(np.unique(found)) == {0, 2, IGNORE}
    assert "labels.gpkg: 1 not reviewed: left out" in data.report.remarks


def test_everything_that_is_wrong_is_told_and_nothing_crashes(tmp_path) -> None:
    """What a file looks like that somebody digitized in a hurry."""
    write_scene(tmp_path / "image.tif", mask=None)
    bowtie = shapely.Polygon([NORTH_UP @ p for p in ((40, 40), (50, 50), (50, 40), (40, 50))])
    line = shapely.LineString([NORTH_UP @ p for p in ((0, 0), (5, 5))])
    shapes = [
        ("a", box(0, 0, 10, 10)),
        ("A ", box(12, 0, 14, 2)),  # differs by case and a blank
        ("bb", box(20, 0, 30, 10)),  # a typo, of nothing that is near enough to say
        ("b", bowtie),
        ("c", box(70, 10, 90, 20)),  # half outside
        ("c", box(200, 10, 210, 20)),  # wholly
        (None, box(0, 30, 5, 35)),
        ("  ", box(0, 40, 5, 45)),
        ("c", line),
        ("c", None),
        ("c", shapely.Polygon()),
        ("c", box(60.6, 30.6, 60.9, 30.9)),  # holds no pixel's center
    ]
    write_shapes(tmp_path / "labels.gpkg", shapes)
    report = check_scenes(scene_recipe(tmp_path, [SCENE]))
    told = "\n".join((*report.remarks, *report.errors))
    for part in (
        "1 lines: left out",
        "2 without geometry: left out",
        "2 without a class (NULL or blank)",
        "invalid, taken as repaired: feature 4: Self-intersection",
        "2 wholly or partly outside the image",
        "1 hold no pixel of their own",
        "'A ' (1, like 'a')",
        "'bb' (1)",
    ):
        assert part in told, part
    rows = {row.name: row for row in report.classes}
    assert (rows["a"].separate, rows["a"].pixels, rows["a"].usable_ha) == (1, 100, 1.0)
    assert rows["b"].pixels == pytest.approx(50, abs=10)  # two triangles
    assert (rows["c"].pixels, rows["c"].outside_ha) == (100, 2.0)
    with pytest.raises(ConfigError, match="neither classes nor ignore") as caught:
        load_data(scene_recipe(tmp_path, [SCENE]))
    assert "\n" not in str(caught.value)


def test_labels_under_nodata_and_under_clouds_are_told_apart(tmp_path) -> None:
    path = write_scene(tmp_path / "image.tif")
    write_raster(tmp_path / "cloud.tif", np.pad(np.ones((4, 10), np.uint8), ((0, 60), (0, 70))))
    import rasterio

    with rasterio.open(path, "r+") as file:
        data = file.read()
        data[:, 8:10, :10] = 0
        file.write(data)
    write_shapes(tmp_path / "labels.gpkg", [("a", box(0, 0, 10, 10))])
    report = check_scenes(scene_recipe(tmp_path, [SCENE | {"mask": "cloud.tif:nonzero:cloud"}]))
    row = report.classes[0]
    assert (row.usable_ha, row.masked_ha, row.nodata_ha, row.outside_ha) == (0.4, 0.4, 0.2, 0.0)
    head, (first, *_) = report.table()
    assert head == ["class", "separate", "pixels", "usable ha", "nodata ha", "masked ha"]
    assert first == ["a", "1", "40", "0.40", "0.20", "0.40"]


def test_files_that_cannot_be_labels_are_named(tmp_path) -> None:
    write_scene(tmp_path / "image.tif")
    with pytest.raises(InputMissingError, match=r"labels .*labels\.gpkg do not exist"):
        load_data(scene_recipe(tmp_path, [SCENE]))
    write_shapes(tmp_path / "labels.gpkg", [("a", box(0, 0, 4, 4))])
    with pytest.raises(UsageError, match=r"field 'class' is not in .*it has: kind"):
        load_data(scene_recipe(tmp_path, [SCENE | {"field": "class"}]))
    with pytest.raises(UsageError, match="say which field names the class; they have: kind"):
        load_data(scene_recipe(tmp_path, [{"image": "image.tif", "labels": "labels.gpkg"}]))
    import geopandas as gpd

    gpd.read_file(tmp_path / "labels.gpkg").set_crs(None, allow_override=True).to_file(tmp_path / "bare.shp")
    with pytest.raises(InputError, match="have no CRS"):
        load_data(scene_recipe(tmp_path, [SCENE | {"labels": "bare.shp"}]))
    write_shapes(tmp_path / "far.gpkg", [("a", box(4000, 0, 4004, 4))])
    with pytest.raises(ConfigError, match="no labeled pixel that holds data"):
        load_data(scene_recipe(tmp_path, [SCENE | {"labels": "far.gpkg"}]))
