"""A network as a function of NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geoseg.training.recipe_fit import FitRecipe
from geoseg.training.score import Forward

Network = nn.Module
"""A network, for those who pass it on without knowing torch."""


def thread_count(options: FitRecipe) -> int:
    """The recipe's threads, or what torch takes by itself: all processors, or the environment's OMP_NUM_THREADS."""
    return options.threads or torch.get_num_threads()


def forward_of(network: Network, *, threads: int = 1) -> Forward:
    """The network as a function of NumPy arrays, where it is and in float32.

    Args:
        network: put into evaluation mode.
        threads: of a CPU.
    """
    network.eval()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))

    def forward(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch_threads(threads):
            inputs = torch.from_numpy(np.ascontiguousarray(pixels)).contiguous(memory_format=torch.channels_last)
            logits: NDArray[np.float32] = network(inputs.to(device)).float().contiguous().cpu().numpy()
        return logits

    return forward


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads for torch's arithmetic inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
