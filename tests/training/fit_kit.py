"""Chips, recipes and specs in memory, small enough to fit in a second; what is to be learned is known."""

from __future__ import annotations

from typing import Any

import numpy as np
from builders import linear_spec
from chipmaker import recipe as chip_recipe

from geoseg.model.spec import ModelSpec
from geoseg.training.chips import IGNORE, ChipSet
from geoseg.training.recipe import Recipe

CLASSES = 3
SMALL = "tu-mobilenetv3_small_050"


def chip_set(count: int = 6, *, size: int = 32, seed: int = 0) -> ChipSet:
    """The class of a pixel is the brighter one of two bands, or neither; some are unknown or invalid."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, (count, size // 8, size // 8)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    images = rng.normal(0, 0.1, (count, 2, size, size)).astype(np.float32)
    images[:, 0] += labels == 0
    images[:, 1] += labels == 1
    valid = rng.random(labels.shape) > 0.05
    labels[rng.random(labels.shape) < 0.05] = IGNORE
    labels[~valid] = IGNORE
    return ChipSet(images, valid, labels, ("train",) * count, tuple(f"p{n}" for n in range(count)))


def fit_recipe(*, augment: dict[str, Any] | None = None, network: dict[str, Any] | None = None, **fit: Any) -> Recipe:
    """A recipe for `chip_set`; more keys of fit."""
    content = chip_recipe()
    content["classes"] = [{"code": n, "name": f"c{n}", "color": "#00ff00", "labels": [n]} for n in range(CLASSES)]
    content["augment"] = {"crop": 32} | (augment or {})
    content["network"] |= {"encoder": SMALL, "options": {}, "stride": 32, "chip": 256} | (network or {})
    content["fit"] = {"epochs": 2, "batch": 2, "lr": 0.003, "seed": 3, "threads": 1} | fit
    return Recipe.model_validate(content)


def spec_of(recipe: Recipe) -> ModelSpec:
    """What is known of the model before it is trained."""
    return linear_spec(2, CLASSES, architecture=recipe.architecture())


def architecture(name: str, **options: Any) -> dict[str, Any]:
    """The recipe's network section of a small network of this kind."""
    plain = name in {"fcn", "linear"}
    return {"architecture": name, "encoder": None if plain else SMALL, "options": options}
