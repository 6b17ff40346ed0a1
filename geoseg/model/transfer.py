"""How batches get to a device, and answers back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

STAGED = 2
"""Batches on a GPU at a time: one is computed while the next arrives."""

Compute = Callable[[Sequence[Tensor]], Mapping[str, Tensor]]
Answers = dict[str, NDArray[Any]]


class Transfer(Protocol):
    """Takes batches through a device; several threads use one at the same time."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Room in the host's memory for a batch to be sent."""

    def run(self, batch: Sequence[Tensor], compute: Compute) -> Answers:
        """Send a batch, compute on the device, bring the answers back.

        Args:
            batch: in the host's memory, from `empty` where that is to be fast.
            compute: gets the batch on the device, gives tensors on the device.
        """


class Direct:
    """The CPU, where every thread computes for itself, and devices without streams, where they take turns."""

    def __init__(self, device: torch.device, at_once: int | None = None) -> None:
        """Args: device; at_once: threads of the CPU that may compute at the same time, while others read."""
        self.device = device
        if device.type != "cpu":
            at_once = 1
        self._turn: Any = nullcontext() if at_once is None else threading.BoundedSemaphore(at_once)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """See `Transfer.empty`."""
        return torch.empty(*shape, dtype=dtype)

    def run(self, batch: Sequence[Tensor], compute: Compute) -> Answers:
        """See `Transfer.run`."""
        with self._turn:
            return {name: found.cpu().numpy() for name, found in compute([t.to(self.device) for t in batch]).items()}


class Streamed:
    """A CUDA device: batches arrive on a stream of their own while the one before is computed.

        thread 1   fill ─► copy 1 ─► compute 1 ─────► wait
        thread 2     fill ───► copy 2 ─────────────► compute 2 ─► wait
        thread 3        fill (waits for room) ─────► copy 3 ────► compute 3

    All threads enqueue on one compute stream, one at a time, so that the allocator gives every batch the memory of the
    one before.
    """

    def __init__(self, device: torch.device, cuda: Any = torch.cuda) -> None:
        """Args: device; cuda: `torch.cuda`, or what stands in for it where there is none."""
        self.device, self.cuda = device, cuda
        self._room = threading.BoundedSemaphore(STAGED)
        self._turn = threading.Lock()
        self._copies, self._work = cuda.Stream(device), cuda.Stream(device)
        # Weights were sent on the default stream.
        self._work.wait_stream(cuda.default_stream(device))

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Page-locked, so that copies need no thread of the CPU."""
        return torch.empty(*shape, dtype=dtype, pin_memory=self.cuda.is_available())

    def run(self, batch: Sequence[Tensor], compute: Compute) -> Answers:
        """See `Transfer.run`."""
        with self._room:
            with self.cuda.stream(self._copies):
                staged = [tensor.to(self.device, non_blocking=True) for tensor in batch]
                arrived = self._copies.record_event()
            with self._turn, self.cuda.stream(self._work):
                self._work.wait_event(arrived)
                for tensor in staged:
                    tensor.record_stream(self._work)  # else the copy stream could overwrite what is still read
                answers = {name: self._back(found) for name, found in compute(staged).items()}
                done = self._work.record_event()
            done.synchronize()
        return {name: found.numpy() for name, found in answers.items()}

    def _back(self, found: Tensor) -> Tensor:
        return self.empty(found.shape, found.dtype).copy_(found, non_blocking=True)


def transfer_for(device: torch.device, at_once: int | None = None) -> Transfer:
    """The way to a device, see `Direct`."""
    return Streamed(device) if device.type == "cuda" else Direct(device, at_once)
