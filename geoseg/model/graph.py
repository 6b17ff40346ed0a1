"""The network with its normalization in front and softmax behind: one graph, DN in, scores out (law 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from geoseg.model.lean_unet import LeanUnet, Part
from geoseg.model.spec import Band, ModelSpec


class Normalize(nn.Module):
    """Reflectance → network input, as `geoseg.model.normalize` says it in NumPy."""

    scale: Tensor
    offset: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, bands: Sequence[Band]) -> None:
        super().__init__()

        def per_band(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)

        self.register_buffer("scale", per_band([band.scale for band in bands]))
        self.register_buffer("offset", per_band([band.offset for band in bands]))
        self.register_buffer("mean", per_band([band.mean for band in bands]))
        self.register_buffer("std", per_band([band.std for band in bands]))
        self.scaled = any((band.scale, band.offset) != (1, 0) for band in bands)
        self.curved = [i for i, band in enumerate(bands) if band.curve == "log_sigmoid"]

    def forward(self, values: Tensor) -> Tensor:
        """(batch, band, row, col) float32 → same shape."""
        x = values * self.scale + self.offset if self.scaled else values
        out = (x - self.mean).div_(self.std)
        for i in self.curved:
            # Apple GPUs have no float64; elsewhere it makes NumPy and torch agree to the last bit or two.
            plane = x[:, i].clamp(min=0).to(torch.float32 if x.device.type == "mps" else torch.float64)
            logit = (torch.log1p(plane * 0.005) - self.mean[:, i]) / self.std[:, i] * 5 - 1
            out[:, i] = 1 / (1 + torch.exp(-logit))
        return out


class Graph(nn.Module):
    """DN (batch, scene band, row, col) → scores (batch, class, row, col) that sum to 1 over classes."""

    fill = 0.0
    """What enters the network where there is nothing valid (law 9)."""

    def __init__(self, network: nn.Module, spec: ModelSpec, bands: Sequence[str]) -> None:
        """Args: network as built; spec; names of the bands that chips will bring, a subset of the spec's."""
        super().__init__()
        self.network = network
        known = [band for name in bands for band in spec.bands if band.name == name]
        self.normalize: nn.Module = Normalize(known)
        self.places = [spec.band_names.index(name) for name in bands]
        self.channels = len(spec.bands)
        self.temperature = spec.temperature

    def forward(
        self, dn: Tensor, present: Tensor | None, scale: Tensor, shift: Tensor, part: Part | None = None
    ) -> Tensor:
        """See the class.

        Args:
            dn: (batch, scene band, row, col), any type.
            present: (batch, 1 or scene band, row, col) bool; False enters the network as 0 (law 9). None: all True.
            scale: (1, scene band, 1, 1) float32; reflectance = (DN + shift)·scale, see `normalize.shifts`.
            shift: as `scale`.
            part: rows and columns for which scores are wanted, and given; None: all.
        """
        values = self.values(dn, present, scale, shift).contiguous(memory_format=torch.channels_last)
        if isinstance(self.network, LeanUnet):
            logits = self.network(values, part)
        else:
            logits = self.network(values)[(..., *(part or ()))]
        # Softmax over classes that lie side by side in memory was seen to take twice to five times as long.
        logits = logits.to(torch.float32, memory_format=torch.contiguous_format)
        scores: Tensor = torch.softmax(logits if self.temperature == 1 else logits / self.temperature, dim=1)
        return scores

    def values(self, dn: Tensor, present: Tensor | None, scale: Tensor, shift: Tensor) -> Tensor:
        """What the network takes, (batch, band, row, col) float32; arguments as of `forward`."""
        # In place where the tensor is our own: each pass over the pixels costs a percent of a small network.
        values: Tensor = self.normalize(_as_float(dn).add(shift).mul_(scale))
        if present is not None:
            values.masked_fill_(~present, self.fill)
        if self.places == list(range(self.channels)):
            return values
        # A band that the scene lacks enters as if it was invalid, as it did in training.
        full = values.new_full((values.shape[0], self.channels, *values.shape[2:]), self.fill)
        full[:, self.places] = values
        return full


def _as_float(dn: Tensor) -> Tensor:
    """The same numbers as float32; torch converts unsigned 16 bits one by one, signed ones in vectors."""
    if dn.dtype == torch.uint16 and dn.device.type == "cpu":
        return torch.from_numpy(dn.numpy().astype(np.float32))  # one pass over the pixels, not three
    if dn.dtype == torch.uint16:
        return dn.view(torch.int16).to(torch.int32).bitwise_and_(0xFFFF).float()
    return dn.float()
