"""Weights cast once: the same bytes as weights that autocast casts for every chip."""

import copy

import pytest
import torch
from builders import unet_model
from torch import nn

from geoseg.model.build import build
from geoseg.model.optimize import cast_weights, optimized

SHAPE = (32, 32)
"""Rows and columns."""


class Standardized(nn.Conv2d):
    """A convolution that works on its weights first, as some encoders have them (weight standardization)."""

    def forward(self, values):
        weight = (self.weight - self.weight.mean()) / self.weight.std()
        return nn.functional.conv2d(values, weight, self.bias, padding=self.padding)


NETWORKS = {
    "convolutions": lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ConvTranspose2d(8, 3, 2, stride=2)),
    "derived": lambda: nn.Sequential(Standardized(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1)),
    "linear": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(1024, 40), nn.LayerNorm(40), nn.GELU()),
    "attention": lambda: nn.Sequential(
        nn.Flatten(2), nn.Linear(1024, 32), nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    ),
}


def answers(network, cast):
    """In bf16: with weights as they are, and as `cast` leaves them."""
    torch.manual_seed(1)
    values = torch.randn(1, 4, *SHAPE)
    changed = copy.deepcopy(network)
    cast(changed, torch.bfloat16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return network.eval()(values), changed.eval()(values)


def made(name):
    torch.manual_seed(0)
    return NETWORKS[name]()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bytes(name) -> None:
    plain, cast = answers(made(name), cast_weights)
    assert plain.dtype == cast.dtype
    assert torch.equal(plain, cast)


def test_the_same_bytes_of_a_lean_network(tmp_path) -> None:
    spec = unet_model(tmp_path / "unet.safetensors").spec
    plain, cast = answers(optimized(build(spec), spec, "cpu"), cast_weights)
    assert torch.equal(plain, cast)


def test_mutation_derived_kinds_are_cast_too_turns_it_red() -> None:
    """Named mutation: `isinstance` instead of the very type."""

    def cast(network, dtype):
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(dtype)

    plain, changed = answers(made("derived"), cast)
    assert not torch.equal(plain, changed)
