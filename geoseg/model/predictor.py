"""Runs a model on chips: batches, precision, and what to do when memory runs out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geoseg.arrays import Chip
from geoseg.errors import ConfigError, DeviceError, ModelOutputError
from geoseg.model.blocks import keep_freed_blocks
from geoseg.model.build import build
from geoseg.model.device import Resolved
from geoseg.model.file import ONNX_SUFFIX, ModelRef, file_sha256, load_tensors
from geoseg.model.graph import Graph
from geoseg.model.lean_unet import Part
from geoseg.model.normalize import shifts
from geoseg.model.optimize import cast_weights, optimized
from geoseg.model.reduce import Reduction, reduce
from geoseg.model.transfer import Answers, Transfer, transfer_for

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_single_thread = threading.local()


@dataclass(frozen=True)
class _Call:
    """What the batches of one call share."""

    chips: Sequence[Chip]
    gain: Tensor
    """(1, band, 1, 1) on the device: reflectance = (DN + shift)·gain."""
    shift: Tensor
    finish: Callable[[Tensor], Mapping[str, Tensor]]
    """Scores (class, row, col) of the wanted part of a chip → what is kept of them, still on the device."""
    parts: Sequence[Part] | None = None
    """Rows and columns of each chip that are wanted; None: all."""

    def around(self, numbers: Sequence[int]) -> Part | None:
        """Rows and columns that hold the parts of some chips."""
        if self.parts is None:
            return None
        axes = zip(*(self.parts[i] for i in numbers), strict=True)
        rows, cols = (slice(min(a.start for a in axis), max(a.stop for a in axis)) for axis in axes)
        return rows, cols

    def kept(self, scores: Tensor, around: Part | None, number: int) -> Mapping[str, Tensor]:
        """What is kept of a chip whose scores are given `around` its part."""
        if self.parts is None or around is None:
            return self.finish(scores)
        own = zip(self.parts[number], around, strict=True)
        rows, cols = (slice(axis.start - seen.start, axis.stop - seen.start) for axis, seen in own)
        return self.finish(scores[:, rows, cols])


class Predictor:
    """A loaded model, bound to a device and to the bands of a scene; safe to call from several threads."""

    def __init__(self, graph: torch.nn.Module, resolved: Resolved) -> None:
        self.device = torch.device(resolved.device)
        self.graph = graph.eval().to(self.device).to(memory_format=torch.channels_last)
        self.dtype = _AUTOCAST.get(resolved.precision)
        self.batch_size = resolved.batch_size
        self.whole_batches = self.device.type != "cpu"
        """False: chip by chip. Kernels are chosen by shape, so only a fixed shape gives the same bytes for every
        batch size (law 2), and one thread gains nothing from larger batches."""
        self.transfer: Transfer = transfer_for(self.device)
        if self.device.type == "cpu":
            keep_freed_blocks()
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
        if ref.path.suffix == ONNX_SUFFIX:
            from geoseg.model.backend_onnx import onnx_graph

            return cls(onnx_graph(ref.path, ref.spec, bands), resolved)
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
        if resolved.backend == "openvino":
            from geoseg.model.backend_openvino import compiled

            network = compiled(network, len(ref.spec.bands), resolved.precision)
        else:
            network = optimized(network, ref.spec, resolved.device)
            if resolved.device == "cpu" and resolved.precision in _AUTOCAST:
                cast_weights(network, _AUTOCAST[resolved.precision])
        return cls(Graph(network, ref.spec, bands), resolved)

    def scores(
        self,
        chips: Sequence[Chip],
        scale: Sequence[float],
        offset: Sequence[float],
        parts: Sequence[Part] | None = None,
    ) -> list[NDArray[np.float32]]:
        """Scores (class, row, col) of each chip, or of the part of it that is wanted, in order.

        Args:
            chips: of one scene; equal sizes share a batch.
            scale: per scene band; reflectance = DN·scale + offset.
            offset: as `scale`.
            parts: rows and columns of each chip; None: all.

        Raises:
            ModelOutputError: the network answers NaN or infinity.
            DeviceError: one chip alone does not fit into the device's memory.
        """
        answers = self._answers(chips, scale, offset, lambda scores: {"scores": scores}, parts)
        return [answer["scores"] for answer in answers]

    def reduced(
        self,
        chips: Sequence[Chip],
        parts: Sequence[Part],
        how: Reduction,
        scale: Sequence[float],
        offset: Sequence[float],
    ) -> list[Answers]:
        """Winning class and score layers of a part of each chip, in order; scores do not leave the device.

        Args:
            chips: see `scores`.
            parts: rows and columns of each chip that count.
            how: what is kept; the answers are those of `geoseg.model.reduce.reduce`.
            scale: see `scores`.
            offset: see `scores`.

        Raises:
            ModelOutputError: see `scores`.
            DeviceError: see `scores`.
        """
        return self._answers(chips, scale, offset, lambda scores: reduce(scores, how), parts)

    def _answers(
        self,
        chips: Sequence[Chip],
        scale: Sequence[float],
        offset: Sequence[float],
        finish: Callable[[Tensor], Mapping[str, Tensor]],
        parts: Sequence[Part] | None,
    ) -> list[Answers]:
        use_one_thread()
        gain, shift = (self._per_band(values) for values in (scale, shifts(scale, offset).tolist()))
        call = _Call(chips, gain, shift, finish, parts)
        results: dict[int, Answers] = {}
        by_size = sorted(range(len(chips)), key=lambda i: chips[i].window.shape)
        for _, same in groupby(by_size, key=lambda i: chips[i].window.shape):
            waiting = list(same)
            while waiting:
                size = self.batch_size if self.whole_batches else 1
                found = self._try(call, waiting[:size], size)
                if found is not None:
                    results |= found
                    del waiting[:size]
        return [results[i] for i in range(len(chips))]

    def limit(self, at_once: int | None) -> None:
        """Let so many threads of a CPU compute at the same time, while others read; None: all that come."""
        if self.device.type == "cpu":
            self.transfer = transfer_for(self.device, at_once)

    def take_events(self) -> tuple[str, ...]:
        """What went differently from the plan (batches halved) since the last call; goes into the run's record."""
        with self._lock:
            events = tuple(self._events)
            self._events.clear()
        return events

    def _per_band(self, values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device).reshape(1, -1, 1, 1)

    def _try(self, call: _Call, numbers: Sequence[int], size: int) -> dict[int, Answers] | None:
        """Chips of one batch, or None after halving the batch size because memory ran out."""
        try:
            return self._batch(call, numbers, size)
        except torch.OutOfMemoryError:
            # The traceback would keep the batch's tensors alive: only what follows the except block frees them.
            pass
        except RuntimeError as error:  # the CPU's allocator has no class of its own
            if "DefaultCPUAllocator" not in str(error):
                raise
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if size == 1:
            window = call.chips[numbers[0]].window
            raise DeviceError(
                f"one chip of {window.width} × {window.height} pixels does not fit into the memory "
                f"of {self.device}; pass a smaller --chip or --device cpu."
            )
        with self._lock:
            if self.batch_size > size // 2:  # else another thread was faster
                self.batch_size = size // 2
                self._events.append(f"out of memory on {self.device}: batch {size} halved to {self.batch_size}")
        return None

    def _batch(self, call: _Call, numbers: Sequence[int], size: int) -> dict[int, Answers]:
        """What is kept of each chip; a batch that is not full is filled up with its last chip."""
        chips = [call.chips[i] for i in numbers]
        padded, around = chips + chips[-1:] * (size - len(chips)), call.around(numbers)
        sent = [self._stack([chip.data for chip in padded])]
        # Most chips lack nothing; a device that waits for nobody gets every batch alike.
        if self.whole_batches or not all(chip.present.all() for chip in padded):
            sent.append(self._stack([chip.present for chip in padded]))

        def compute(batch: Sequence[Tensor]) -> dict[str, Tensor]:
            dn, present = batch[0], batch[1] if len(batch) > 1 else None
            with torch.inference_mode(), torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                scores = self.graph(dn, present, call.gain, call.shift, around)
                # A sum shows every NaN and infinity, in a tenth of the time that looking for them takes.
                found = {"finite": scores.sum(dim=(1, 2, 3)).isfinite()}
                for place, i in enumerate(numbers):
                    found |= {f"{place} {name}": kept for name, kept in call.kept(scores[place], around, i).items()}
            return found

        found = self.transfer.run(sent, compute)
        for chip, finite in zip(chips, found.pop("finite"), strict=False):
            _check(chip, finite=bool(finite))
        answers: dict[int, Answers] = {i: {} for i in numbers}
        for key, kept in found.items():
            place, _, name = key.partition(" ")
            answers[numbers[int(place)]][name] = kept
        return answers

    def _stack(self, arrays: Sequence[NDArray[Any]]) -> Tensor:
        """(batch, …) in a type that the device has, in the memory that it is sent from."""
        if len(arrays) == 1:
            return torch.from_numpy(_for_torch(arrays[0], self.device))[None]
        first = torch.from_numpy(_for_torch(arrays[0][:0], self.device))
        batch = self.transfer.empty((len(arrays), *arrays[0].shape), first.dtype)
        for row, array in zip(batch, arrays, strict=True):
            row.copy_(torch.from_numpy(_for_torch(array, self.device)))
        return batch


def use_one_thread() -> None:
    """Single-threaded forwards in the calling thread: the only way that bytes do not depend on the thread layout.

    PyTorch keeps the number per thread, and so does this.
    """
    if not getattr(_single_thread, "set", False):
        torch.set_num_threads(1)
        _single_thread.set = True


def _for_torch(data: NDArray[Any], device: torch.device) -> NDArray[Any]:
    """The same numbers in a type that torch has; unsigned 16 bits travel as they are, but not to Apple's GPUs."""
    small = (np.bool_, np.uint8, np.int16, np.float32, *([] if device.type == "mps" else [np.uint16]))
    return np.ascontiguousarray(data) if data.dtype in small else data.astype(np.float32)


def _check(chip: Chip, *, finite: bool) -> None:
    """Argmax over NaN would give a confident wrong class."""
    if not finite:
        w = chip.window
        raise ModelOutputError(
            f"the model answers NaN at columns {w.col_off}…{w.col_end - 1}, rows {w.row_off}…{w.row_end - 1} "
            f"of its grid; its weights or the input are unusable."
        )
