"""Batch normalization, which no longer changes once a network is trained, becomes part of the convolution before it.

y = γ·(w∗x − μ)/σ + β is itself a convolution: one pass over the pixels less for each layer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module, example: Tensor) -> None:
    """Fold, in place, every batch norm that takes exactly what a convolution gives.

    Which convolution feeds which norm is seen by running the network: names tell it for one library only.

    Args:
        network: in evaluation mode; its answer stays the same but for rounding, unless it hands what a convolution
            gives to something else beside its norm, which the caller has to see.
        example: an input (batch, band, row, col).
    """
    for conv_name, norm_name in _pairs(network, example):
        conv: Any = network.get_submodule(conv_name)
        norm: Any = network.get_submodule(norm_name)
        _replace(network, conv_name, fuse_conv_bn_eval(conv, norm))
        # timm's norms apply the activation, too.
        _replace(network, norm_name, getattr(norm, "act", None) or nn.Identity())


def _pairs(network: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the batch norms that take what they give; of each that runs exactly once."""
    made: list[tuple[Tensor, str]] = []
    found: list[tuple[str, str]] = []
    runs: dict[str, int] = {}

    def see(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            runs[name] = runs.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                made.append((output, name))
            else:
                found.extend((conv, name) for tensor, conv in made if tensor is inputs[0])

        return module.register_forward_hook(hook)

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [see(name, module) for name, module in network.named_modules() if isinstance(module, kinds)]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return [(conv, norm) for conv, norm in found if runs[conv] == runs[norm] == 1]


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)
