"""The weights that a training begins with."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from geoseg.model.build import build
from geoseg.model.spec import ModelSpec
from geoseg.training.recipe import Recipe


def initial_weights(spec: ModelSpec, recipe: Recipe) -> Mapping[str, torch.Tensor] | None:
    """All tensors of the spec's network as the recipe wants them at the start; None: as it is built.

    Only a recipe that names published weights makes the library ask for them: over the network, once, and then from
    its own cache.

    Raises:
        ConfigError: the encoder has no such weights.
        TemporaryError: they could not be fetched.
    """
    if recipe.network.encoder_weights is None:
        return None
    return build(spec, encoder_weights=recipe.network.encoder_weights).state_dict()
