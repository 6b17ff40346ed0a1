"""ONNX Runtime in the place of torch: the same laws."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from affine import Affine
from builders import linear_spec, stencil_model, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_kit import convolution, need_onnx
from prediction_kit import predicted

from geoseg.arrays import Chip
from geoseg.errors import ConfigError, DeviceError, ModelOutputError
from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.model.device import Resolved, machine_key, resolve
from geoseg.model.file import find_model
from geoseg.model.onnx_file import with_spec
from geoseg.model.predictor import Predictor
from geoseg.model.spec import Architecture, Band
from geoseg.settings import PredictSettings, ReadSettings
from geoseg.tiling import plan
from geoseg.tiling.process import _check_machine
from geoseg.tiling.worker import TileJob

need_onnx()
from geoseg.model.backend_onnx import Network, kind_of, scores_of  # noqa: E402

RADIUS = 2
ONNX = Resolved("cpu", "fp32", 4, "onnx")


def toy(path, weight, *, bias=None, answer="logits", made=None, **changes):
    """A model file of one ONNX convolution."""
    classes, bands = weight.shape[:2]
    convolution(path, weight, bias or [0.0] * classes, **(made or {}))
    architecture = Architecture(name="onnx", options={"answer": answer, "activation_bytes": 10**6})
    spec = linear_spec(bands, max(2, classes), architecture=architecture, **changes)
    path.write_bytes(with_spec(path.read_bytes(), spec))
    return find_model(str(path))


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The same convolution for ONNX Runtime and for torch."""
    folder = tmp_path_factory.mktemp("twins")
    reference = stencil_model(folder / "m.safetensors", RADIUS)
    from geoseg.model.file import load_tensors

    weight = load_tensors(reference.path)["weight"].numpy()
    return toy(folder / "m.onnx", weight), reference


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    data = np.random.default_rng(1).integers(0, 5, (2, 90, 75)).astype("uint8")
    data[:, 20:30, 40:60] = 255
    path = write_raster(
        tmp_path_factory.mktemp("scene") / "s.tif", data, nodata=255, transform=Affine(10, 0, 0, 0, -10, 0)
    )
    return open_scene([str(path)], ReadSettings(bands=("b1=1", "b2=2")))


def chip(seed, side=32, hole=None):
    data = np.random.default_rng(seed).integers(0, 9, (2, side, side)).astype("uint8")
    valid = np.ones((side, side), bool)
    if hole:
        valid[hole] = False
    return Chip(data, valid[None], valid, Window(0, 0, side, side))


def scores(model, chips, bands=("b1", "b2")):
    return Predictor.load(model, bands, ONNX).scores(chips, (1.0,) * len(bands), (0.0,) * len(bands))


def test_it_answers_what_torch_answers(twins):
    ours, theirs = twins
    chips = [chip(seed, hole=np.s_[4:9, 3:20]) for seed in range(5)]
    expected = Predictor.load(theirs, ("b1", "b2"), Resolved("cpu", "fp32", 4)).scores(chips, (1.0, 1.0), (0.0, 0.0))
    for one, other in zip(scores(ours, chips), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


# Law 2: the bytes do not depend on tiles, batches, order or threads, not even where a margin of 0 shows each chip's
# border. Mutation: chips anchored to the tile.


@given(tile=st.integers(24, 200), batch=st.integers(1, 5), shuffle=st.integers(0, 99))
@settings(max_examples=10)
def test_law_2_the_same_bytes_for_every_tiling(twins, scene, tile, batch, shuffle):
    model, _ = twins
    whole = predicted(scene, model, margin=0)
    predicted(scene, model, margin=0, tile=tile, batch=batch, shuffle=shuffle).assert_equal(whole)


def test_law_2_turns_red_when_chips_are_anchored_to_the_tile(twins, scene, monkeypatch):
    model, _ = twins
    whole, original = predicted(scene, model, margin=0), plan.Axis.read

    def read(self, cell):
        start, end = original(self, cell)
        return start - cell % 2, end + cell % 2

    monkeypatch.setattr(plan.Axis, "read", read)
    with pytest.raises(AssertionError):
        predicted(scene, model, margin=0, tile=64).assert_equal(whole)


def test_threads_at_once_do_not_change_a_byte(twins):
    model, _ = twins
    chips = [chip(seed) for seed in range(6)]
    predictor = Predictor.load(model, ("b1", "b2"), ONNX)
    alone = predictor.scores(chips, (1.0, 1.0), (0.0, 0.0))
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: predictor.scores(chips, (1.0, 1.0), (0.0, 0.0)), range(6)):
            for ours, expected in zip(answer, alone, strict=True):
                np.testing.assert_array_equal(ours, expected)


# Law 9: what is invalid enters as 0 after normalization. Mutation: the fill is 1.


@given(seed=st.integers(0, 2**32 - 1), value=st.integers(0, 255))
@settings(max_examples=15)
def test_law_9_what_lies_under_the_mask_does_not_count(tmp_path_factory, seed, value):
    model = normalized(tmp_path_factory)
    clean, dirty = chip(seed, hole=np.s_[8:20, 8:20]), chip(seed, hole=np.s_[8:20, 8:20])
    dirty.data[:, 8:20, 8:20] = value
    (one,), (other,) = scores(model, [clean]), scores(model, [dirty])
    np.testing.assert_array_equal(one, other)
    # Class 0 is the sum of both normalized bands around a pixel, class 1 is 0: inside the hole they are equal.
    np.testing.assert_allclose(one[:, 12, 12], 0.5, atol=1e-7)


def test_law_9_turns_red_with_another_fill(tmp_path_factory, monkeypatch):
    from geoseg.model.backend_onnx import OnnxGraph

    monkeypatch.setattr(OnnxGraph, "fill", 1.0)
    (found,) = scores(normalized(tmp_path_factory), [chip(0, hole=np.s_[8:20, 8:20])])
    assert abs(found[0, 12, 12] - 0.5) > 0.1


def normalized(factory):
    weight = np.zeros((2, 2, 3, 3))
    weight[0] = 1.0
    bands = tuple(Band(name=name, mean=4.0, std=2.0, plausible=(-1e9, 1e9)) for name in ("b1", "b2"))
    return toy(factory.mktemp("law9") / "m.onnx", weight, bands=bands)


def test_a_band_that_the_scene_lacks_enters_as_0(tmp_path):
    weight = np.ones((2, 2, 1, 1))
    weight[1] = 0.0
    bands = (
        Band(name="b1", mean=1.0, std=1.0, plausible=(-1e9, 1e9)),
        Band(name="b2", mean=7.0, std=1.0, optional=True, plausible=(-1e9, 1e9)),
    )
    model = toy(tmp_path / "m.onnx", weight, bands=bands)
    one = np.full((1, 32, 32), 3, "uint8")
    valid = np.ones((32, 32), bool)
    (found,) = scores(model, [Chip(one, valid[None], valid, Window(0, 0, 32, 32))], ("b1",))
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp(-2.0)), rtol=1e-6)


# What an answer is


def test_one_channel_stands_for_the_second_of_two_classes():
    z = torch.tensor([0.0, 2.0, -1.0]).reshape(1, 1, 1, 3)
    expected = torch.stack([1 - torch.sigmoid(z[0, 0, 0]), torch.sigmoid(z[0, 0, 0])])
    torch.testing.assert_close(scores_of(z, "logits", 1.0)[0, :, 0], expected)
    torch.testing.assert_close(scores_of(torch.sigmoid(z), "softmax", 1.0)[0, :, 0], expected)


def test_scores_are_divided_by_their_sum_and_logits_by_the_temperature():
    answer = torch.tensor([0.2, 0.6]).reshape(1, 2, 1, 1)
    assert scores_of(answer, "scores", 1.0).flatten().tolist() == pytest.approx([0.25, 0.75])
    assert scores_of(answer, "softmax", 1.0) is answer
    torch.testing.assert_close(scores_of(answer, "logits", 0.5), torch.softmax(answer * 2, dim=1))


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([0.25, 0.75], "softmax"),
        ([-0.1, 0.5], "logits"),
        ([0.2, 1.7], "logits"),
        ([0.3, 0.3], None),
        ([0.4], "softmax"),
    ],
)
def test_what_the_numbers_tell(numbers, kind):
    assert kind_of(torch.tensor(numbers).reshape(1, -1, 1, 1)) == kind


def test_nan_answers_are_an_error(tmp_path):
    model = toy(tmp_path / "m.onnx", np.full((2, 2, 1, 1), np.nan))
    with pytest.raises(ModelOutputError, match="answers NaN"):
        scores(model, [chip(0)])


def test_an_answer_of_another_size_is_an_error(tmp_path):
    model = toy(tmp_path / "m.onnx", np.zeros((2, 2, 3, 3)), made={"crop": 1})
    with pytest.raises(ConfigError, match="answers 31 × 31 pixels for 32 × 32"):
        scores(model, [chip(0)])


def test_a_graph_that_onnx_runtime_does_not_know_is_one_line(tmp_path, twins):
    path = tmp_path / "m.onnx"
    path.write_bytes(twins[0].path.read_bytes().replace(b"Conv", b"Cnov"))
    with pytest.raises(ConfigError, match=r"cannot run model .*m\.onnx") as caught:
        scores(find_model(str(path)), [chip(0)])
    assert "\n" not in str(caught.value)


def test_a_network_of_several_images_is_asked_one_by_one(twins):
    class Session:
        def get_inputs(self):
            return [type("Port", (), {"name": "x"})]

        def run(self, _, given):
            assert given["x"].shape == (1, 1, 2, 2)
            return [given["x"] * 2]

    batch = torch.arange(12.0).reshape(3, 1, 2, 2)
    torch.testing.assert_close(Network(Session())(batch), batch * 2)


# Devices


def test_onnx_models_run_on_the_cpu_in_fp32(twins):
    found = resolve(PredictSettings(), twins[0].spec)
    assert found == Resolved("cpu", "fp32", 1, "onnx")
    key = machine_key(found)
    assert key["backend"] == "onnx"
    assert key["onnxruntime"]


def test_another_process_computes_it_too(twins, scene):
    """A worker sees for itself that it can do what the planner resolved."""
    model, _ = twins
    resolved = resolve(PredictSettings(), model.spec)
    tiles = plan.plan_tiles(scene.grid, chip=32, margin=4, stride=1, tile=64)
    job = TileJob(scene, tiles, model, resolved)
    object.__setattr__(job, "home", "elsewhere")
    _check_machine(job)
    object.__setattr__(job, "machine", tuple((machine_key(resolved) | {"onnxruntime": "1.0"}).items()))
    with pytest.raises(DeviceError, match=r"this run needs 1\.0"):
        _check_machine(job)


@pytest.mark.parametrize("wish", [{"device": "cuda"}, {"precision": "bf16"}, {"backend": "openvino"}])
def test_other_wishes_are_refused(twins, wish):
    (flag,) = wish
    with pytest.raises(DeviceError, match=f"--{flag} .* is an ONNX file"):
        resolve(PredictSettings(**wish), twins[0].spec)


def test_without_onnx_runtime_the_extra_is_named(twins, monkeypatch):
    monkeypatch.setattr("geoseg.model.device.find_spec", lambda _: None)
    with pytest.raises(DeviceError, match=r"pip install 'geoseg\[onnx\]'"):
        resolve(PredictSettings(), twins[0].spec)
