"""A network compiled by OpenVINO, for CPUs: it plans its memory and fuses layers by itself.

https://docs.openvino.ai/: properties of the CPU device.
"""

from __future__ import annotations

import os
import threading
import warnings
from typing import Any

import openvino
import torch
from torch import Tensor, nn

EXAMPLE_PX = 256


class Compiled(nn.Module):
    """Takes the place of a network: (1, band, row, col) float32 → logits (1, class, row, col) float32."""

    def __init__(self, compiled_model: Any) -> None:
        super().__init__()
        self._model = compiled_model
        self._own = threading.local()

    def forward(self, values: Tensor) -> Tensor:
        """See the class."""
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        request = self._own.request
        request.infer([values.float().contiguous().numpy()], share_inputs=True)
        # The request's own memory is overwritten by the next chip.
        return torch.from_numpy(request.get_output_tensor(0).data.copy())


def compiled(network: nn.Module, bands: int, precision: str) -> Compiled:
    """Convert a network of any chip size; each inference has one thread, as many run at once as there are processors.

    So an answer does not depend on how many are computed at the same time (law 2).

    Args:
        network: fully built and filled.
        bands: of its input.
        precision: fp32 or bf16.
    """
    example = torch.zeros(1, bands, EXAMPLE_PX, EXAMPLE_PX)
    with warnings.catch_warnings():
        # OpenVINO's converter traces, which torch calls deprecated.
        warnings.simplefilter("ignore")
        model = openvino.convert_model(network.eval(), example_input=example)
    model.reshape([1, bands, -1, -1])
    streams = os.cpu_count() or 1
    settings = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, precision),
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": streams,
        "ENABLE_CPU_PINNING": False,  # threads of this process read and write files meanwhile
    }
    return Compiled(openvino.Core().compile_model(model, "CPU", settings))
