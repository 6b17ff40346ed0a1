"""Learning rates of their own for encoder and rest, and encoders that are left as they are for a while."""

from __future__ import annotations

from typing import Any

from torch import nn

from geoseg.model.dynamicworld import DynamicWorld
from geoseg.training.recipe_fit import FitRecipe


def frozen(options: FitRecipe, epoch: int) -> bool:
    """Whether the encoder is left as it is in an epoch, counted from 0."""
    return options.freeze == "encoder" or (isinstance(options.freeze, int) and epoch < options.freeze)


def set_training(network: nn.Module, *, freeze: bool) -> None:
    """Training mode; a frozen encoder gets no gradients, and its batch norms and dropouts work as in prediction."""
    network.train()
    for part in _encoder(network):
        part.requires_grad_(not freeze)
        part.train(not freeze)


def parameter_groups(network: nn.Module, options: FitRecipe) -> list[dict[str, Any]]:
    """The optimizer's groups: all parameters, or first the rest and then the encoder with a rate of its own.

    The encoder's are in it even while it is frozen: an optimizer passes over what has no gradient.
    """
    encoder = [parameter for part in _encoder(network) for parameter in part.parameters()]
    if options.encoder_lr == 1 or not encoder:
        return [{"params": list(network.parameters()), "lr": options.lr}]
    inside = set(map(id, encoder))
    rest = [parameter for parameter in network.parameters() if id(parameter) not in inside]
    return [{"params": rest, "lr": options.lr}, {"params": encoder, "lr": options.lr * options.encoder_lr}]


def _encoder(network: nn.Module) -> list[nn.Module]:
    """The parts that make features of bands; none where a network does not tell them from the rest."""
    if isinstance(network, DynamicWorld):
        return network.trunk
    encoder = getattr(network, "encoder", None)
    return [encoder] if isinstance(encoder, nn.Module) else []
