"""Test-time augmentation: eight views, each turned back, and their mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import linear_model, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_kit import predicted

from geoseg.arrays import Chip
from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.tiling.tta import VIEWS, View, augmented

TURNS = st.sampled_from(VIEWS["d4"])


def chip_of(data, col_off=-3, row_off=8):
    """A chip of one band; an odd pixel is absent, another masked."""
    rows, cols = data.shape
    present = data % 7 != 3
    masked = (data % 5 == 1).astype("uint8")
    return Chip(data[None], present[None], present & (masked == 0), Window(col_off, row_off, cols, rows), masked)


def seen(chips):
    """A "network" that sees direction: each class its own lopsided neighbor, and what is not present as 0."""
    out = []
    for chip in chips:
        values = np.where(chip.present[0], chip.data[0], 0).astype("float32")
        padded = np.pad(values, 1)
        layers = [padded[1:-1, :-2] + 2 * padded[:-2, 1:-1], padded[2:, 2:] - values, 3 * padded[:-2, :-2]]
        out.append(np.stack(layers))
    return out


def test_the_views_are_the_symmetries_of_the_square():
    probe = np.arange(6).reshape(2, 3)
    expected = {
        np.rot90(image, turns).tobytes() + bytes(np.rot90(image, turns).shape)
        for image in (probe, probe[:, ::-1])
        for turns in range(4)
    }
    assert {view.of(probe).tobytes() + bytes(view.of(probe).shape) for view in VIEWS["d4"]} == expected
    assert len(expected) == 8
    assert [view.of(probe).tolist() for view in VIEWS["flip"]] == [
        probe.tolist(),
        probe[:, ::-1].tolist(),
        probe[::-1].tolist(),
        probe[::-1, ::-1].tolist(),
    ]


@given(view=TURNS, rows=st.integers(1, 5), cols=st.integers(1, 5))
def test_back_undoes_the_view(view, rows, cols):
    probe = np.arange(2 * rows * cols).reshape(2, rows, cols)
    np.testing.assert_array_equal(view.back(view.of(probe)), probe)


@given(view=TURNS)
def test_a_chip_is_turned_as_a_whole(view):
    chip = chip_of(np.arange(12, dtype="uint8").reshape(3, 4))
    turned = view.of_chip(chip)
    assert turned.window.shape == turned.valid.shape == ((4, 3) if view.transpose else (3, 4))
    assert (turned.window.col_off, turned.window.row_off) == (-3, 8)
    for there, here in ((turned.data, chip.data), (turned.present, chip.present), (turned.masked, chip.masked)):
        np.testing.assert_array_equal(view.back(there), here)


def turned_answer(view, tta):
    """How far the answer to a turned chip is from the turned answer."""
    chips = [chip_of(np.random.default_rng(n).integers(0, 9, (4, 6)).astype("uint8")) for n in range(2)]
    straight = augmented(seen, chips, tta)
    turned = augmented(seen, [view.of_chip(chip) for chip in chips], tta)
    return max(np.abs(view.back(there) - here).max() for there, here in zip(turned, straight, strict=True))


@given(view=TURNS)
def test_the_mean_turns_with_the_image(view):
    assert turned_answer(view, "d4") < 1e-4
    if not view.transpose:
        assert turned_answer(view, "flip") < 1e-4


@pytest.mark.parametrize("tta", ["none", "flip"])
def test_without_all_views_it_does_not(tta):
    assert turned_answer(View(transpose=True, mirror_rows=True, mirror_cols=False), tta) > 1


def test_mutation_answers_turned_the_same_way_again_turn_it_red(monkeypatch):
    """Named mutation: a view's answer is put through the view once more instead of back."""
    view = View(transpose=True, mirror_rows=True, mirror_cols=False)
    assert turned_answer(view, "d4") < 1e-4
    original = View.back
    monkeypatch.setattr(View, "back", lambda self, a: self.of(a) if a.ndim == 3 and self == view else original(self, a))
    square = [chip_of(np.random.default_rng(3).integers(0, 9, (5, 5)).astype("uint8"))]
    (straight,), (turned,) = augmented(seen, square, "d4"), augmented(seen, [view.of_chip(square[0])], "d4")
    assert np.abs(original(view, turned) - straight).max() > 1


def test_the_mean_by_hand():
    """A network that gives each pixel its right neighbor: mirrored, the left one; the mean of both."""

    def right(chips):
        return [np.pad(chip.data[:, :, 1:], [(0, 0), (0, 0), (0, 1)]).astype("float32") for chip in chips]

    (mean,) = augmented(right, [chip_of(np.array([[1, 2, 4]], "uint8"))], "flip")
    assert mean.tolist() == [[[1, 2.5, 1]]]


@settings(max_examples=12)
@given(view=TURNS, tile=st.integers(1, 60), height=st.integers(8, 60), width=st.integers(8, 60))
def test_a_turned_scene_gets_the_turned_map(tmp_path_factory, view, tile, height, width):
    """Law 3 makes the whole scene turn: a lopsided kernel of radius 2, chips with a margin of 4."""
    folder = tmp_path_factory.mktemp("d4")
    rng = np.random.default_rng(height * 100 + width)
    data = rng.integers(1, 9, (2, height, width)).astype("uint8")
    data[:, rng.random((height, width)) < 0.02] = 0
    weight = np.random.default_rng(5).normal(0, 0.1, (3, 2, 5, 5))
    model = linear_model(folder / "m.safetensors", weight, [0, 0, 0])
    straight, turned = (
        predicted(open_scene([write_raster(folder / f"{n}.tif", image, nodata=0)]), model, tile=tile, tta="d4")
        for n, image in enumerate([data, np.ascontiguousarray(view.of(data))])
    )
    for name, layer in straight.scores.items():
        assert np.abs(view.back(turned.scores[name]).astype(int) - layer).max() <= 1
    np.testing.assert_array_equal(view.back(turned.index) == 255, straight.index == 255)
    clear = straight.scores["ambiguity"] < 250
    np.testing.assert_array_equal(view.back(turned.index)[clear], straight.index[clear])
    assert clear.mean() > 0.5


@settings(max_examples=8)
@given(tile=st.integers(1, 60), batch=st.integers(1, 5), tta=st.sampled_from(["flip", "d4"]))
def test_law_2_with_views(tmp_path_factory, tile, batch, tta):
    folder = tmp_path_factory.mktemp("views")
    data = np.random.default_rng(2).integers(0, 99, (2, 61, 43)).astype("uint8")
    scene = open_scene([write_raster(folder / "s.tif", data, nodata=0)])
    model = linear_model(folder / "m.safetensors", np.random.default_rng(5).normal(0, 0.1, (3, 2, 5, 5)), [0, 0, 0])
    one = predicted(scene, model, tta=tta)
    predicted(scene, model, tta=tta, tile=tile, batch=batch).assert_equal(one)
    assert (predicted(scene, model).scores["probabilities"] != one.scores["probabilities"]).any()


def test_views_are_values():
    assert replace(VIEWS["none"][0], transpose=True) in VIEWS["d4"]
    assert len(set(VIEWS["d4"])) == 8
