"""The memory bound of a forward pass against what a forward pass really holds; for whole runs see `test_run_memory`."""

import pytest
import torch
from builders import linear_spec, unet_model

from geoseg.model.build import build
from geoseg.model.footprint import UNSEEN, Ledger, activation_bytes
from geoseg.model.graph import Graph
from geoseg.model.spec import Architecture


def measured(spec, chip, precision):
    """Bytes of real tensors alive at the same time."""
    graph = Graph(build(spec), spec, spec.band_names).eval().to(memory_format=torch.channels_last)
    dn = torch.zeros(1, len(spec.bands), chip, chip, dtype=torch.int16)
    present, gain = torch.ones(1, 1, chip, chip, dtype=torch.bool), torch.ones(1, len(spec.bands), 1, 1)
    with (
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        Ledger() as ledger,
    ):
        graph(dn, present, gain, gain)
    return ledger.peak


def test_the_ledger_by_hand():
    """1 + 2 + 3 kB, of which two at a time live longest: 2 + 3."""
    with torch.inference_mode(), Ledger() as ledger:
        a = torch.zeros(250)
        b = torch.zeros(500) + a[0]
        del a
        c = torch.zeros(750)
        c += b[:1]
        del b, c
    assert (ledger.peak - 5000, ledger.alive) == (0, 0)


def test_linear_by_hand():
    """Two bands as floats, laid out for the network; logits of three classes, perhaps divided, and their softmax."""
    px = 40 * 40
    for temperature, floats in ((1.0, 2 + 3 + 3), (2.0, 2 + 3 + 3 + 3)):
        spec = linear_spec(2, 3, temperature=temperature)
        assert activation_bytes(spec, spec.band_names, 40, "fp32") == pytest.approx(UNSEEN * px * 4 * floats, rel=0.1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(
            name="unet", encoder="tu-mobilenetv3_small_050", options={"decoder_channels": [32, 24, 16, 12, 8]}
        ),
        Architecture(name="unet", encoder="resnet18"),
        Architecture(name="unetplusplus", encoder="tu-mobilenetv3_small_050"),
        Architecture(name="segformer", encoder="mit_b0"),
        Architecture(name="upernet", encoder="tu-mobilenetv3_small_050"),
        Architecture(name="fcn", options={"num_filters": 16}),
    ],
    ids=lambda a: f"{a.name}-{a.encoder}",
)
def test_what_is_counted_is_what_is_alive(architecture, precision):
    spec = linear_spec(3, 6, architecture=architecture)
    peak = measured(spec, 128, precision)
    assert peak > 128 * 128 * 4 * 6
    assert activation_bytes(spec, spec.band_names, 128, precision) == pytest.approx(UNSEEN * peak, rel=0.02)


def test_it_grows_with_the_area_and_shrinks_with_the_precision(tmp_path):
    spec = unet_model(tmp_path / "m.safetensors").spec

    def count(chip, precision="fp32"):
        return activation_bytes(spec, spec.band_names, chip, precision)

    assert count(256) / count(128) == pytest.approx(4, rel=0.05)
    assert 0.5 * count(256) <= count(256, "bf16") < 0.8 * count(256)


def test_counting_needs_no_memory(tmp_path):
    """A chip of 16 384 pixels would need tens of gigabytes if it were really computed."""
    spec = unet_model(tmp_path / "m.safetensors").spec
    assert activation_bytes(spec, spec.band_names, 16_384, "fp32") > 20e9
