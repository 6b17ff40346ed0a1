"""What only running an ONNX network shows: whether it answers logits or scores, and how much memory that takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from geoseg.errors import ConfigError
from geoseg.io.machine import resident
from geoseg.model.backend_onnx import Network, kind_of, session
from geoseg.model.spec import ModelSpec


def probed(path: Path, spec: ModelSpec, answer: str | None) -> ModelSpec:
    """The spec with the options of its architecture filled, after one chip of normalized noise.

    Args:
        path: of the ONNX file.
        spec: as far as it is known.
        answer: logits or scores, if the user says so.

    Raises:
        ConfigError: the network fails, answers other sizes or NaN, or its numbers do not tell what they are.
    """
    network, side = Network(session(path)), spec.chip
    noise = torch.randn(1, len(spec.bands), side, side, generator=torch.Generator().manual_seed(0))
    before = resident()
    try:
        found = network(noise)
    except Exception as error:  # ONNX Runtime's kinds have no common class of their own
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"model {path} fails on a chip of {side} × {side} pixels: {reason}") from error
    grown = max(resident() - before, 4 * (noise.numel() + found.numel()))
    classes = len(spec.classes)
    shape = tuple(found.shape)
    if shape[2:] != (side, side) or (shape[1] != classes and (shape[1], classes) != (1, 2)):
        told = " × ".join(map(str, shape[1:]))
        raise ConfigError(
            f"model {path} answers {told} for a chip of {side} × {side} pixels; geoseg needs {classes} classes × "
            f"{side} × {side}."
        )
    if not found.isfinite().all():
        raise ConfigError(f"model {path} answers NaN or infinity to normalized noise; its weights are unusable.")
    seen = kind_of(found)
    if answer is None and seen is None:
        raise ConfigError(
            f"model {path} answers numbers between 0 and 1 that do not sum to 1; say in the spec what they are: "
            f"output: logits, or output: scores."
        )
    kind = seen if answer is None or (answer == "scores" and seen == "softmax") else answer
    options = {"answer": kind, "activation_bytes": grown}
    return replace(spec, architecture=replace(spec.architecture, options=options))
