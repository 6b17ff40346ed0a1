"""A network computed by ONNX Runtime, in the place of torch: same face, same laws.

https://onnxruntime.ai/docs/api/python/api_summary.html
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn

from geoseg.errors import ConfigError
from geoseg.model.graph import Graph
from geoseg.model.lean_unet import Part
from geoseg.model.spec import ModelSpec

INSIDE = "inside"
"""Option `normalization` of an architecture: the graph takes `ModelSpec.unit`, NaN where invalid. Else: normalized."""
_QUIET = 3


def session(model: bytes | Path) -> Any:
    """An inference session of one thread: many run at once, and bytes must not depend on how many (law 2).

    Raises:
        ConfigError: ONNX Runtime cannot run the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _QUIET
    given = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its kinds have no common class of their own
        told = "the exported model" if isinstance(model, bytes) else f"model {model}"
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"ONNX Runtime {onnxruntime.__version__} cannot run {told}: {reason}") from error


class Network(nn.Module):
    """Takes the place of a network: (batch, band, row, col) float32 → (batch, channel, row, col) float32."""

    def __init__(self, running: Any) -> None:
        super().__init__()
        self._session = running
        self._name = running.get_inputs()[0].name

    def forward(self, values: Tensor) -> Tensor:
        """See the class; a graph that may take one image only is asked for one after the other."""
        parts = [
            torch.from_numpy(self._session.run(None, {self._name: part.contiguous().numpy()})[0])
            for part in torch.split(values.float(), 1)
        ]
        return torch.cat(parts)


class OnnxGraph(Graph):
    """DN (batch, scene band, row, col) → scores (batch, class, row, col) that sum to 1, through an ONNX network."""

    def __init__(self, network: nn.Module, spec: ModelSpec, bands: Sequence[str]) -> None:
        super().__init__(network, spec, bands)
        options = spec.architecture.options
        self.answer = options.get("answer", "logits")
        if options.get("normalization") == INSIDE:
            self.normalize = nn.Identity()
            self.fill = math.nan

    def forward(
        self, dn: Tensor, present: Tensor | None, scale: Tensor, shift: Tensor, part: Part | None = None
    ) -> Tensor:
        """See `Graph.forward`."""
        values = self.values(dn, present, scale, shift)
        answer = self.network(values)
        if answer.shape[-2:] != values.shape[-2:]:
            size = " × ".join(map(str, answer.shape[-2:]))
            raise ConfigError(
                f"the ONNX model answers {size} pixels for {values.shape[-2]} × {values.shape[-1]}; they must agree."
            )
        return scores_of(answer[(..., *(part or ()))], self.answer, self.temperature)


def scores_of(answer: Tensor, kind: str, temperature: float) -> Tensor:
    """Scores (batch, class, row, col) of what a network answers (batch, channel, row, col).

    Args:
        answer: one channel stands for the second of two classes.
        kind: softmax: they are scores; scores: they are, but do not sum to 1; logits.
        temperature: divides logits.
    """
    if answer.shape[1] == 1:
        first = torch.zeros_like(answer) if kind == "logits" else 1 - answer
        answer = torch.cat([first, answer], dim=1)
    if kind == "logits":
        return torch.softmax(answer / temperature, dim=1)
    return answer / answer.sum(dim=1, keepdim=True) if kind == "scores" else answer


def kind_of(answer: Tensor) -> str | None:
    """What the numbers of an answer (batch, channel, row, col) are, see `scores_of`; None: they do not tell."""
    if answer.min() < 0 or answer.max() > 1:
        return "logits"
    if answer.shape[1] == 1 or (answer.sum(dim=1) - 1).abs().max() <= 1e-3:
        return "softmax"
    return None


def onnx_graph(path: Path, spec: ModelSpec, bands: Sequence[str]) -> OnnxGraph:
    """The graph of an ONNX model file, ready for the predictor.

    Raises:
        ConfigError: ONNX Runtime cannot run it.
    """
    return OnnxGraph(Network(session(path)), spec, bands)
