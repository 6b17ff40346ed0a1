"""The data of a training as a whole: pixels and labels as read, statistics, provenance, room on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import write_raster
from chipmaker import write_set
from labelmaker import CHIP, box, scene_recipe, training_map, write_scene, write_shapes

from geoseg.errors import ConfigError, OutputError, UsageError
from geoseg.io import posix
from geoseg.training import scenes as scenes_module
from geoseg.training import store
from geoseg.training.chips import IGNORE, fit_bands, inner_split
from geoseg.training.data import check_scenes, load_data
from geoseg.training.label_values import spelling_complaint, spellings
from geoseg.training.recipe import read_recipe

SCENE = {"image": "image.tif", "labels": "labels.tif"}


@pytest.fixture
def wall(tmp_path) -> Path:
    """A scene labeled wall to wall, in patches of three classes."""
    write_scene(tmp_path / "image.tif")
    codes = np.array([[10, 20, 30], [20, 30, 10], [30, 10, 20], [10, 30, 20]], np.uint8)
    write_raster(tmp_path / "labels.tif", np.tile(codes.repeat(4, 0).repeat(4, 1), (4, 7))[:, :80])
    return tmp_path


def test_every_window_is_read_once_and_lies_on_the_lattice_of_the_scene(wall, monkeypatch) -> None:
    read, seen = scenes_module.read_chip, []
    monkeypatch.setattr(scenes_module, "read_chip", lambda scene, window: seen.append(window) or read(scene, window))
    data = load_data(scene_recipe(wall, [SCENE]))
    assert len(seen) == len(set(seen)) == 4 * 5 == len(data.chips)
    assert all(w.col_off % CHIP == w.row_off % CHIP == 0 for w in seen)
    assert (training_map(data) != IGNORE).all()


def test_windows_without_labels_are_not_read(tmp_path, monkeypatch) -> None:
    write_scene(tmp_path / "image.tif")
    write_shapes(tmp_path / "labels.gpkg", [("a", box(2, 2, 5, 5)), ("b", box(40, 40, 45, 45))])
    read, seen = scenes_module.read_chip, []
    monkeypatch.setattr(scenes_module, "read_chip", lambda scene, window: seen.append(window) or read(scene, window))
    load_data(scene_recipe(tmp_path, [{"image": "image.tif", "labels": "labels.gpkg", "field": "kind"}]))
    assert [(w.col_off, w.row_off) for w in seen] == [(0, 0), (32, 32)]


def test_reading_words_mean_what_they_mean_to_run(wall) -> None:
    data = load_data(scene_recipe(wall, [SCENE | {"bands": "nir=1,red=2", "offset": -0.5}], scale=0.01, nodata=3))
    at = next(i for i, place in enumerate(data.chips.images[:, 0, 0, 0]) if place == pytest.approx(0.01 - 0.5))
    # nir is the file's first band, which holds rows + 1; DN 3 is nodata by the common word.
    rows = np.delete(np.arange(CHIP), 2)
    expected = np.broadcast_to(((rows + 1) * 0.01 - 0.5)[:, None], (CHIP - 1, CHIP - 5))
    np.testing.assert_allclose(data.chips.images[at, 1][rows][:, 5:], expected, atol=1e-6)
    assert not data.chips.valid[at, 2].any()
    assert not data.chips.valid[at, :, 2].any()
    assert (data.chips.labels[at, 2] == IGNORE).all()


def test_statistics_come_from_labeled_valid_pixels_of_the_training_part_only(wall) -> None:
    recipe = scene_recipe(wall, [SCENE])
    data = load_data(recipe)
    training = data.chips.split("train")
    before = fit_bands(training, recipe)
    held = np.array([split == "val" for split in data.chips.splits])
    assert held.any()
    data.chips.images[held] = 1e6
    assert fit_bands(data.chips.split("train"), recipe) == before
    used = training.images[:, 0][training.valid & (training.labels != IGNORE)].astype(float)
    assert before[0].mean == pytest.approx(used.mean(), abs=1e-4)


def test_a_large_set_lies_in_an_unnamed_file_and_is_the_same(wall, monkeypatch) -> None:
    recipe = scene_recipe(wall, [SCENE])
    in_memory = load_data(recipe, wall)
    before = set(wall.iterdir())
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    monkeypatch.setattr(store.room, "__kwdefaults__", {"limit": 0})
    on_disk = load_data(recipe, wall)
    assert isinstance(on_disk.chips.images, np.memmap)
    assert set(wall.iterdir()) == before
    for name in ("images", "valid", "labels"):
        np.testing.assert_array_equal(getattr(on_disk.chips, name), getattr(in_memory.chips, name))
    parts = [inner_split(data.chips.split("train"), 0.3, 1) for data in (on_disk, in_memory)]
    for ours, theirs in zip(*parts, strict=True):
        assert isinstance(ours.images, np.memmap)
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert fit_bands(on_disk.chips, recipe) == fit_bands(in_memory.chips, recipe)


def test_a_disk_without_room_is_said_before_anything_is_read(wall, monkeypatch) -> None:
    monkeypatch.setattr(store.room, "__kwdefaults__", {"limit": 0})
    monkeypatch.setattr(posix, "free_bytes", lambda _folder: 1000)
    with pytest.raises(OutputError, match=r"take 40960 bytes .*1000 are free"):
        load_data(scene_recipe(wall, [SCENE]), wall)


def test_the_model_file_will_say_where_the_data_come_from(wall) -> None:
    from geoseg.grid import Grid
    from geoseg.io.raster import describe

    recipe = scene_recipe(wall, [SCENE])
    data = load_data(recipe)
    (source,) = data.sources
    assert source["name"] == "rule"
    assert source["scenes"][0]["image"][0]["name"] == "image.tif"
    assert source["scenes"][0]["labels"]["blake2b"] != source["scenes"][0]["image"][0]["blake2b"]
    grid: Grid = describe(str(wall / "image.tif")).grid
    places = {p for p, s in zip(data.chips.places, data.chips.splits, strict=True) if s == "train"}
    assert len(source["footprints"]) == len(places)
    for image, split in zip(data.chips.images, data.chips.splits, strict=True):
        if split == "train":
            col, row = image[1, 8, 8] - 0.5, image[0, 8, 8] - 0.5
            lon, lat = grid.to_lonlat.transform(*(grid.transform @ (float(col), float(row))))
            assert any(w <= lon <= e and s <= lat <= n for w, s, e, n in source["footprints"])


def test_missing_bands_and_wrong_pixel_sizes_are_refused(wall) -> None:
    with pytest.raises(ConfigError, match="has no band 'nir', it has red, green"):
        load_data(scene_recipe(wall, [SCENE | {"bands": "red=1,green=2"}]))
    recipe = scene_recipe(wall, [SCENE])
    narrow = recipe.model_copy(update={"model": recipe.model.model_copy(update={"gsd_m": (20.0, 30.0)})})
    with pytest.raises(ConfigError, match=r"pixels of 10 m, model\.gsd_m says 20…30 m"):
        load_data(narrow)


@pytest.mark.parametrize(
    ("scene", "data", "words"),
    [
        ({"collar": "1"}, {}, r"collar"),
        ({"nodata": "much"}, {}, r"data\.scenes\.0.*--nodata 'much'"),
        ({"crop": 3}, {}, r"data\.scenes\.0\.crop"),
        ({"split": "test"}, {}, r"data\.scenes\.0\.split"),
        ({"source": "elsewhere"}, {}, r"source 'elsewhere' is not among model\.training_data"),
        ({}, {"chip": 20}, r"data\.chip: 20 is not a multiple of network\.stride 8"),
        ({}, {"val_share": 0.9}, r"data\.val_share"),
    ],
)
def test_mistakes_in_a_recipe_are_named_by_their_key(tmp_path, scene, data, words) -> None:
    with pytest.raises((ConfigError, UsageError), match=words) as caught:
        scene_recipe(tmp_path, [SCENE | scene], **data)
    assert "\n" not in str(caught.value)


def test_plain_chips_stay_as_they_are(tmp_path) -> None:
    recipe = read_recipe(write_set(tmp_path))
    data = load_data(recipe)
    assert len(data.chips) == 8
    assert data.report is None
    assert data.not_assessable == {}
    assert data.sources == ({"name": "rule", "license": "CC0-1.0", "attribution": "none"},)
    with pytest.raises(ConfigError, match="plain chips have no label check"):
        check_scenes(recipe)


def test_spellings_are_grouped_and_the_mapping_is_shown() -> None:
    values = ["Sand", "sand", "Sand", "sand ", "Water", None, 3, "wet  sand", "Wet sand"]
    groups = spellings(values)
    assert groups == {"Sand": ("Sand", "sand", "sand "), "Wet sand": ("Wet sand", "wet  sand")}
    assert "labels: ['Sand', 'sand', 'sand ']; labels: ['Wet sand', 'wet  sand']" in str(spelling_complaint(groups))
    assert spelling_complaint({}) is None
