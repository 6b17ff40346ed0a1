"""Law: label rasters are aligned, never shifted. Moving a label raster by k pixels moves the training pixels by k."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from builders import NORTH_UP, write_raster
from hypothesis import given
from hypothesis import strategies as st
from labelmaker import CODES, scene_recipe, shifted, training_map, write_scene

from geoseg.errors import ConfigError, InputError
from geoseg.grid import Grid, Window
from geoseg.io import label_raster
from geoseg.io.label_raster import open_label_raster
from geoseg.io.raster import describe
from geoseg.training.chips import IGNORE
from geoseg.training.data import load_data

HEIGHT, WIDTH = 40, 52


def _aligned(folder: Path, shift: tuple[int, int], seed: int) -> None:
    """Labels on the image's lattice, moved by whole pixels: what was trained on is the map moved by as many."""
    write_scene(folder / "image.tif", HEIGHT, WIDTH)
    codes = np.random.default_rng(seed).choice([*CODES, 255], (HEIGHT, WIDTH)).astype(np.uint8)
    write_raster(folder / "labels.tif", codes, transform=shifted(*shift), nodata=255)
    data = load_data(scene_recipe(folder, [{"image": "image.tif", "labels": "labels.tif"}]))
    expected = np.full((HEIGHT, WIDTH), IGNORE, np.uint8)
    for row in range(HEIGHT):
        for col in range(WIDTH):
            if 0 <= row - shift[1] < HEIGHT and 0 <= col - shift[0] < WIDTH:
                code = codes[row - shift[1], col - shift[0]]
                expected[row, col] = CODES.index(code) if code != 255 else IGNORE
    np.testing.assert_array_equal(training_map(data, HEIGHT, WIDTH), expected)


@given(st.tuples(st.integers(-30, 30), st.integers(-25, 25)), st.integers(0, 99))
def test_moved_labels_move_the_training_pixels(tmp_path_factory, shift, seed) -> None:
    _aligned(tmp_path_factory.mktemp("law"), shift, seed)


def test_the_law_turns_red_when_labels_are_taken_by_array_position(tmp_path, monkeypatch) -> None:
    """Mutation: every label raster counts as lying on the image's grid."""
    own = describe(str(write_scene(tmp_path / "image.tif", HEIGHT, WIDTH))).grid
    monkeypatch.setattr(label_raster, "place", lambda _path, _dataset, _crs: (own, ()))
    _aligned(tmp_path, (0, 0), 1)
    with pytest.raises(AssertionError):
        _aligned(tmp_path, (3, 0), 1)


@given(st.floats(0.3, 4), st.tuples(st.floats(-3, 3), st.floats(-3, 3)), st.floats(-0.4, 0.4))
def test_any_grid_gives_the_code_under_the_pixels_center(tmp_path_factory, zoom, shift, turn) -> None:
    """Against arithmetic: the label pixel that holds the image pixel's center, where that is not a tie."""
    folder = tmp_path_factory.mktemp("grids")
    transform = shifted(*shift) @ Affine.rotation(float(np.degrees(turn))) @ Affine.scale(zoom)
    codes = np.random.default_rng(3).integers(1, 200, (60, 70)).astype(np.uint8)
    write_raster(folder / "labels.tif", codes, transform=transform)
    grid = Grid(describe(str(write_scene(folder / "image.tif", HEIGHT, WIDTH))).grid.crs, NORTH_UP, WIDTH, HEIGHT)
    found, known = open_label_raster(folder / "labels.tif", grid).read(Window(0, 0, WIDTH, HEIGHT))
    rows, cols = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    there = ~transform @ NORTH_UP
    x, y = there.a * cols + there.b * rows + there.c, there.d * cols + there.e * rows + there.f
    clear = (np.abs(x - np.round(x)) > 1e-3) & (np.abs(y - np.round(y)) > 1e-3)
    inside = (x > 0) & (x < 70) & (y > 0) & (y < 60)
    np.testing.assert_array_equal(known[clear], inside[clear])
    both = clear & inside
    np.testing.assert_array_equal(found[both], codes[np.floor(y[both]).astype(int), np.floor(x[both]).astype(int)])


def test_labels_without_a_place_are_refused_unless_it_is_said(tmp_path) -> None:
    write_scene(tmp_path / "image.tif", HEIGHT, WIDTH)
    codes = np.full((HEIGHT, WIDTH), 20, np.uint8)
    codes[:7, :9] = 10
    write_raster(tmp_path / "labels.tif", codes, crs=None, transform=Affine.identity())
    scene = {"image": "image.tif", "labels": "labels.tif"}
    with pytest.raises(InputError, match=r"labels.tif have no CRS; .*labels_on_grid: true"):
        load_data(scene_recipe(tmp_path, [scene]))
    data = load_data(scene_recipe(tmp_path, [scene | {"labels_on_grid": True}]))
    np.testing.assert_array_equal(training_map(data, HEIGHT, WIDTH), np.where(codes == 10, 0, 1))
    write_raster(tmp_path / "labels.tif", codes[1:], crs=None, transform=Affine.identity())
    with pytest.raises(InputError, match=r"39 × 52 pixels \(rows × columns\), the image 40 × 52"):
        load_data(scene_recipe(tmp_path, [scene | {"labels_on_grid": True}]))


def test_codes_that_the_recipe_does_not_name_are_counted(tmp_path) -> None:
    write_scene(tmp_path / "image.tif", HEIGHT, WIDTH)
    codes = np.full((HEIGHT, WIDTH), 20, np.uint8)
    codes[0, :5], codes[1, 0] = 40, 41
    write_raster(tmp_path / "labels.tif", codes)
    with pytest.raises(ConfigError, match=r"40 \(5\), 41 \(1\).* ignore") as caught:
        load_data(scene_recipe(tmp_path, [{"image": "image.tif", "labels": "labels.tif"}]))
    assert "\n" not in str(caught.value)


def test_fractions_are_no_classes(tmp_path) -> None:
    write_scene(tmp_path / "image.tif", HEIGHT, WIDTH)
    write_raster(tmp_path / "labels.tif", np.full((HEIGHT, WIDTH), 10.5, np.float32))
    with pytest.raises(InputError, match=r"hold 10\.5, which is no class code"):
        load_data(scene_recipe(tmp_path, [{"image": "image.tif", "labels": "labels.tif"}]))


def test_a_label_in_another_crs_gives_the_same_training_pixels(shared) -> None:
    """Zion: the label as shipped (Mexico's ITRF2008 / LCC-like grid, 31.5 m) and its aligned form, class by class."""
    folder = shared / "zion_landsat_nlcd"
    grid = describe(str(folder / "landsat8_b2345.tif")).grid
    whole = grid.window
    ours, known = open_label_raster(folder / "nlcd2011_native_grid.tif", grid).read(whole)
    theirs, there = open_label_raster(folder / "nlcd2011_aligned.tif", grid).read(whole)
    both = known & there
    assert both.sum() > 0.99 * there.sum()
    assert (ours[both] == theirs[both]).mean() > 0.99
    moved = np.roll(ours, 1, axis=1)
    assert (moved[both] == theirs[both]).mean() < 0.9  # a shift by one pixel would show
