"""One GPU for each worker process of this machine."""

from __future__ import annotations

import os
from typing import Any

from distributed import WorkerPlugin


class OneGpu(WorkerPlugin):
    """Shows each worker process one GPU only, before CUDA is first used there; also one that a nanny starts again.

    Workers of a local cluster are numbered; more workers than GPUs take turns.
    """

    name = "one-gpu"

    def __init__(self, gpus: tuple[str, ...]) -> None:
        self.gpus = gpus

    def setup(self, worker: Any) -> None:
        """Called in the worker when it starts, or when the plugin comes."""
        os.environ["CUDA_VISIBLE_DEVICES"] = self.gpus[int(worker.name) % len(self.gpus)]
