"""Runs a model on chips: batches, precision, and what to do when memory runs out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geoseg.arrays import Chip
from geoseg.errors import ConfigError, DeviceError, ModelOutputError
from geoseg.model.build import build
from geoseg.model.device import Resolved
from geoseg.model.file import ModelRef, file_sha256, load_tensors
from geoseg.model.graph import Graph
from geoseg.model.normalize import shifts

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_single_thread = threading.local()


class Predictor:
    """A loaded model, bound to a device and to the bands of a scene; safe to call from several threads."""

    def __init__(self, graph: torch.nn.Module, resolved: Resolved) -> None:
        self.graph = graph.eval().to(resolved.device).to(memory_format=torch.channels_last)
        self.device = torch.device(resolved.device)
        self.dtype = _AUTOCAST.get(resolved.precision)
        self.batch_size = resolved.batch_size
        self.whole_batches = self.device.type != "cpu"
        """False: chip by chip. Kernels are chosen by shape, so only a fixed shape gives the same bytes for every
        batch size (law 2), and one thread gains nothing from larger batches."""
        self._events: list[str] = []
        self._lock = threading.Lock()

    @classmethod
    def load(cls, ref: ModelRef, bands: Sequence[str], resolved: Resolved) -> Predictor:
        """Build the network and fill it from the model file; no hub is asked.

        Raises:
            ConfigError: the tensors are not those of the network or not finite, or the file is another one by now.
            DeviceError: the file cannot be read here.
        """
        try:
            found = file_sha256(ref.path)
        except OSError as error:
            raise DeviceError(f"model {ref.path} cannot be read on this worker ({error.strerror}).") from error
        if found != ref.sha256:
            raise ConfigError(f"model {ref.path} is not the file that this run began with; start the run again.")
        network = build(ref.spec)
        tensors = load_tensors(ref.path)
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise ConfigError(f"model {ref.path}: tensor {name} holds NaN or infinite weights.")
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"model {ref.path}: its tensors do not fit its architecture: {reason}") from error
        return cls(Graph(network, ref.spec, bands), resolved)

    def scores(
        self, chips: Sequence[Chip], scale: Sequence[float], offset: Sequence[float]
    ) -> list[NDArray[np.float32]]:
        """Scores (class, row, col) of each chip, in order.

        Args:
            chips: of one scene; equal sizes share a batch.
            scale: per scene band; reflectance = DN·scale + offset.
            offset: as `scale`.

        Raises:
            ModelOutputError: the network answers NaN or infinity.
            DeviceError: one chip alone does not fit into the device's memory.
        """
        use_one_thread()
        results: list[NDArray[np.float32] | None] = [None] * len(chips)
        gain, shift = (self._per_band(values) for values in (scale, shifts(scale, offset).tolist()))
        by_size = sorted(range(len(chips)), key=lambda i: chips[i].window.shape)
        for _, same in groupby(by_size, key=lambda i: chips[i].window.shape):
            waiting = list(same)
            while waiting:
                size = self.batch_size
                batch = [chips[i] for i in waiting[:size]]
                answer = self._try(batch, gain, shift, size)
                if answer is None:
                    continue
                for i, scores in zip(waiting[:size], answer, strict=False):
                    results[i] = _checked(scores, chips[i])
                del waiting[:size]
        return [scores for scores in results if scores is not None]

    def take_events(self) -> tuple[str, ...]:
        """What went differently from the plan (batches halved) since the last call; goes into the run's record."""
        with self._lock:
            events = tuple(self._events)
            self._events.clear()
        return events

    def _per_band(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device).reshape(1, -1, 1, 1)

    def _try(
        self, batch: Sequence[Chip], gain: torch.Tensor, shift: torch.Tensor, size: int
    ) -> NDArray[np.float32] | None:
        """One batch, or None after halving the batch size because memory ran out."""
        try:
            return self._forward(batch, gain, shift, size)
        except torch.OutOfMemoryError:
            # The traceback would keep the batch's tensors alive: only what follows the except block frees them.
            pass
        except RuntimeError as error:  # the CPU's allocator has no class of its own
            if "DefaultCPUAllocator" not in str(error):
                raise
            size = 1  # chip by chip, a smaller batch would not help
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if size == 1:
            raise DeviceError(
                f"one chip of {batch[0].window.width} × {batch[0].window.height} pixels does not fit into the memory "
                f"of {self.device}; pass a smaller --chip or --device cpu."
            )
        with self._lock:
            if self.batch_size > size // 2:  # else another thread was faster
                self.batch_size = size // 2
                self._events.append(f"out of memory on {self.device}: batch {size} halved to {self.batch_size}")
        return None

    def _forward(
        self, batch: Sequence[Chip], gain: torch.Tensor, shift: torch.Tensor, size: int
    ) -> NDArray[np.float32]:
        dn = np.stack([_for_torch(chip.data) for chip in batch])
        present = np.stack([chip.present for chip in batch])
        if self.whole_batches:
            missing = size - len(batch)
            dn, present = (np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for a in (dn, present))
            parts = [slice(None)]
        else:
            parts = [slice(i, i + 1) for i in range(len(batch))]
        with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            answers = [
                self.graph(
                    torch.from_numpy(dn[p]).to(self.device), torch.from_numpy(present[p]).to(self.device), gain, shift
                )
                for p in parts
            ]
            scores: NDArray[np.float32] = torch.cat(answers).cpu().numpy()
        return scores


def use_one_thread() -> None:
    """Single-threaded forwards in the calling thread: the only way that bytes do not depend on the thread layout.

    PyTorch keeps the number per thread, and so does this.
    """
    if not getattr(_single_thread, "set", False):
        torch.set_num_threads(1)
        _single_thread.set = True


def _for_torch(data: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in a type that torch has on every device."""
    return data if data.dtype in (np.uint8, np.int16, np.float32) else data.astype(np.float32)


def _checked(scores: NDArray[np.float32], chip: Chip) -> NDArray[np.float32]:
    """Argmax over NaN would give a confident wrong class."""
    if not np.isfinite(scores).all():
        w = chip.window
        raise ModelOutputError(
            f"the model answers NaN at columns {w.col_off}…{w.col_end - 1}, rows {w.row_off}…{w.row_end - 1} "
            f"of its grid; its weights or the input are unusable."
        )
    return scores
