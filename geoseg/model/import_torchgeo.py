"""Files of TorchGeo's published networks → tensors of geoseg's."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import torch

from geoseg.errors import ConfigError, InputMissingError, PolicyError
from geoseg.model.build import build
from geoseg.model.spec import ModelSpec


def read_state(path: Path, spec: ModelSpec) -> dict[str, torch.Tensor]:
    """The tensors of a state dict (`.pth`), which must fill the network of the spec without rest.

    Only tensors are read: a pickle could execute code.

    Raises:
        InputMissingError: no such file.
        PolicyError: it holds more than tensors.
        ConfigError: damaged, or of another network.
    """
    if not path.is_file():
        raise InputMissingError(f"{path} does not exist; give the file as it was published.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, with many lines
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):
            raise PolicyError(
                f"{path} holds more than tensors, and reading that could execute code; save its state_dict alone."
            ) from error
        raise ConfigError(f"{path} is no file of weights, or damaged ({_brief(error)}).") from error
    tensors = {key: t for key, t in found.items() if isinstance(t, torch.Tensor)} if isinstance(found, dict) else {}
    try:
        build(spec).load_state_dict(tensors)
    except RuntimeError as error:
        raise ConfigError(f"{path} does not hold the weights of {spec.name}: {_brief(error)}") from error
    return {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
