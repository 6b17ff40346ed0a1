"""Law 9: which pixels are valid, what the network sees of the others, and what the map says there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import linear_model, stencil_model, write_raster
from hypothesis import given
from hypothesis import strategies as st
from prediction_kit import predicted

from geoseg.errors import ModelOutputError
from geoseg.io.compose import open_scene
from geoseg.model.file import ModelRef, load_tensors
from geoseg.model.graph import Graph
from geoseg.model.spec import Band
from geoseg.settings import ReadSettings

MEAN, STD, RADIUS = 7.0, 2.0, 3


def network(folder) -> ModelRef:
    """Two bands whose stored 0 is far from the normalized 0; integer weights on halves are exact in fp32."""
    bands = tuple(Band(name=name, mean=MEAN, std=STD, plausible=(-1e9, 1e9)) for name in ("b1", "b2"))
    return stencil_model(folder / "m.safetensors", RADIUS, seed=3, bands=bands)


def by_the_law(data: np.ndarray, model: ModelRef, rule: str) -> np.ndarray:
    """Class index (row, col), 255 where nothing is valid, of data (band, row, col) in which 0 is nodata.

    Invalid pixels (by the rule "any": bands of a pixel) are 0 after normalization, edges are mirrored.
    """
    present = data != 0
    valid = present.all(axis=0) if rule == "all" else present.any(axis=0)
    seen = np.broadcast_to(valid, data.shape) if rule == "all" else present
    values = np.where(seen, (data.astype("float32") - MEAN) / STD, 0)
    padded = np.pad(values, [(0, 0), (RADIUS, RADIUS), (RADIUS, RADIUS)], mode="reflect").astype("float32")
    tensors = load_tensors(model.path)
    logits = torch.nn.functional.conv2d(torch.from_numpy(padded)[None], tensors["weight"], tensors["bias"])[0]
    return np.where(valid, logits.argmax(0).numpy(), model.spec.classes.no_index)


def holey(seed: int, height: int, width: int, holes: float) -> np.ndarray:
    """(band, row, col) with single zeros, and a corner of them."""
    rng = np.random.default_rng(seed)
    data = rng.integers(1, 50, (2, height, width)).astype("uint8")
    data[rng.random(data.shape) < holes] = 0
    data[:, : height // 3, : width // 4] = 0
    return data


@given(
    seed=st.integers(0, 99),
    height=st.integers(8, 60),
    width=st.integers(8, 60),
    holes=st.sampled_from([0.0, 0.05, 0.6]),
    rule=st.sampled_from(["all", "any"]),
)
def test_invalid_pixels_enter_as_zero_and_stay_without_a_class(tmp_path_factory, seed, height, width, holes, rule):
    folder = tmp_path_factory.mktemp("law9")
    data = holey(seed, height, width, holes)
    scene = open_scene([write_raster(folder / "s.tif", data, nodata=0)], ReadSettings(valid=rule))
    model = network(folder)
    np.testing.assert_array_equal(predicted(scene, model, tile=24).index, by_the_law(data, model, rule))


@pytest.mark.parametrize("rule", ["all", "any"])
def test_mutation_another_fill_turns_it_red(tmp_path, monkeypatch, rule):
    """Named mutation: what is invalid enters the network as 1."""
    monkeypatch.setattr(Graph, "fill", 1.0)
    data, model = holey(0, 50, 50, 0.05), network(tmp_path)
    scene = open_scene([write_raster(tmp_path / "s.tif", data, nodata=0)], ReadSettings(valid=rule))
    assert (predicted(scene, model).index != by_the_law(data, model, rule)).any()


def test_nan_is_an_error_and_no_class(tmp_path):
    """Numbers that overflow the network's arithmetic, infinity less infinity."""
    weight = np.full((2, 2, 1, 1), 3e38)
    weight[0, 1] = -3e38
    model = linear_model(tmp_path / "m.safetensors", weight, [0.0, 0.0])
    scene = open_scene([write_raster(tmp_path / "s.tif", np.full((2, 20, 20), 200, "uint8"))])
    with pytest.raises(ModelOutputError, match="answers NaN"):
        predicted(scene, model)
