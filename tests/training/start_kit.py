"""Recipes that go on from another model, and small models to go on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from builders import linear_spec
from chipmaker import recipe as chip_recipe

from geoseg.classes import ClassScheme, LandClass
from geoseg.model.build import build
from geoseg.model.file import save_model
from geoseg.model.spec import Architecture, Band, ModelSpec
from geoseg.training.recipe import Recipe

TINY = Architecture(name="fcn", options={"num_filters": 4})


def start_content(
    start: str | Path,
    bands: Sequence[str],
    classes: Mapping[int, str],
    network: Architecture = TINY,
    **fit: Any,
) -> dict[str, Any]:
    """A recipe as YAML holds it."""
    content = chip_recipe()
    content["data"]["bands"] = list(bands)
    content["bands"] = [{"name": name} for name in bands]
    content["classes"] = [
        {"code": code, "name": name, "color": "#00ff00", "labels": [code]} for code, name in classes.items()
    ]
    content["network"] = {"architecture": network.name, "encoder": network.encoder, "options": network.options}
    content["network"] |= {"stride": 32, "chip": 256}
    content["augment"] = {"crop": 32}
    content["fit"] = {"epochs": 2, "batch": 2, "lr": 0.003, "threads": 1, "start": str(start)} | fit
    return content


def start_recipe(*args: Any, **more: Any) -> Recipe:
    """`start_content`, validated."""
    return Recipe.model_validate(start_content(*args, **more))


def model_spec(
    bands: Sequence[str], classes: Mapping[int, str], network: Architecture = TINY, **more: Any
) -> ModelSpec:
    """A spec whose bands are normalized each in its own way."""
    rows = tuple(LandClass(code, name, (code % 256, 0, 0)) for code, name in classes.items())
    own = tuple(Band(name=name, mean=0.1 * n, std=1.0 + n) for n, name in enumerate(bands))
    given = {"architecture": network, "bands": own, "classes": ClassScheme(rows), "unit": "reflectance"}
    return linear_spec(len(bands), len(classes), **given | more)


def seeded_state(spec: ModelSpec, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights as they are built, and batch-norm statistics that are not simply 0 and 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        state = build(spec).state_dict()
        return {
            name: tensor + 0.5 * torch.rand(tensor.shape) if "running_" in name else tensor
            for name, tensor in state.items()
        }


def save_start(path: Path, spec: ModelSpec, seed: int = 0) -> Path:
    """A model file with `seeded_state`."""
    save_model(path, seeded_state(spec, seed), spec, half=False)
    return path
