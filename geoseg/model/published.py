"""Models that others publish: where they are, and how to know that what came is what they published."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.model.torchgeo_weights import TORCHGEO

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Published:
    """Weights on a public server."""

    base: str
    """Address of the folder that holds the files."""
    files: tuple[str, ...]
    """The files that are needed, relative to it."""
    max_bytes: int
    """No file of it can be larger."""
    weights_sha256: str | None = None
    """`weights_sha256` of the network's tensors after reading: the same for every faithful copy, however stored."""
    file_sha256: str | None = None
    """First digits of the SHA-256 of the one file, where that is what is known."""
    megabytes: float = 0.0
    """What there is to download."""

    @property
    def checksum(self) -> str | None:
        """For people: by what is known that the right weights came; None: nothing was published."""
        if self.weights_sha256 is not None:
            return "SHA-256 of the numbers"
        return None if self.file_sha256 is None else f"first {len(self.file_sha256)} digits of the file's SHA-256"


PUBLISHED = {
    "dynamicworld": Published(
        base="https://raw.githubusercontent.com/google/dynamicworld/94e73e713ee8693136f8c9e3d4fe57b4e67f0d7e/model/forward",
        files=("variables/variables.index", "variables/variables.data-00000-of-00001"),
        max_bytes=16 * 2**20,
        weights_sha256="ddd65a32b5a02975bc9a8c924ba5e0ec207f6657ab4b1d0bc83c9c715322072f",
        megabytes=0.9,
    ),
} | {
    weights.name: Published(
        base=weights.url.rpartition("/")[0],
        files=(weights.url.rpartition("/")[2],),
        max_bytes=2 * weights.megabytes * 10**6,
        file_sha256=weights.sha256,
        megabytes=weights.megabytes,
    )
    for weights in TORCHGEO.values()
}
"""Name → source. Dynamic World: a SavedModel; its graph (saved_model.pb) is not needed, so it is not asked for.
TorchGeo's: one file each."""


def weights_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """Digest of a network's numbers, independent of any file format.

    Over the floating-point tensors in the order of their names: name, shape as `[64, 9, 3, 3]`, a line feed, then
    the numbers as little-endian float32 in C order.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if tensor.is_floating_point():
            digest.update(f"{name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()
