"""A U-Net with the same answer for less work: what nobody wants is not decoded, and no upsampled map is made.

Enlarging a map twofold by nearest neighbor and convolving it 3 × 3 looks at each pixel of the small map up to three
times. The same is a transposed convolution of the small map, stride 2, whose 4 × 4 weights are sums of the nine:

    of rows (columns alike)         w0 w1 w2  over  a a b b c c
    upper pixel of b                w0·a + (w1 + w2)·b
    lower pixel of b                (w0 + w1)·b + w2·c              4 products for 9

And a decoder block sees only two pixels beyond those it answers for, a network all of its margin: from the deepest
level on, only what the wanted pixels can see is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

Part = tuple[slice, slice]
"""Rows and columns, each from its first to one after its last."""
_LOOK = 2
"""Pixels that a block's two convolutions see beyond those they answer for."""


class _Block(nn.Module):
    """Upsampling, the skip connection, and two convolutions."""

    def __init__(self, block: Any, channels: int) -> None:
        super().__init__()
        first = block.conv1[0]
        kernel = first.weight[:, :channels]
        for axis in (2, 3):
            w0, w1, w2 = kernel.unbind(axis)
            kernel = torch.stack([w2, w1 + w2, w0 + w1, w0], axis)
        self.up = nn.ConvTranspose2d(channels, first.out_channels, 4, stride=2, padding=1)
        self.up.weight = nn.Parameter(kernel.transpose(0, 1).contiguous())
        self.up.bias = first.bias
        rest = first.in_channels - channels
        self.skip: nn.Conv2d | None = None
        if rest:
            self.skip = nn.Conv2d(rest, first.out_channels, 3, padding=1, bias=False)
            self.skip.weight = nn.Parameter(first.weight[:, channels:].contiguous())
        self.second = block.conv2[0]

    def forward(self, small: Tensor, skip: Tensor | None) -> Tensor:
        """Maps (batch, channel, row, col): `small` at half the resolution of `skip` and of the answer."""
        out = self.up(small)
        if self.skip is not None:
            out = out.add_(self.skip(skip))
        return torch.relu_(self.second(torch.relu_(out)))


class LeanUnet(nn.Module):
    """Takes the place of a U-Net whose batch norms are folded, see `suits`."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.encoder, self.center, self.head = unet.encoder, unet.decoder.center, unet.segmentation_head
        self.detail: nn.Module | None = getattr(unet, "detail", None)
        widths = [unet.encoder.out_channels[-1], *(block.conv2[0].out_channels for block in unet.decoder.blocks)]
        self.blocks = nn.ModuleList(_Block(b, width) for b, width in zip(unet.decoder.blocks, widths, strict=False))

    def forward(self, values: Tensor, part: Part | None = None) -> Tensor:
        """Logits (batch, class, row, col) of a part of the input (batch, band, row, col), given by rows and columns."""
        wanted = part or tuple(slice(0, side) for side in values.shape[2:])
        _, *features = self.encoder(values)
        deepest, *skips = features[::-1]
        small, origin = self.center(deepest), (0, 0)
        look = self.head[0].kernel_size[0] // 2
        spans = [
            _spans(side, axis.start - look, axis.stop + look, len(self.blocks))
            for side, axis in zip(values.shape[2:], wanted, strict=True)
        ]
        for level, block in enumerate(self.blocks):
            (top, bottom), (left, right) = (axis[level] for axis in spans)
            small = _crop(small, origin, (top, bottom), (left, right))
            skip = None
            if block.skip:
                source = skips[level] if level < len(skips) else values
                skip = _crop(source, (0, 0), (2 * top, 2 * bottom), (2 * left, 2 * right))
            if level == len(skips) and self.detail is not None:
                skip = self.detail(skip)
            small, origin = block(small, skip), (2 * top, 2 * left)
        rows, cols = (axis[-1] for axis in spans)
        logits = self.head(_crop(small, origin, rows, cols))
        return _crop(logits, (rows[0], cols[0]), *((axis.start, axis.stop) for axis in wanted))


def suits(network: nn.Module) -> bool:
    """Whether a network is a U-Net as `LeanUnet` understands it: the usual one, without attention, norms folded."""
    import segmentation_models_pytorch as smp

    from geoseg.model.detail_unet import DetailUnet

    if type(network) not in {smp.Unet, DetailUnet}:
        return False
    unet: Any = network
    head_only = unet.classification_head is None and all(map(_is_identity, list(unet.segmentation_head)[1:]))
    return head_only and all(_plain(block) for block in unet.decoder.blocks)


def _plain(block: Any) -> bool:
    convs = [block.conv1, block.conv2]
    usual = all(c[0].bias is not None and type(c[1]) is nn.Identity and type(c[2]) is nn.ReLU for c in convs)
    still = all(_is_identity(attention) for attention in (block.attention1, block.attention2))
    return usual and still and block.interpolation_mode == "nearest"


def _is_identity(module: Any) -> bool:
    """Of what the library wraps even where it applies nothing."""
    inner = getattr(module, "attention", getattr(module, "activation", module))
    return type(inner) is nn.Identity


def _spans(side: int, first: int, last: int, levels: int) -> list[tuple[int, int]]:
    """What each block needs of its input, deepest first, then what the head needs: first and last + 1 pixel.

    Args:
        side: pixels of the chip.
        first: of the pixels that the head sees; the chip's own, if it lies beyond them.
        last: one more than that.
        levels: blocks, each twofold.
    """
    start, end = max(0, first), min(side, last)
    spans = [(start, end)]
    for _ in range(levels):
        side //= 2
        start, end = max(0, (start - _LOOK) // 2), min(side, -(-(end + _LOOK) // 2))
        spans.append((start, end))
    return spans[::-1]


def _crop(maps: Tensor, origin: tuple[int, int], rows: tuple[int, int], cols: tuple[int, int]) -> Tensor:
    """Rows and columns of maps (batch, channel, row, col) whose first pixel is `origin`."""
    (top, left), (first, end), (begin, stop) = origin, rows, cols
    return maps[:, :, first - top : end - top, begin - left : stop - left]
