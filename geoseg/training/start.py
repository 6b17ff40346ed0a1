"""What a training begins with: `fit.start` of a recipe.

    NAME, FILE.safetensors          a geoseg model: bundled, in the cache (torchgeo:Unet_Weights.…, too), or a file
    FILE.ckpt                       a Lightning checkpoint of TorchGeo's SemanticSegmentationTask
    torchgeo:ENUM.NAME              TorchGeo's published encoders, as torchgeo:ResNet50_Weights.SENTINEL2_ALL_MOCO
    imagenet, timm:NAME, smp:NAME   an encoder's published weights, in its library's words

Bands are taken over by name (`geoseg.training.start_bands`), classes by name or code (`geoseg.training.start_adapt`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geoseg.model.build import build_network
from geoseg.model.licenses import both_licenses
from geoseg.model.spec import ModelSpec
from geoseg.training.recipe import Recipe
from geoseg.training.recipe_start import CHECKPOINTS, published_kind
from geoseg.training.start_adapt import Adapted, adapt, check_architecture
from geoseg.training.start_bands import keep_normalization
from geoseg.training.start_files import start_of_checkpoint, start_of_model
from geoseg.training.start_model import Start


@dataclass(frozen=True)
class Begin:
    """A model as far as it is known before it is trained."""

    spec: ModelSpec
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def load_start(recipe: Recipe) -> Start | None:
    """The weights that a recipe starts from; None: it starts from scratch.

    Raises:
        InputMissingError: no such file or model.
        ConfigError: it cannot be used for the recipe's network.
        PolicyError: it is a pickle that holds more than tensors.
        TemporaryError: published weights could not be fetched.
    """
    text, arch = recipe.fit.start, recipe.architecture()
    if text is None:
        return None
    kind = published_kind(text)
    if kind == "torchgeo":
        from geoseg.training.start_published import start_of_torchgeo

        start = start_of_torchgeo(text.removeprefix("torchgeo:"))
    elif kind is not None:
        from geoseg.training.start_published import start_of_library

        start = start_of_library(text, arch)
    elif text.endswith(CHECKPOINTS):
        start = start_of_checkpoint(Path(text))
    else:
        start = start_of_model(text)
    check_architecture(start, arch)
    return start.named(recipe.fit)


def initial_weights(recipe: Recipe, fresh: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """All tensors of the recipe's network as a training begins.

    Args:
        recipe: names the start.
        fresh: the tensors as they were built.

    Raises:
        GeosegError: see `load_start` and `adapt`.
    """
    start = load_start(recipe)
    return fresh if start is None else adapt(start, recipe, fresh).tensors


def begin(spec: ModelSpec, recipe: Recipe, start: Start | None) -> Begin:
    """The spec of a training that goes on from a start: its normalization, its terms, and a record of it.

    Args:
        spec: with the statistics of the training data.
        recipe: of the training.
        start: what `load_start` gave.

    Raises:
        ConfigError: the start cannot be used for the recipe's network.
    """
    if start is None:
        return Begin(spec)
    with torch.random.fork_rng(devices=()):
        fresh = build_network(spec.architecture, len(spec.bands), len(spec.classes)).state_dict()
    adapted = adapt(start, recipe, fresh)
    notes: tuple[str, ...] = ()
    known = {} if recipe.fit.restandardize else start.normalization
    if known and start.unit != spec.unit:
        notes += (f"bands are normalized anew: {start.name} is for {start.unit}, these data are {spec.unit}",)
        known = {}
    normalization = keep_normalization(spec.bands, known)
    record = _record(start, adapted, normalization.kept)
    text = _summary(start, adapted, normalization.kept)
    spec = replace(
        spec,
        bands=normalization.bands,
        license=both_licenses(spec.license, start.license),
        attribution=_joined(spec.attribution, start.attribution),
        training_data=_united(spec.training_data, start.training_data),
        training={**spec.training, "started_from": record},
    )
    return Begin(spec, (text, *notes), normalization.warnings)


def _record(start: Start, adapted: Adapted, kept: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": start.name,
        "sha256": start.sha256,
        "license": start.license,
        "tensors": {"reused": adapted.reused, "adapted": adapted.adapted, "fresh": adapted.fresh},
        "bands_adapted": list(adapted.bands),
        "bands_normalized_as_there": list(kept),
        "classes_kept": list(adapted.classes),
    }


def _summary(start: Start, adapted: Adapted, kept: tuple[str, ...]) -> str:
    """One line for people."""
    bands = f" to the bands ({', '.join(adapted.bands)})" if adapted.bands else ""
    names = f" ({', '.join(adapted.classes)})" if adapted.classes else ""
    return (
        f"started from {start.name}: {adapted.reused} tensors reused, {adapted.adapted} adapted{bands}, "
        f"{adapted.fresh} begun anew; rows of {len(adapted.classes)} classes kept{names}; "
        f"{len(kept)} bands normalized as there"
    )


def _joined(ours: str, theirs: str) -> str:
    return ours if not theirs or theirs in ours else f"{ours}; {theirs}" if ours else theirs


def _united(ours: tuple[dict[str, Any], ...], theirs: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
    return ours + tuple(source for source in theirs if source not in ours)
