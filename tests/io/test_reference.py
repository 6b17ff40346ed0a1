"""Reference polygons: read with all their faults, burned by their pixels' centers."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from builders import NORTH_UP, UTM
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS
from zone_kit import at, square

from geoseg.errors import GeosegWarning, InputError, InputMissingError, UsageError
from geoseg.grid import Grid, Window
from geoseg.io import reference as reference_module
from geoseg.io.reference import (
    BurnedClasses,
    frame_of,
    holds_points,
    on_grid,
    read_reference_polygons,
)

GRID = Grid(CRS(UTM), NORTH_UP, 40, 30)
N = 3


def array(*shapes: shapely.Geometry) -> np.ndarray:
    out = np.empty(len(shapes), object)
    out[:] = shapes
    return out


def write(path, values, shapes, *, crs=UTM, field="label"):
    frame = gpd.GeoDataFrame({field: values}, geometry=list(shapes), crs=crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


def burned(shapes, labels, grid: Grid = GRID) -> np.ndarray:
    return BurnedClasses(array(*shapes), np.array(labels), grid, N).read(grid.window)


def test_centers_decide_and_contradictions_are_marked() -> None:
    half = square(2, 2, 5.4, 4.6)  # its last column is covered to 0.4, its last row to 0.6
    found = burned([half, square(4, 2, 9, 3), square(4, 3, 9, 4)], [1, 1, 2])
    expected = np.full(GRID.shape, N)
    expected[2:5, 2:5] = 1
    expected[2, 4:9] = 1
    expected[3, 5:9] = 2
    expected[3, 4] = N + 1  # 1 and 2
    np.testing.assert_array_equal(found, expected)


@st.composite
def scenes(draw):
    corner = st.tuples(st.integers(-5, 44), st.integers(-5, 34))
    shapes, labels = [], []
    for _ in range(draw(st.integers(1, 6))):
        left, top = draw(corner)
        shapes.append(square(left, top, left + draw(st.integers(1, 30)), top + draw(st.integers(1, 30))))
        labels.append(draw(st.integers(0, N - 1)))
    return shapes, labels


def by_hand(shapes, labels) -> np.ndarray:
    """Squares on whole pixels: every class that covers a pixel."""
    cols, rows = np.meshgrid(np.arange(GRID.width) + 0.5, np.arange(GRID.height) + 0.5)
    xs, ys = NORTH_UP @ (cols, rows)
    classes = np.zeros((N, *GRID.shape), bool)
    for shape, label in zip(shapes, labels, strict=True):
        classes[label] |= shapely.contains_xy(shape, xs, ys)
    count = classes.sum(axis=0)
    return np.select([count == 0, count == 1], [N, classes.argmax(axis=0)], N + 1)


@given(scenes(), st.integers(0, 39), st.integers(0, 29))
def test_every_window_is_that_of_the_whole(monkeypatch, scene, col, row) -> None:
    monkeypatch.setattr(reference_module, "_BLOCK", 8)
    expected = by_hand(*scene)
    classes = BurnedClasses(array(*scene[0]), np.array(scene[1]), GRID, N)
    window = Window(col, row, GRID.width - col, GRID.height - row)
    np.testing.assert_array_equal(classes.read(window), expected[window.slices])
    np.testing.assert_array_equal(classes.read(GRID.window), expected)
    frame = classes.frame
    outside = expected.copy()
    if frame is not None:
        outside[frame.slices] = N
    assert (outside == N).all()


def test_mutation_one_of_two_classes_wins_turns_it_red(monkeypatch) -> None:
    """Named mutation: where classes overlap one of them wins."""
    shapes, labels = [square(0, 0, 4, 4), square(2, 2, 6, 6)], [0, 1]
    np.testing.assert_array_equal(burned(shapes, labels), by_hand(shapes, labels))
    monkeypatch.setattr(reference_module, "CONTRADICTORY", -N)
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(burned(shapes, labels), by_hand(shapes, labels))


def test_frames_hold_what_they_frame() -> None:
    assert frame_of(array(square(3.2, 4.7, 6.1, 8)), GRID) == Window(2, 3, 6, 7)
    assert frame_of(array(square(-9, -9, 100, 2)), GRID) == Window(0, 0, 40, 4)
    assert frame_of(array(square(100, 0, 120, 9)), GRID) is None
    assert frame_of(array(), GRID) is None


def test_polygons_come_from_another_crs_as_curves() -> None:
    degrees = gpd.GeoSeries([square(5, 5, 35, 25)], crs=UTM).segmentize(10).to_crs(4326)
    moved = on_grid(np.asarray(degrees.array), CRS(4326), GRID)
    np.testing.assert_array_equal(burned(moved, [0]), burned([square(5, 5, 35, 25)], [0]))
    far = array(shapely.box(20, 10, 30, 20))
    assert shapely.is_empty(on_grid(far, CRS(4326), GRID)[0])


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp", ".parquet"])
def test_whole_numbers_are_codes_anything_else_names(tmp_path, suffix) -> None:
    shapes = [square(0, 0, 2, 2), square(4, 4, 6, 6), square(8, 8, 9, 9)]
    numbers = read_reference_polygons(write(tmp_path / f"n{suffix}", [10, 80, 10], shapes), "label")
    assert numbers.code_of.tolist() == [10, 80, 10]
    assert numbers.classes.codes_mean
    assert numbers.classes.scheme.names == ("class 10", "class 80")
    names = read_reference_polygons(write(tmp_path / f"t{suffix}", ["Wald", "See", "Wald"], shapes), "label")
    assert names.classes.scheme.names == ("Wald", "See")
    assert names.code_of.tolist() == [0, 1, 0]
    assert not names.classes.codes_mean


def test_labels_as_people_draw_them(tmp_path) -> None:
    """No class, no polygon, a bow tie: told, counted, and the rest is used."""
    bow = shapely.Polygon([NORTH_UP @ corner for corner in ((0, 0), (4, 4), (4, 0), (0, 4))])
    path = write(
        tmp_path / "l.gpkg",
        ["a", None, "b", "a"],
        [bow, square(5, 5, 6, 6), square(7, 7, 9, 9), at((0, 0), (0, 5), (5, 5)).centroid],
    )
    with pytest.warns(GeosegWarning) as told:
        found = read_reference_polygons(path, "label")
    texts = [str(warning.message) for warning in told]
    assert len(texts) == 3
    for text, part in zip(
        texts, ("1 of 4 features are no polygons", "1 polygons have no 'label'", "1 polygons cross"), strict=True
    ):
        assert part in text
    assert found.code_of.tolist() == [0, 1]
    assert shapely.is_valid(found.polygons).all()
    assert set(shapely.get_type_id(found.polygons)) <= {3, 6}


def test_refusals(tmp_path) -> None:
    shapes = [square(0, 0, 2, 2)]
    path = write(tmp_path / "r.gpkg", [1.5], shapes)
    with pytest.raises(InputMissingError, match="does not exist"):
        read_reference_polygons(tmp_path / "no.gpkg", "label")
    with pytest.raises(UsageError, match=r"--field names the class .*: .* has label"):
        read_reference_polygons(path, None)
    with pytest.raises(UsageError, match=r"--field 'klass': .* has label"):
        read_reference_polygons(path, "klass")
    with pytest.raises(UsageError, match=r"--layer 'x' is none of them"):
        read_reference_polygons(path, "label", "x")
    with pytest.raises(InputError, match=r"holds 1\.5; a class code is"):
        read_reference_polygons(path, "label")
    with pytest.raises(InputError, match="names no class"):
        read_reference_polygons(write(tmp_path / "e.gpkg", [" "], shapes), "label")
    with pytest.raises(InputError, match="no polygon with a 'label'"), pytest.warns(GeosegWarning):
        read_reference_polygons(write(tmp_path / "n.gpkg", [None], shapes), "label")
    with pytest.raises(InputError, match="has no CRS"):
        read_reference_polygons(write(tmp_path / "c.gpkg", ["a"], shapes, crs=None), "label")
    text = tmp_path / "text.geojson"
    text.write_text("no JSON")
    with pytest.raises(InputError, match="cannot be read"):
        read_reference_polygons(text, "label")


def test_points_are_told_from_polygons(tmp_path) -> None:
    assert holds_points(write(tmp_path / "p.gpkg", ["a"], [square(0, 0, 1, 1).centroid]))
    assert not holds_points(write(tmp_path / "s.gpkg", ["a"], [square(0, 0, 1, 1)]))
    (tmp_path / "t.csv").write_text("lon,lat,ref_class\n")
    assert holds_points(tmp_path / "t.csv")
    with pytest.raises(InputMissingError):
        holds_points(tmp_path / "none.csv")
