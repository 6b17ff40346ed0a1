"""What of a fit survives its process: one file, replaced after each epoch, from which the fit goes on exactly."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from geoseg import __version__
from geoseg.errors import OutputError
from geoseg.io import posix
from geoseg.io.failpoint import failpoint
from geoseg.model.versions import versions
from geoseg.training.chips import ChipSet
from geoseg.training.forward import thread_count
from geoseg.training.recipe import Recipe

KEY_VERSION = 1
"""Raised when a change of geoseg changes the weights that a recipe gives."""
_SLICE = 64 * 2**20


class Best(TypedDict):
    """The best epoch so far."""

    epoch: int
    mean_iou: float
    state: dict[str, Tensor]


class State(TypedDict):
    """A fit after an epoch; plain values and tensors only, so that reading it executes nothing."""

    rows: list[dict[str, Any]]
    """`EpochRow` as a mapping, one for each epoch."""
    finished: bool
    network: dict[str, Tensor]
    average: dict[str, Tensor] | None
    best: Best | None
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    """Of 16-bit floating-point training on GPUs."""
    random: list[Tensor]
    """torch's generators: the CPU's, and the GPU's if one is used. Samples need none: their place seeds them."""


@dataclass(frozen=True)
class Checkpoint:
    """The file of one fit."""

    path: Path

    def read(self) -> State | None:
        """The state after the last finished epoch; None: there is none.

        Raises:
            OutputError: the file is damaged.
        """
        if not self.path.exists():
            return None
        try:
            state: State = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds, with many lines
            raise OutputError(f"checkpoint {self.path} is damaged; pass --restart to begin anew.") from error
        return state

    def write(self, state: State) -> None:
        """Replace the file at once.

        Raises:
            OutputError: the disk is full or fails.
        """
        draft = self.path.with_suffix(".part")
        with posix.disk_errors("checkpoint", self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with draft.open("wb") as file:
                    torch.save(dict(state), file)
                    file.flush()
                    os.fsync(file.fileno())
                failpoint("epoch:before-rename")
                draft.replace(self.path)
                posix.sync_folder(self.path.parent)
            finally:
                draft.unlink(missing_ok=True)
        failpoint("epoch")


def fit_key(recipe: Recipe, chips: ChipSet, start_sha256: str | None = None) -> dict[str, Any]:
    """Everything that the weights depend on, but the kind of processor; plain JSON.

    Args:
        recipe: of the training.
        chips: all of them.
        start_sha256: of the weights that it starts from; where they lie does not matter.
    """
    libraries = {name: metadata.version(name) for name in ("lightning", "timm")}
    fit = recipe.fit.model_copy(update={"start": start_sha256})
    return {
        "version": KEY_VERSION,
        "geoseg": __version__,
        "recipe": _plain(recipe.model_copy(update={"fit": fit}).model_dump(exclude={"model"})),
        "threads": thread_count(recipe.fit),
        "data": content_digest(chips),
        "libraries": versions() | libraries,
    }


def content_digest(chips: ChipSet) -> str:
    """Of all pixels, labels and places, wherever they were read from."""
    digest = hashlib.blake2b(repr((chips.splits, chips.places)).encode(), digest_size=16)
    for array in (chips.images, chips.valid, chips.labels):
        digest.update(f"{array.dtype} {array.shape}".encode())
        rows = max(1, _SLICE // max(1, array[:1].nbytes))
        for start in range(0, len(array), rows):  # a slice at a time: the array may be a file larger than memory
            digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Without paths: what counts is the content of the files, which the digest covers."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if not isinstance(part, Path)}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value if not isinstance(part, Path)]
    return value if value is None or isinstance(value, (str, int, float)) else str(value)
