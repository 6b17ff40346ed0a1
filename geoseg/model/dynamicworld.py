"""Google's Dynamic World network (Brown et al. 2022, doi 10.1038/s41597-022-01307-4) in torch.

A small fully convolutional network for nine Sentinel-2 bands at 10 m:

    input ── stem ──► 64 ── half size ─┬─ block ─► 96 ─ block ─► 144 ─┐
                                       └─ side ──► 48 ────────────────┴► 192 ─ block ─► 144
                                              double size ◄───────────────────────────────┘
                                              unit length over channels ── 1×1 ──► logits

Its lean form is for models fine-tuned from it: the same tensors, but a hard swish for each mish (half of the time on a
CPU), and unit length and logits before the size is doubled, which the 9 logits bear better than the 144 channels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from torch import Tensor, nn

BANDS = 9
CLASSES = 9
STRIDE = 2
_LEAST_SQUARE = 1e-12
_DROPOUT = 0.3


class Unit(nn.Sequential):
    """Convolution with bias, batch norm, activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, lean: bool = False) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups),
            nn.BatchNorm2d(outputs, eps=1e-3),
            nn.Hardswish() if lean else nn.Mish(),
        )


class Block(nn.Module):
    """Three times a pointwise and a depthwise unit, plus a pointwise skip."""

    def __init__(self, inputs: int, outputs: int, *, lean: bool = False) -> None:
        super().__init__()
        units = []
        for width in (inputs, outputs, outputs):
            units += [Unit(width, outputs, lean=lean), Unit(outputs, outputs, 3, groups=outputs, lean=lean)]
        self.chain = nn.Sequential(*units)
        self.skip = Unit(inputs, outputs, lean=lean)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, row, col) → (batch, outputs, row, col)."""
        out: Tensor = self.chain(x) + self.skip(x)
        return out


class DynamicWorld(nn.Module):
    """Normalized bands (batch, band, row, col) → logits (batch, class, row, col)."""

    def __init__(
        self, in_channels: int = BANDS, classes: int = CLASSES, *, lean: bool = False, hidden: int | None = None
    ) -> None:
        """Args: bands; classes; lean: see the module; hidden: channels of a layer before the last; None: no such."""
        super().__init__()
        self.lean = lean
        self.stem = Unit(in_channels, 64, 3, lean=lean)
        self.first = Block(64, 96, lean=lean)
        self.second = Block(96, 144, lean=lean)
        self.side = nn.Sequential(Unit(64, 48, lean=lean), Unit(48, 48, 3, groups=48, lean=lean))
        self.last = Block(192, 144, lean=lean)
        self.head = nn.Conv2d(144, classes, 1) if hidden is None else _perceptron(144, hidden, classes)

    @property
    def trunk(self) -> list[nn.Module]:
        """All but the head: what a fine-tuning calls the encoder."""
        return [module for name, module in self.named_children() if name != "head"]

    def forward(self, x: Tensor) -> Tensor:
        """See the class; rows and columns should be even, as TensorFlow's half size is rounded down."""
        full = x.shape[-2:]
        low = _halved(self.stem(x))
        found = self.last(torch.cat([self.second(self.first(low)), self.side(low)], dim=1))
        if not self.lean:
            found = F.interpolate(found, size=full, mode="bilinear")
        length = found.square().sum(dim=1, keepdim=True).clamp(min=_LEAST_SQUARE)
        logits: Tensor = self.head(found * length.rsqrt())
        return F.interpolate(logits, size=full, mode="bilinear") if self.lean else logits


class _Enlarged(nn.Module):
    """Features of unit length, which are small numbers, as large as layers learn from: ±1.

    A batch norm in this place was no better (0.34 and 0.33 mean IoU on one fold), and is a state more.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channel, row, col) → the same shape."""
        return x * math.sqrt(x.shape[1])


def _perceptron(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    """Two layers for each pixel, for classes that are no half spaces of the features."""
    narrow, last = nn.Conv2d(inputs, hidden, 1), nn.Conv2d(hidden, classes, 1)
    return nn.Sequential(_Enlarged(), narrow, nn.Hardswish(), nn.Dropout(_DROPOUT), last)


def _halved(x: Tensor) -> Tensor:
    """TensorFlow's antialiased resize to half the size: a triangle over four pixels, cut off and filled up at the rim.

    As a convolution, which torch does in bf16, too, and in half the time of its own antialiased resize; that one serves
    where a side is odd.
    """
    rows, cols = x.shape[-2:]
    if rows % STRIDE or cols % STRIDE:
        size = [rows // STRIDE, cols // STRIDE]
        return F.interpolate(x.float(), size=size, mode="bilinear", antialias=True).to(x.dtype)
    line = x.new_tensor([1, 3, 3, 1]) / 8
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 4, 4)
    out = F.conv2d(x, kernel, stride=STRIDE, padding=1, groups=x.shape[1])
    return out * _missing(out.shape[-2], x).unsqueeze(-1) * _missing(out.shape[-1], x)


def _missing(count: int, like: Tensor) -> Tensor:
    """What (pixel,) of a line must be multiplied by, as its triangle hangs over the rim."""
    there = like.new_ones(count)
    there[0] -= 1 / 8
    there[-1] -= 1 / 8
    return there.reciprocal()
