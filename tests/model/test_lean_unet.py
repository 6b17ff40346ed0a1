"""The lean U-Net answers as the library's own, in float64, whatever part is wanted."""

import copy

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from geoseg.model import lean_unet
from geoseg.model.detail_unet import DetailUnet
from geoseg.model.folding import fold_batch_norms
from geoseg.model.lean_unet import LeanUnet, suits

AFFINE = {"type": "instancenorm", "affine": True}
NETWORKS = {
    "resnet18": {"encoder_name": "resnet18", "decoder_channels": (32, 16, 16, 8, 8)},
    "three levels": {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": (16, 8, 8)},
    "timm": {"encoder_name": "tu-regnetx_002", "encoder_depth": 4, "decoder_channels": (32, 16, 8, 8)},
    "without norms": {"encoder_name": "resnet18", "decoder_channels": (16, 8, 8, 8, 4), "decoder_use_norm": False},
    "detail": {"encoder_name": "resnet18", "encoder_depth": 3, "decoder_channels": (16, 8, 8), "detail": 5},
    "center block": {"encoder_name": "vgg11_bn", "decoder_channels": (16, 16, 8, 8, 4)},
}


def trained(**options):
    """A U-Net whose batch norms have seen something, so that folding them is no formality."""
    torch.manual_seed(7)
    unet = DetailUnet if "detail" in options else smp.Unet
    network = unet(encoder_weights=None, in_channels=3, classes=4, **options)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.5, 2.0),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.3, 0.3),
            ):
                tensor.uniform_(low, high)
    return network.double().eval()


def folded(network):
    other = copy.deepcopy(network)
    fold_batch_norms(other, torch.randn(1, 3, 64, 64).double())
    return other


@pytest.fixture(scope="module")
def pairs():
    found = {}
    for name, options in NETWORKS.items():
        network = trained(**options)
        found[name] = network, LeanUnet(folded(network)).eval()
    return found


def trimmed(values, trim):
    return tuple(slice(trim, side - trim) for side in values.shape[2:])


def differ(network, lean, values, part):
    with torch.no_grad():
        expected = network(values)[(..., *part)]
        answer = lean(values, part)
    assert answer.shape == expected.shape
    return ((answer - expected).abs().max() / expected.abs().max()).item()


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(sorted(NETWORKS)),
    sides=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    data=st.data(),
    seed=st.integers(0, 99),
)
def test_every_pixel_that_is_wanted_is_the_same(pairs, name, sides, data, seed):
    values = torch.randn(1, 3, *(32 * n for n in sides), generator=torch.Generator().manual_seed(seed)).double()
    edges = [sorted(data.draw(st.sets(st.integers(0, side), min_size=2, max_size=2))) for side in values.shape[2:]]
    assert differ(*pairs[name], values, tuple(slice(*both) for both in edges)) < 1e-12


def test_mutation_a_block_that_sees_one_pixel_too_few(pairs, monkeypatch):
    """Law: what is left out changes nothing. Mutation: blocks are given the pixels of one convolution, not of two."""
    values = torch.randn(1, 3, 160, 160).double()
    part = trimmed(values, 37)
    assert differ(*pairs["resnet18"], values, part) < 1e-12
    monkeypatch.setattr(lean_unet, "_LOOK", 1)
    assert differ(*pairs["resnet18"], values, part) > 1e-6


@pytest.mark.parametrize(
    ("part", "computed"),
    [
        # 128 are wanted; the head sees 130, its block 134, which two rows of the small map more than cover.
        ((slice(64, 192), slice(64, 192)), (136, 136)),
        ((slice(0, 256), slice(200, 232)), (256, 40)),  # a seam's strip
    ],
)
def test_less_is_computed_of_what_nobody_wants(pairs, part, computed):
    _, lean = pairs["resnet18"]
    seen = []
    hook = lean.blocks[-1].register_forward_hook(lambda _, __, out: seen.append(out.shape[2:]))
    with torch.no_grad():
        lean(torch.zeros(1, 3, 256, 256).double(), part)
    hook.remove()
    assert seen == [computed]


@pytest.mark.parametrize(
    ("why", "network"),
    [
        ("attention", lambda: smp.Unet("resnet18", encoder_weights=None, decoder_attention_type="scse")),
        ("bilinear", lambda: smp.Unet("resnet18", encoder_weights=None, decoder_interpolation="bilinear")),
        ("norms that stay", lambda: smp.Unet("resnet18", encoder_weights=None, decoder_use_norm=AFFINE)),
        ("another network", lambda: smp.UnetPlusPlus("resnet18", encoder_weights=None)),
        ("two answers", lambda: smp.Unet("resnet18", encoder_weights=None, aux_params={"classes": 2})),
    ],
)
def test_other_networks_are_told_apart(why, network):
    other = network().eval()
    if why != "two answers":
        fold_batch_norms(other, torch.randn(1, 3, 64, 64))
    assert not suits(other), why


def test_unfolded_does_not_suit():
    network = trained(encoder_name="resnet18")
    assert not suits(network)
    assert suits(folded(network))
