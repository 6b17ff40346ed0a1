"""Makes a trained network cheaper without changing its answer but for rounding."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from geoseg.model.folding import fold_batch_norms
from geoseg.model.lean_unet import LeanUnet, suits
from geoseg.model.spec import ModelSpec

_log = logging.getLogger(__name__)

EXAMPLE_PX = 128
TOLERANCE = 1e-3
"""Of the largest logit, in fp32: rounding was seen to make 3e-6 of it, any mistake makes more than this."""


def optimized(network: nn.Module, spec: ModelSpec, device: str) -> nn.Module:
    """The same network for less work; the network itself where that would be another one.

    Batch norms are folded (`fold_batch_norms`); on CPUs a U-Net becomes a `LeanUnet`. Transposed convolutions on GPUs
    are unmeasured, so networks for GPUs keep their layers.

    Args:
        network: filled, on the CPU; is left as it is.
        spec: of the model.
        device: on which it will run.
    """
    network, better, sample = network.eval(), copy.deepcopy(network).eval(), _example(spec)
    with _one_thread(), torch.no_grad():
        fold_batch_norms(better, sample)
        if device == "cpu" and suits(better):
            better = LeanUnet(better).eval()
        answer, expected = better(sample), network(sample)
    if (answer - expected).abs().max() <= TOLERANCE * expected.abs().max():
        return better
    _log.debug("%s is used as built: with batch norms folded it gives another answer", spec.architecture.name)
    return network


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Give layers, in place, weights of the type that autocast would give them anew for every chip: the same bytes.

    Autocast keeps what it made until its context ends, which is the end of a chip.

    Args:
        network: to run under autocast.
        dtype: of autocast.
    """
    for module in network.modules():
        # Kinds derived from these may do something else with their weights first.
        if type(module) in {nn.Conv2d, nn.ConvTranspose2d, nn.Linear}:
            module.to(dtype)


@contextmanager
def _one_thread() -> Iterator[None]:
    """So small a sample takes several threads ten times as long, when others use the processors, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _example(spec: ModelSpec) -> Tensor:
    """(1, band, row, col) numbers as they come out of the normalization."""
    side = spec.chip if spec.fixed_chip else spec.stride * max(1, EXAMPLE_PX // spec.stride)
    return torch.randn(1, len(spec.bands), side, side, generator=torch.Generator().manual_seed(0))
