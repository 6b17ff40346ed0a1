"""What a recipe leaves to the model that it starts from: the network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError
from geoseg.model.file import find_model
from geoseg.model.spec import Architecture
from geoseg.model.torchgeo_weights import TORCHGEO

CHECKPOINTS = (".ckpt", ".pt", ".pth")
FILES = (".safetensors", *CHECKPOINTS)
PUBLISHED = ("torchgeo", "timm", "smp", "imagenet")
"""Before the colon, if there is one."""
ENCODERS = ("smp", "imagenet")
"""Those of them that leave open which network they are for."""
_RESNET = re.compile(r"torchgeo:ResNet(\d+)_Weights\.")
_TIMM = re.compile(r"timm:([^.]+)")
_CHIP = 512
_STRIDE = 32
"""Of all encoders of segmentation_models_pytorch, at most."""


def published_kind(start: str) -> str | None:
    """Which of `PUBLISHED` a start is; None: a model by name (TorchGeo's whole networks, once pulled, too) or file."""
    kind = start.partition(":")[0]
    return kind if kind in PUBLISHED and start not in TORCHGEO else None


def place_start(start: str, folder: Path) -> str:
    """A start with its path from the recipe's folder; names stay."""
    return str(folder / start) if start.endswith(FILES) and published_kind(start) is None else start


def with_network(content: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A recipe's content with the network of its start, unless it has one of its own.

    Args:
        content: of the YAML file.
        folder: of the recipe.

    Raises:
        GeosegError: the start cannot be read, or is an encoder that nobody knows how to build around.
    """
    fit = content.get("fit")
    start = fit.get("start") if isinstance(fit, Mapping) else None
    if "network" in content or not isinstance(start, str):
        return content
    return {**content, "network": _network(place_start(start, folder))}


def _network(start: str) -> dict[str, Any]:
    if published_kind(start) is not None:
        return _section(_around(start), _STRIDE, _CHIP)
    if start.endswith(CHECKPOINTS):
        from geoseg.training.start_files import checkpoint_architecture

        arch = checkpoint_architecture(Path(start))
        return _section(arch, _STRIDE if arch.encoder else 1, _CHIP)
    spec = find_model(start).spec
    return _section(spec.architecture, spec.stride, spec.chip)


def _around(start: str) -> Architecture:
    """A U-Net around an encoder whose name tells what it is."""
    if found := _RESNET.match(start):
        return Architecture(name="unet", encoder=f"resnet{found[1]}")
    if found := _TIMM.match(start):
        return Architecture(name="unet", encoder=f"tu-{found[1]}")
    raise ConfigError(f"network is missing: fit.start {start} does not tell which encoder it is; say network.")


def _section(arch: Architecture, stride: int, chip: int) -> dict[str, Any]:
    parts = asdict(arch)
    return {"architecture": parts.pop("name"), **parts, "stride": stride, "chip": chip}
