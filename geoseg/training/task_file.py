"""The network in a Lightning checkpoint of TorchGeo's `SemanticSegmentationTask`, as geoseg builds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from geoseg.errors import ConfigError
from geoseg.model.build import build
from geoseg.model.spec import Architecture, ModelSpec
from geoseg.training.start_files import read_checkpoint, task_architecture

_HEADS = ("segmentation_head.0", "last")
"""Last layers of the networks that the task builds."""


@dataclass(frozen=True)
class TaskNetwork:
    """What a checkpoint says; bands and classes have no names there."""

    architecture: Architecture
    bands: int
    classes: int
    tensors: dict[str, Tensor]

    def check(self, spec: ModelSpec, path: Path) -> None:
        """See that the network of a spec takes the tensors.

        Raises:
            ConfigError: it does not.
        """
        try:
            build(spec).load_state_dict(self.tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"model {path}: its tensors are not those of the {self.architecture.name!r} that its task names: "
                f"{reason}"
            ) from error


def read_task(path: Path, *, trusted: bool = False) -> TaskNetwork:
    """Read a checkpoint; a network with one logit becomes one with two classes and the same scores.

    Args:
        path: the file.
        trusted: see `geoseg.training.start_files.read_checkpoint`.

    Raises:
        InputMissingError, PolicyError, ConfigError: see `geoseg.training.start_files.read_checkpoint`.
    """
    what = f"model {path}"
    remedy = ", or pass --trust-model if you know who made it"
    state, task = read_checkpoint(path, what, trusted=trusted, remedy=remedy)
    architecture = task_architecture(task, what)
    if task.get("task") == "multilabel":
        raise ConfigError(f"{what} answers several classes a pixel (multilabel); geoseg's maps have one.")
    found = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}
    classes = int(task.get("num_classes") or task.get("num_labels") or 1)
    if classes == 1:
        tensors, classes = _two_classes(tensors, what), 2
    return TaskNetwork(architecture, int(task["in_channels"]), classes, tensors)


def _two_classes(tensors: dict[str, Tensor], what: str) -> dict[str, Tensor]:
    """Softmax of the logits (0, z) is (1 − sigmoid(z), sigmoid(z)).

    Raises:
        ConfigError: the last layer is not where those of TorchGeo's networks are.
    """
    head = next((name for name in _HEADS if len(tensors.get(f"{name}.weight", ())) == 1), None)
    if head is None:
        raise ConfigError(f"{what} answers one number a pixel, and its last layer is none of {', '.join(_HEADS)}.")
    both = {name: tensors[name] for name in (f"{head}.weight", f"{head}.bias")}
    return tensors | {name: torch.cat([torch.zeros_like(tensor), tensor]) for name, tensor in both.items()}
