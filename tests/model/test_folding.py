"""Batch norms become part of the convolutions before them."""

import pytest
import torch
from builders import unet_model
from torch import nn

from geoseg.model import optimize
from geoseg.model.build import build
from geoseg.model.file import load_tensors
from geoseg.model.folding import fold_batch_norms
from geoseg.model.lean_unet import LeanUnet
from geoseg.model.optimize import optimized


def norm(channels):
    module = nn.BatchNorm2d(channels)
    nn.init.uniform_(module.weight, 0.5, 2)
    nn.init.uniform_(module.bias, -1, 1)
    module.running_mean.uniform_(-1, 1)
    module.running_var.uniform_(0.5, 2)
    return module


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.norm_a = nn.Conv2d(3, 4, 3, padding=1, bias=False), norm(4)
        self.twice, self.norm_twice = nn.Conv2d(4, 4, 1), norm(4)
        self.alone = norm(4)

    def forward(self, x):
        x = torch.relu(self.norm_a(self.a(x)))
        x = self.norm_twice(self.twice(x)) + self.norm_twice(self.twice(x + 1))
        return self.alone(torch.relu(x))


class Branching(nn.Module):
    """What the convolution gives goes two ways: folding would change one of them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), norm(4)

    def forward(self, x):
        x = self.conv(x)
        return x + self.norm(x)


def test_only_what_can_be_folded_is():
    torch.manual_seed(1)
    network, x = Net().eval().double(), torch.randn(2, 3, 9, 7).double()
    with torch.no_grad():
        expected = network(x)
        fold_batch_norms(network, x[:1])
        answer = network(x)
    torch.testing.assert_close(answer, expected, rtol=1e-12, atol=1e-12)
    kinds = {name: type(module) for name, module in network.named_children()}
    assert kinds["norm_a"] is nn.Identity
    assert kinds["norm_twice"] is nn.BatchNorm2d
    assert kinds["alone"] is nn.BatchNorm2d


@pytest.fixture
def unet(tmp_path):
    ref = unet_model(tmp_path / "unet.safetensors")
    network = build(ref.spec)
    network.load_state_dict(load_tensors(ref.path))
    return network.eval(), ref.spec


def test_a_unet_is_leaner_on_a_cpu_alone(unet):
    network, spec = unet
    assert isinstance(optimized(network, spec, "cpu"), LeanUnet)
    on_gpu = optimized(network, spec, "cuda:0")
    assert type(on_gpu) is type(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in on_gpu.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules()), "the given one is untouched"


def test_a_network_that_would_answer_differently_stays_as_it_is(unet):
    _, spec = unet
    torch.manual_seed(2)
    branching = Branching()
    branching.conv = nn.Conv2d(len(spec.bands), 4, 1)
    assert optimized(branching, spec, "cpu") is branching


def test_mutation_without_the_comparison_the_wrong_network_would_run(unet, monkeypatch):
    """Law: the answer stays. Mutation: any difference is tolerated."""
    _, spec = unet
    branching = Branching()
    branching.conv = nn.Conv2d(len(spec.bands), 4, 1)
    monkeypatch.setattr(optimize, "TOLERANCE", float("inf"))
    assert optimized(branching, spec, "cpu") is not branching
