"""OpenVINO in the place of torch: nearly the same scores, the same bytes however many run at once."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from builders import unet_model

from geoseg.arrays import Chip
from geoseg.grid import Window
from geoseg.model.device import Resolved
from geoseg.model.predictor import Predictor

pytest.importorskip("openvino", reason="the extra geoseg[openvino] is not installed")
ONES, ZEROS = (1.0,) * 4, (0.0,) * 4


def chip(seed, height, width):
    data = np.random.default_rng(seed).integers(0, 200, (4, height, width)).astype("uint16")
    valid = np.ones((height, width), bool)
    return Chip(data, valid[None], valid, Window(0, 0, width, height))


CHIPS = [chip(seed, 64 + 32 * (seed % 2), 96) for seed in range(6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return unet_model(tmp_path_factory.mktemp("openvino") / "m.safetensors")


def load(model, backend, precision="fp32"):
    return Predictor.load(model, model.spec.band_names, Resolved("cpu", precision, 4, backend))


def test_it_answers_what_torch_answers(model):
    expected = load(model, "torch").scores(CHIPS, ONES, ZEROS)
    for ours, theirs in zip(load(model, "openvino").scores(CHIPS, ONES, ZEROS), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_threads_at_once_do_not_change_a_byte(model, precision):
    predictor = load(model, "openvino", precision)
    alone = predictor.scores(CHIPS, ONES, ZEROS)
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: predictor.scores(CHIPS, ONES, ZEROS), range(6)):
            for ours, expected in zip(answer, alone, strict=True):
                np.testing.assert_array_equal(ours, expected)


def test_the_precision_asked_for_is_computed(model):
    full, half = (load(model, "openvino", p).scores(CHIPS, ONES, ZEROS) for p in ("fp32", "bf16"))
    assert any((a != b).any() for a, b in zip(full, half, strict=True))
