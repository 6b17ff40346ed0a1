"""Which places are held out: pure choice, then on scenes: no shape and no ground is in both parts."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from builders import NORTH_UP, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from labelmaker import CHIP, box, scene_recipe, shifted, window_of, write_scene, write_shapes

from geoseg.errors import ConfigError
from geoseg.training import data as data_module
from geoseg.training import places as places_module
from geoseg.training.blocks import LARGEST_VAL, block_chips, choose_held_out
from geoseg.training.chips import IGNORE
from geoseg.training.data import TrainingData, load_data

COUNTS = st.integers(2, 9).flatmap(
    lambda places: st.integers(1, 4).flatmap(
        lambda classes: st.lists(
            st.lists(st.sampled_from([0, 0, 1, 5, 60]), min_size=classes, max_size=classes),
            min_size=places,
            max_size=places,
        )
    )
)


def _chosen(counts: np.ndarray, share: float = 0.2, seed: int = 0) -> np.ndarray:
    free = np.ones(len(counts), bool)
    return choose_held_out(counts, free, ~free, share, seed)


@given(COUNTS, st.floats(0.05, 0.5), st.integers(0, 5))
def test_no_class_loses_its_last_place_and_none_is_left_out_without_need(rows, share, seed) -> None:
    counts = np.array(rows, np.int64)
    held = _chosen(counts, share, seed)
    np.testing.assert_array_equal(held, _chosen(counts, share, seed))
    train, val = counts[~held], counts[held]
    for index in range(counts.shape[1]):
        if counts[:, index].any():
            assert train[:, index].any()
        if counts[:, index].any() and not val[:, index].any():
            # Every other place with it would have taken some class's last.
            for place in np.flatnonzero(~held & (counts[:, index] > 0)):
                rest = counts[~held].sum(axis=0) - counts[place]
                assert (rest == 0)[counts[~held].sum(axis=0) > 0].any()


def test_shares_come_near_to_what_is_wanted_and_large_places_stay() -> None:
    counts = np.array([[10, 0], [10, 10], [10, 10], [10, 10], [10, 10], [200, 10]], np.int64)
    held = _chosen(counts)
    assert not held[5]
    assert 0.1 <= counts[held, 1].sum() / counts[:, 1].sum() <= 0.4
    assert (counts[held].sum(axis=0) <= LARGEST_VAL * counts.sum(axis=0)).all()


def test_places_that_are_held_out_already_count() -> None:
    counts = np.array([[50, 50], [50, 50], [50, 50], [50, 50]], np.int64)
    held = np.array([True, False, False, False])
    np.testing.assert_array_equal(choose_held_out(counts, ~held, held, 0.25, 0), held)


def test_blocks_are_whole_chips_of_ground() -> None:
    assert block_chips(128, (10, 10), 100_000, 5000) == (4, 4)
    assert block_chips(128, (10, 20), 100_000, 5000) == (2, 4)  # tall pixels: fewer rows
    assert block_chips(128, (10, 10), 12_000, None) == (2, 2)  # a sixth of the scene
    assert block_chips(128, (10, 10), 900_000, None) == (4, 4)  # 5 km at most
    assert block_chips(128, (10, 10), 1000, 1) == (1, 1)


def _parted(folder, shapes, **more) -> TrainingData:
    write_scene(folder / "image.tif")
    drawn = [(kind, box(left, top, left + width, top + height)) for left, top, width, height, kind in shapes]
    write_shapes(folder / "labels.gpkg", drawn)
    scene = {"image": "image.tif", "labels": "labels.gpkg", "field": "kind"}
    return load_data(scene_recipe(folder, [scene | more], block_m=CHIP * 10, val_share=0.3))


def _sides(data: TrainingData, shapes) -> list[set[str]]:
    """For each shape the parts in which one of its own, uncontested pixels is labeled."""
    cover = np.zeros((200, 200), int)
    for left, top, width, height, _ in shapes:
        cover[top : top + height, left : left + width] += 1
    out = []
    for left, top, width, height, _ in shapes:
        mine = np.zeros_like(cover, bool)
        mine[top : top + height, left : left + width] = True
        mine &= cover == 1
        sides = set()
        for number, split in enumerate(data.chips.splits):
            window = window_of(data, number)
            inside = np.zeros_like(mine)
            inside[window.row_off : window.row_off + CHIP, window.col_off : window.col_off + CHIP] = (
                data.chips.labels[number] != IGNORE
            )
            if (inside & mine).any():
                sides.add(split)
        out.append(sides)
    return out


def _no_shape_in_both(folder, seed: int) -> None:
    corners = np.random.default_rng(seed).integers((0, 0, 4, 4), (60, 44, 28, 20), (9, 4)).tolist()
    shapes = [(*corner, "abc"[i % 3]) for i, corner in enumerate(corners)]
    data = _parted(folder, shapes)
    assert all(len(sides) <= 1 for sides in _sides(data, shapes))


@settings(max_examples=15)
@given(st.integers(0, 1000))
def test_no_shape_is_in_both_parts(tmp_path_factory, seed) -> None:
    _no_shape_in_both(tmp_path_factory.mktemp("law"), seed)


def test_the_law_turns_red_when_shapes_are_cut_by_blocks(tmp_path, monkeypatch) -> None:
    """Mutation: labels stay on both sides of a block's border."""
    monkeypatch.setattr(data_module, "_lost", lambda *_a, **_k: False)
    with pytest.raises(AssertionError):
        _no_shape_in_both(tmp_path, 2)


def test_a_shape_of_two_dates_goes_to_one_part(tmp_path) -> None:
    """It lies across a block's border; one date sees its left part, the other its right part."""
    rows, cols = np.mgrid[0:64, 0:80]
    for name, seen in (("one", cols < 32), ("two", cols >= 32)):
        data = np.where(seen, np.stack([rows, cols]) + 1, 0).astype(np.uint16)
        write_raster(tmp_path / f"{name}.tif", data, names=("red", "nir"), nodata=0)
    spots = [(x, y) for x in range(0, 75, 5) for y in range(0, 35, 5)]
    others = [("bc"[n % 2], box(x, y, x + 3, y + 3)) for n, (x, y) in enumerate(spots)]
    write_shapes(tmp_path / "labels.gpkg", [("a", box(24, 40, 40, 50)), *others])
    scenes = [{"image": f"{name}.tif", "labels": "labels.gpkg", "field": "kind"} for name in ("one", "two")]
    for seed in range(3):
        data = load_data(scene_recipe(tmp_path, scenes, block_m=CHIP * 10, val_share=0.4, seed=seed))
        sides = {
            side
            for image, labels, side in zip(data.chips.images, data.chips.labels, data.chips.splits, strict=True)
            if (image[0][labels != IGNORE] > 40).any()
        }
        assert len(sides) == 1


def _two_dates(folder, shift: tuple[int, int], **more) -> TrainingData:
    """The same ground twice; the second image's lattice is moved. Bands hold place in the first image's pixels."""
    write_scene(folder / "one.tif")
    rows, cols = np.mgrid[0:64, 0:80]
    moved = np.stack([rows + shift[1], cols + shift[0]]).astype(np.uint16) + 1
    write_raster(folder / "two.tif", moved, names=("red", "nir"), nodata=0, transform=shifted(*shift))
    codes = np.tile(np.array([[10, 20], [20, 30]], np.uint8).repeat(8, 0).repeat(8, 1), (8, 8))
    write_raster(folder / "labels.tif", codes)
    scenes = [{"image": f"{name}.tif", "labels": "labels.tif", **more.get(name, {})} for name in ("one", "two")]
    return load_data(scene_recipe(folder, scenes, block_m=CHIP * 10, val_share=0.3))


def _ground(data: TrainingData, split: str) -> set[tuple[int, int]]:
    """Pixels of the first image's lattice that a part's chips cover, each at its center."""
    out = set()
    for image, valid, side in zip(data.chips.images, data.chips.valid, data.chips.splits, strict=True):
        if side == split:
            out |= set(zip(*(image[band][valid].astype(int).tolist() for band in (0, 1)), strict=True))
    return out


def _no_common_ground(folder, shift: tuple[int, int]) -> None:
    data = _two_dates(folder, shift)
    assert set(data.chips.splits) == {"train", "val"}
    assert not _ground(data, "train") & _ground(data, "val")


@settings(max_examples=15)
@given(st.tuples(st.integers(-16, 16), st.integers(-16, 16)))
def test_two_dates_of_one_ground_never_share_ground_between_the_parts(tmp_path_factory, shift) -> None:
    _no_common_ground(tmp_path_factory.mktemp("law"), shift)


def test_the_law_turns_red_without_the_look_at_footprints(tmp_path, monkeypatch) -> None:
    """Mutation: nothing is dropped."""
    monkeypatch.setattr(places_module, "common_ground", lambda _one, _other: [])
    with pytest.raises(AssertionError):
        _no_common_ground(tmp_path, (5, 3))


def test_a_leak_by_the_recipes_own_word_is_an_error_that_names_both(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"share ground: one .*in train and two .*in val") as caught:
        _two_dates(tmp_path, (5, 3), one={"split": "train"}, two={"split": "val"})
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="group 'g' has scenes for train and for val"):
        _two_dates(tmp_path, (0, 0), one={"split": "train", "group": "g"}, two={"split": "val", "group": "g"})


def test_groups_stay_together(tmp_path) -> None:
    for number in range(4):
        far = Affine.translation(number * 100_000, 0) @ NORTH_UP
        write_scene(tmp_path / f"{number}.tif", 32, 32, transform=far)
        codes = np.full((32, 32), 10 + 10 * (number % 2), np.uint8)
        write_raster(tmp_path / f"{number}.labels.tif", codes, transform=far)
    scenes = [{"image": f"{n}.tif", "labels": f"{n}.labels.tif", "group": f"g{n // 2}"} for n in range(4)]
    data = load_data(scene_recipe(tmp_path, scenes))
    pairs = set(zip(data.chips.places, data.chips.splits, strict=True))
    assert {place for place, _ in pairs} == {"g0", "g1"}
    assert sorted(split for _, split in pairs) == ["train", "val"]


def test_classes_that_cannot_be_judged_are_named_with_the_reason(tmp_path) -> None:
    shapes = [(0, 0, 6, 6, "a"), (40, 0, 6, 6, "a"), (0, 40, 6, 6, "a"), (70, 0, 6, 6, "b"), (40, 40, 6, 6, "b")]
    data = _parted(tmp_path, shapes)
    assert data.not_assessable["b"] == "only 2 separate labels; 3 are needed to judge a class"
    assert data.not_assessable["c"] == "no label to train on"
    assert "a" not in data.not_assessable
    data = _parted(tmp_path, shapes, split="train")
    assert data.not_assessable["a"] == "no label among the held-out places"
