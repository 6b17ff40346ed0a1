"""A U-Net that also sees single pixels: a skip connection at the full resolution of the image.

The last skip connection of the usual one (Ronneberger et al. 2015, as `segmentation_models_pytorch` builds it) has half
the image's resolution, since encoders begin with a stride of two: what tells one pixel from the next is lost. Here the
last decoder block gets, beside the enlarged map, what a small perceptron says of every pixel by itself, as a per-pixel
classifier would.

    image ──┬── perceptron (1 × 1) ─────────────────────────┐ detail
            └── encoder ½ ── ¼ ── … ── decoder … ¼ ── ½ ── last block ── head
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn


class DetailUnet(smp.Unet):  # type: ignore[misc]
    """`segmentation_models_pytorch.Unet` with that connection.

    Args:
        in_channels: bands.
        detail: channels of the perceptron, at least 1.
        encoder_depth: halvings, and blocks of the decoder.
        decoder_channels: of the blocks, deepest first.
        decoder_use_norm: as the library means it.
        decoder_attention_type: as the library means it.
        decoder_interpolation: as the library means it.
        kwargs: for the usual one.
    """

    decoder: Any

    def __init__(
        self,
        *,
        in_channels: int,
        detail: int,
        encoder_depth: int = 5,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        decoder_use_norm: bool | str | dict[str, Any] = "batchnorm",
        decoder_attention_type: str | None = None,
        decoder_interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            in_channels=in_channels, encoder_depth=encoder_depth, decoder_channels=decoder_channels, **kwargs
        )
        if detail < 1:
            raise ValueError(f"detail {detail} is no number of channels")
        self.detail = nn.Sequential(
            nn.Conv2d(in_channels, detail, 1), nn.ReLU(), nn.Conv2d(detail, detail, 1), nn.ReLU()
        )
        # The decoder passes over the first map, the image; all that follow are skip connections to it.
        self.decoder = UnetDecoder(
            encoder_channels=[in_channels, detail, *self.encoder.out_channels[1:]],
            decoder_channels=decoder_channels,
            n_blocks=encoder_depth,
            use_norm=decoder_use_norm,
            add_center_block=type(self.decoder.center) is not nn.Identity,
            attention_type=decoder_attention_type,
            interpolation_mode=decoder_interpolation,
        )
        self.initialize()

    def forward(self, values: Tensor) -> Tensor:
        """Logits (batch, class, row, col) of (batch, band, row, col)."""
        _, *deeper = self.encoder(values)
        logits: Tensor = self.segmentation_head(self.decoder([values, self.detail(values), *deeper]))
        return logits
