"""A model as ONNX: the same scores for every architecture, both ways, and what QGIS Deepness reads of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import linear_spec
from onnx_kit import Deepness, need_onnx

from geoseg.arrays import Chip
from geoseg.errors import DeviceError, ModelOutputError
from geoseg.grid import Window
from geoseg.model.build import OWN, SMP, build
from geoseg.model.device import Resolved
from geoseg.model.file import find_model, save_model
from geoseg.model.graph import Normalize
from geoseg.model.predictor import Predictor
from geoseg.model.spec import Architecture, Band
from geoseg.settings import PredictSettings

onnx = need_onnx()
from geoseg.model import export_onnx as module  # noqa: E402
from geoseg.model.device import resolve  # noqa: E402
from geoseg.model.export_onnx import TOLERANCE, export_onnx, sample_chips  # noqa: E402

SMALL = "tu-mobilenetv3_small_050"
BANDS = (
    Band(name="red", mean=0.1, std=0.05, plausible=(-0.2, 1.6), quantiles=(0.01, 0.1, 0.3)),
    Band(name="nir", mean=0.3, std=0.1, scale=2.0, offset=0.01, plausible=(-0.2, 1.6), optional=True),
    Band(name="swir16", mean=1.0, std=0.6, scale=1e4, curve="log_sigmoid", plausible=(-0.2, 2.0)),
)
# upernet pools to 1, 2, 3 and 6 cells: a chip of 192 has 6 at its deepest level, which torch's older exporter wants.
NETWORKS = [
    *((Architecture(name=name, encoder=SMALL), 192 if name == "upernet" else 64) for name in SMP if name != "dpt"),
    (Architecture(name="unet", encoder="tu-regnetx_002", options={"decoder_channels": [64, 32, 16, 8, 8]}), 64),
    (Architecture(name="fcn", options={"num_filters": 8}), 64),
    (Architecture(name="linear", options={"kernel": 3}), 32),
]
# Half a minute each, most of them in torch's newer exporter.
SLOW = [
    (Architecture(name="unet", encoder="mit_b0"), 64),
    (Architecture(name="dpt", encoder=SMALL), 64),
    (Architecture(name="dpt", encoder="tu-vit_tiny_patch16_224", options={"dynamic_img_size": True}), 64),
    (Architecture(name="dynamicworld"), 64),
]


def case(network, **more):
    arch, chip = network
    return pytest.param(arch, chip, id="-".join(filter(None, (arch.name, arch.encoder))), **more)


CASES = [*map(case, NETWORKS), *(case(network, marks=pytest.mark.slow) for network in SLOW)]


def seeded(architecture, chip, **changes):
    """Spec and network, with logits of about ±1 and batch norms that do something."""
    fields = {"bands": BANDS, "chip": chip, "stride": 32, "margin": 0, "unit": "reflectance", "temperature": 0.7}
    spec = linear_spec(3, 4, architecture=architecture, **(fields | changes))
    torch.manual_seed(0)
    network = build(spec)
    for name, tensor in network.state_dict().items():
        if "running_" in name:
            tensor.add_(0.3 * torch.rand(tensor.shape))
    head = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d)][-1]
    with torch.no_grad():  # random networks hardly see their input; these logits differ by ±1, around 0
        values = Normalize(spec.bands)(torch.from_numpy(np.stack(sample_chips(spec)))).nan_to_num_(0)
        logits = network.eval()(values)
        spread = logits.std(dim=(0, 2, 3)).mean()
        head.weight /= spread
        head.bias.copy_((head.bias - logits.mean(dim=(0, 2, 3))) / spread)
    return spec, network


def exported(architecture, chip, folder, **changes):
    """The model as a file of geoseg and as an ONNX file."""
    spec, network = seeded(architecture, chip, **changes)
    save_model(folder / "m.safetensors", network.state_dict(), spec, half=False)
    done = export_onnx(network, spec, (1e-4,) * 3, (-0.1,) * 3, activation_bytes=1000)
    (folder / "m.onnx").write_bytes(done.data)
    return done, find_model(str(folder / "m.safetensors")), find_model(str(folder / "m.onnx"))


@pytest.mark.parametrize(("architecture", "chip"), CASES)
@pytest.mark.filterwarnings("ignore:Encoder does not have prefix tokens")
def test_parity_both_ways(architecture, chip, tmp_path):
    """Out: what the export itself measured. In: through the predictor, holes and a missing band included."""
    done, theirs, ours = exported(architecture, chip, tmp_path)
    assert 0 <= done.difference <= TOLERANCE
    onnx.checker.check_model(onnx.load_from_string(done.data))
    rng = np.random.default_rng(3)
    data = rng.uniform(0, 0.4, (2, chip, chip)).astype("float32")
    valid = np.ones((chip, chip), bool)
    valid[5:20, 9:30] = False
    chips = [Chip(data, valid[None], valid, Window(0, 0, chip, chip))]
    found = []
    for model in (ours, theirs):
        resolved = resolve(PredictSettings(precision="fp32", device="cpu"), model.spec)
        found += Predictor.load(model, ("red", "swir16"), resolved).scores(chips, (1.0, 1.0), (0.0, 0.0))
    assert np.abs(found[0] - found[1]).max() <= TOLERANCE
    assert found[1].std(axis=(1, 2)).max() > 1e-2  # the network sees its input


def test_every_architecture_is_among_them():
    assert {arch.name for arch, _ in (*NETWORKS, *SLOW)} == {*SMP, *OWN}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return exported(*NETWORKS[-1], tmp_path_factory.mktemp("export"), gsd_m=(0.6, 2.0))


def test_any_number_of_images(toy):
    done, _, model = toy
    graph = Deepness(model.path)
    one, other = sample_chips(done.spec)
    (alone,) = graph.session.run(None, {"image": np.stack([one])})
    (batch,) = graph.session.run(None, {"image": np.stack([other, one, other])})
    np.testing.assert_allclose(batch[1], alone[0], atol=1e-6)


def test_it_carries_its_spec(toy):
    done, reference, model = toy
    arch = model.spec.architecture
    assert (arch.name, arch.options["normalization"], arch.options["answer"]) == ("onnx", "inside", "softmax")
    assert arch.options["network"] == {"name": "linear", "encoder": None, "options": {"kernel": 3}}
    assert replace(model.spec, architecture=reference.spec.architecture, fixed_chip=False) == reference.spec
    assert model.spec == done.spec


def test_deepness_reads_its_keys(toy):
    _, reference, model = toy
    plugin = Deepness(model.path)
    assert plugin.value("model_type") == "Segmentor"
    assert plugin.class_names == list(reference.spec.classes.names)
    assert plugin.value("resolution") == pytest.approx(60)
    assert (plugin.value("tile_size"), plugin.value("tiles_overlap")) == (32, 0)
    assert (plugin.value("seg_thresh"), plugin.value("seg_small_segment")) == (0, 0)
    assert plugin.input_shape == ["batch", 3, 32, 32]
    assert plugin.square
    assert set(plugin.metadata) - {"geoseg"} == {
        "model_type",
        "class_names",
        "resolution",
        "tile_size",
        "tiles_overlap",
        "seg_thresh",
        "seg_small_segment",
        "standardization_mean",
        "standardization_std",
    }


def test_deepness_gets_geosegs_scores_from_stored_numbers(toy):
    """Its division by 255 and its standardization give reflectance back: DN · 0.0001 − 0.1."""
    _, reference, model = toy
    dn = np.random.default_rng(0).integers(1000, 5000, (3, 32, 32)).astype("uint16")
    valid = np.ones((32, 32), bool)
    predictor = Predictor.load(reference, reference.spec.band_names, Resolved("cpu", "fp32", 1))
    chips = [Chip(dn, valid[None], valid, Window(0, 0, 32, 32))]
    (expected,) = predictor.scores(chips, (1e-4,) * 3, (-0.1,) * 3)
    (found,) = Deepness(model.path).process(dn.transpose(1, 2, 0)[None])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-6)


def test_the_oldest_onnx_runtime_of_deepness_reads_it(toy):
    model = onnx.load_from_string(toy[0].data)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert model.ir_version == 8


def test_a_file_that_answers_otherwise_is_not_given_away(monkeypatch):
    """Mutation: the exported graph leaves the temperature out."""
    spec, network = seeded(*NETWORKS[-1])
    monkeypatch.setattr(module, "_Whole", lambda net, s: WHOLE(net, replace(s, temperature=1.0)))
    with pytest.raises(ModelOutputError, match=r"answers otherwise than the model: scores differ by 0\.\d+") as caught:
        export_onnx(network, spec, (1.0,) * 3, (0.0,) * 3, 0)
    assert caught.value.exit_code == 70


WHOLE = module._Whole


def test_nan_is_no_parity(monkeypatch):
    spec, network = seeded(*NETWORKS[-1])
    with torch.no_grad():
        network.bias[0] = torch.nan
    with pytest.raises(ModelOutputError, match="differ by nan"):
        export_onnx(network, spec, (1.0,) * 3, (0.0,) * 3, 0)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(DeviceError, match=r"needs onnxscript: pip install 'geoseg\[onnx\]'"):
        export_onnx(*seeded(*NETWORKS[-1])[::-1], (1.0,) * 3, (0.0,) * 3, 0)


def test_sample_chips_look_like_the_training_data():
    spec, _ = seeded(*NETWORKS[-1])
    for chip in sample_chips(spec):
        assert chip.shape == (3, 32, 32)
        assert np.isnan(chip[:, :4, :8]).all()
        for plane, (low, high) in zip(chip, ((0.01, 0.3), (0.045, 0.245), (0.034, 0.056)), strict=True):
            assert low - (high - low) < np.nanmin(plane) < np.nanmax(plane) < high + (high - low)
    assert not np.array_equal(*sample_chips(spec), equal_nan=True)
