"""How much memory a forward pass takes, counted without doing it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from geoseg.model.build import build
from geoseg.model.graph import Graph
from geoseg.model.onnx_file import ARCHITECTURE as ONNX
from geoseg.model.spec import ModelSpec

UNSEEN = 2.2
"""What a forward pass takes of the system, over the tensors alive at its fullest moment: besides them there are copies
that kernels make for themselves, and holes between kept blocks. Seen after a dozen passes of 1024² pixels on two
threads: 1.3 (FPN, fp32) to 2.1 (`landcover`, bf16)."""


class Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors made under it that are alive at the same time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive = 0
        self.peak = 0
        """The most so far."""
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do the operation; note the memory behind what it gives."""
        found = func(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else [found]:
            if isinstance(tensor, Tensor):
                self._open(tensor.untyped_storage())
        return found

    def _open(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()  # noqa: SLF001 (its address; it has no other name)
        if key not in self._known:
            self._known.add(key)
            self.alive += size
            self.peak = max(self.peak, self.alive)
            weakref.finalize(storage, self._close, key, size)

    def _close(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def activation_bytes(spec: ModelSpec, bands: Sequence[str], chip: int, precision: str) -> int:
    """Bytes that one forward pass of one chip on the CPU takes at most, with all that happens to its pixels.

    The whole graph is run on tensors that have shapes and no pixels, in the arithmetic asked for, and what is alive at
    its fullest moment is multiplied by what is not seen that way (`UNSEEN`). Of an ONNX graph it was written down when
    it was made or imported.

    Args:
        spec: of the model.
        bands: names of the bands that a chip brings.
        chip: side of the chip in pixels.
        precision: fp32, bf16 or fp16.
    """
    if spec.architecture.name == ONNX:
        seen = spec.architecture.options.get("activation_bytes", 0)
        return int(UNSEEN * seen * (chip / spec.chip) ** 2)
    return _counted(spec.to_json(), tuple(bands), chip, precision)


@lru_cache(maxsize=16)
def _counted(spec_json: str, bands: tuple[str, ...], chip: int, precision: str) -> int:
    """Once for all scenes of a batch: building the network takes a second."""
    spec = ModelSpec.from_json(spec_json)
    # Built with real numbers: some encoders draw them while they are built, which tensors without pixels cannot answer.
    graph = Graph(build(spec), spec, bands).eval().to(memory_format=torch.channels_last)
    reduced = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    with FakeTensorMode(allow_non_fake_inputs=True):
        dn = torch.empty(1, len(bands), chip, chip, dtype=torch.int16)
        present = torch.empty(1, 1, chip, chip, dtype=torch.bool)
        gain = torch.empty(1, len(bands), 1, 1)
        with torch.inference_mode(), torch.autocast("cpu", reduced, enabled=reduced is not None), Ledger() as ledger:
            graph(dn, present, gain, gain)
    return int(UNSEEN * ledger.peak)
