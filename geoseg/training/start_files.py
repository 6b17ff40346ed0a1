"""Starts in files: geoseg's own model files, and Lightning checkpoints of TorchGeo's segmentation task."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from geoseg.errors import ConfigError, InputMissingError, PolicyError
from geoseg.model.file import file_sha256, find_model, load_tensors
from geoseg.model.spec import Architecture
from geoseg.training.start_model import Start


def start_of_model(name: str) -> Start:
    """A geoseg model by name or file.

    Raises:
        InputMissingError, ConfigError, PolicyError: see `geoseg.model.file.find_model`.
    """
    ref = find_model(name)
    spec = ref.spec
    return Start(
        name=f"{spec.name} {spec.version}",
        sha256=ref.sha256,
        tensors=load_tensors(ref.path),
        bands=spec.band_names,
        n_bands=len(spec.bands),
        classes=spec.classes.names,
        n_classes=len(spec.classes),
        codes=spec.classes.codes,
        architecture=spec.architecture,
        normalization={band.name: band for band in spec.bands},
        unit=spec.unit,
        license=spec.license,
        attribution=spec.attribution,
        training_data=spec.training_data,
    )


def start_of_checkpoint(path: Path) -> Start:
    """A checkpoint of `torchgeo.trainers.SemanticSegmentationTask`, which names neither bands nor classes.

    Only tensors and plain values are read: a pickle could execute code.

    Raises:
        InputMissingError: no such file.
        PolicyError: it holds more than tensors and plain values.
        ConfigError: damaged, or of another task.
    """
    state, given = read_checkpoint(path, f"fit.start {path}")
    architecture = task_architecture(given, f"fit.start {path}")
    tensors = {name.removeprefix("model."): t for name, t in state.items() if name.startswith("model.")}
    return Start(
        name=path.name,
        sha256=file_sha256(path),
        tensors={name: t.float() if t.is_floating_point() else t for name, t in tensors.items()},
        bands=(),
        n_bands=int(given["in_channels"]),
        n_classes=int(given.get("num_classes") or given.get("num_labels") or 1),
        architecture=architecture,
    )


def checkpoint_architecture(path: Path) -> Architecture:
    """The network of a checkpoint.

    Raises:
        GeosegError: see `start_of_checkpoint`.
    """
    what = f"fit.start {path}"
    return task_architecture(read_checkpoint(path, what)[1], what)


def task_architecture(given: dict[str, Any], what: str) -> Architecture:
    """The network that TorchGeo's task builds of its hyperparameters; what: what errors call the file.

    Raises:
        ConfigError: hyperparameters are missing.
    """
    name, encoder = given.get("model"), given.get("backbone")
    if not isinstance(name, str) or not isinstance(given.get("in_channels"), int):
        raise ConfigError(
            f"{what} is no checkpoint of TorchGeo's SemanticSegmentationTask: its hyper_parameters lack "
            f"model or in_channels."
        )
    if name == "fcn":
        return Architecture(name=name, options={"num_filters": given.get("num_filters", 3)})
    return Architecture(name=name, encoder=encoder)


def read_checkpoint(
    path: Path, what: str, *, trusted: bool = False, remedy: str = ""
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and hyperparameters of a Lightning checkpoint.

    Args:
        path: the file.
        what: what errors call it.
        trusted: the user answers for the file: whatever its pickle wants to do is done.
        remedy: how else it could be read, for the error about a pickle that is not trusted.

    Raises:
        InputMissingError: no such file.
        PolicyError: it holds more than tensors and plain values, and is not trusted.
        ConfigError: damaged, or something else.
    """
    if not path.is_file():
        raise InputMissingError(f"{what} does not exist.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=not trusted)
    except pickle.UnpicklingError as error:
        raise PolicyError(
            f"{what} holds more than tensors and plain values, and reading that could execute code; "
            f"save its state_dict and hyper_parameters alone{remedy}."
        ) from error
    except Exception as error:  # torch raises many kinds, with many lines
        raise ConfigError(f"{what} is no checkpoint, or damaged ({_brief(error)}).") from error
    state, given = (content.get(k) if isinstance(content, dict) else None for k in ("state_dict", "hyper_parameters"))
    if not isinstance(state, dict) or not isinstance(given, dict):
        raise ConfigError(
            f"{what} is no Lightning checkpoint: it needs state_dict and hyper_parameters "
            f"of TorchGeo's SemanticSegmentationTask."
        )
    return state, given


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
