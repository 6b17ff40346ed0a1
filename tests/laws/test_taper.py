"""Laws 2 and 3 where chips are blended, all score layers and the seam number included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import stencil_model, unet_model, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_kit import predicted

from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.model.file import load_tensors
from geoseg.tiling import plan as plan_module
from geoseg.tiling.plan import plan_tiles


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("taper")
    data = np.random.default_rng(1).integers(1, 200, (4, 270, 331)).astype("uint8")
    data[:, 60:140, 150:260] = 0  # a whole cell and more
    path = write_raster(folder / "noise.tif", data, nodata=0, names=["b1", "b2", "b3", "b4"])
    return open_scene([path])


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    return unet_model(tmp_path_factory.mktemp("taper") / "unet.safetensors")


@pytest.fixture(scope="module")
def reference(noise, unet):
    return predicted(noise, unet, tile=1, blend="taper")


@pytest.mark.parametrize(
    "case", [{"tile": 128, "batch": 3}, {"tile": 10_000, "batch": 5}, {"tile": 100, "shuffle": 0}], ids=str
)
def test_law_2_a_real_network_tapered_gives_the_same_bytes(noise, unet, reference, case):
    predicted(noise, unet, blend="taper", **case).assert_equal(reference)


def test_taper_and_trim_differ_only_where_chips_overlap(noise, unet, reference):
    """Step 64, margin 32: neighbors overlap by 16 pixels on either side of a cell's edge."""
    trimmed = predicted(noise, unet)
    changed = (trimmed.scores["probabilities"] != reference.scores["probabilities"]).any(axis=0)
    assert changed.mean() > 0.05
    middle = (np.abs(np.arange(270) % 64 - 31.5) < 16)[:, None] & (np.abs(np.arange(331) % 64 - 31.5) < 16)
    assert not changed[middle].any()


def test_law_2_mutation_chips_of_other_tiles_left_out_turn_it_red(noise, unet, reference, monkeypatch):
    """Named mutation: a tile predicts the chips of its own cells only."""
    monkeypatch.setattr(plan_module.Axis, "reaching", lambda _axis, first, end: range(first, end))
    found = predicted(noise, unet, tile=64, blend="taper")
    assert (found.scores["confidence"] != reference.scores["confidence"]).any()


@settings(max_examples=15)
@given(
    tile=st.integers(1, 90), zoom=st.sampled_from([1, 2.0, 0.5, 1.3]), margin=st.integers(0, 11), seed=st.integers(0, 9)
)
def test_law_2_for_any_margin_and_pixel_size(tmp_path_factory, tile, zoom, margin, seed):
    """Margins up to 11 of a chip of 32: at most four chips a side reach a pixel."""
    folder = tmp_path_factory.mktemp("zoom")
    data = np.random.default_rng(seed).integers(0, 99, (2, 61, 67)).astype("uint8")
    scene = open_scene([write_raster(folder / "z.tif", data, nodata=0)])
    model = stencil_model(folder / "m.safetensors", 2)
    how = {"blend": "taper", "margin": margin, "gsd": None if zoom == 1 else scene.grid.gsd_m * zoom}
    predicted(scene, model, tile=tile, **how).assert_equal(predicted(scene, model, **how))


def untiled(data, model, radius):
    """Class index and scores of the network over the whole raster at once, edges mirrored."""
    tensors = load_tensors(model.path)
    padded = np.pad(data, [(0, 0), (radius, radius), (radius, radius)], mode="reflect").astype("float32")
    logits = torch.nn.functional.conv2d(torch.from_numpy(padded)[None], tensors["weight"], tensors["bias"])[0]
    return logits.argmax(0).numpy(), torch.softmax(logits, 0).numpy()


@settings(max_examples=15)
@given(radius=st.integers(0, 4), height=st.integers(10, 70), width=st.integers(10, 70), seed=st.integers(0, 99))
def test_law_3_tapered_equals_untiled_when_half_the_margin_covers_the_radius(
    tmp_path_factory, radius, height, width, seed
):
    """Where two chips speak for a pixel both see all that the network looks at: the mean of equals is the same."""
    folder = tmp_path_factory.mktemp("law3")
    data = np.random.default_rng(seed).integers(0, 3, (2, height, width)).astype("uint8")
    scene = open_scene([write_raster(folder / "s.tif", data)])
    model = stencil_model(folder / "m.safetensors", radius, seed=seed, margin=2 * radius)
    found = predicted(scene, model, tile=24, blend="taper")
    index, scores = untiled(data, model, radius)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.scores["probabilities"], (255 * scores).clip(1), atol=0.5 + 1e-3)


def test_law_3_mutation_radius_beyond_half_the_margin_turns_it_red(tmp_path):
    """Named mutation: half the margin = receptive radius − 1. Trimmed, the same margin is enough."""
    data = np.random.default_rng(0).integers(0, 3, (2, 80, 80)).astype("uint8")
    scene = open_scene([write_raster(tmp_path / "s.tif", data)])
    model = stencil_model(tmp_path / "m.safetensors", 4, margin=6)
    expected = (255 * untiled(data, model, 4)[1]).clip(1)
    tapered, trimmed = (predicted(scene, model, tile=24, blend=blend) for blend in ("taper", "trim"))
    assert np.abs(tapered.scores["probabilities"] - expected).max() > 2
    np.testing.assert_allclose(trimmed.scores["probabilities"], expected, atol=0.5 + 1e-3)


def test_the_halo_factor_counts_what_a_tile_predicts_again(noise):
    """Four tiles of 2 × 2 cells: tapered, each predicts a row and a column of its neighbors' chips as well."""
    grid = noise.grid.crop(Window(0, 0, 96, 96))
    trimmed, tapered = (
        plan_tiles(grid, chip=32, margin=4, stride=4, tile=48, blend=blend) for blend in ("trim", "taper")
    )
    assert (trimmed.chips, tapered.chips) == (16, 36)
    assert tapered.halo_factor == pytest.approx(36 * 32 * 32 / 96**2)
    for tile in tapered:
        assert len(list(tapered.reaching(tile))) == 9
