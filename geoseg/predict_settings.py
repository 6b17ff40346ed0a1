"""Which model predicts and how: the options of that part, see `geoseg.settings`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from geoseg.errors import UsageError
from geoseg.spelling import Strict, share_of

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Backend = Literal["auto", "torch", "openvino"]
Blend = Literal["trim", "taper"]
Tta = Literal["none", "flip", "d4"]

SCORE_LAYERS = ("confidence", "ambiguity", "probabilities")
"""Rasters of scores that may stand beside the class raster, in this order."""
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True, kw_only=True)
class PredictSettings(Strict):
    """Which model and how it runs."""

    model: str = "landcover"
    """Name of a bundled model or path of a model file."""
    device: str = "auto"
    precision: Precision = "auto"
    backend: Backend = "auto"
    """Library that computes the network; auto: torch."""
    chip: int | None = None
    """Side of a chip in pixels; None: as the model file says."""
    margin: int | None = None
    """Pixels trimmed from each side of a chip's output; None: as measured for the model."""
    batch_size: int | None = None
    """Chips a forward pass; None: chosen for the device."""
    blend: Blend = "trim"
    """Where chips overlap: each cell its own chip's answer, or the weighted mean of all chips that reach there."""
    tta: Tta = "none"
    """Test-time augmentation: mean scores over the chip's mirror images (flip: 4), and with quarter turns (d4: 8)."""
    confidence: bool = False
    """Also write the winning score."""
    ambiguity: bool = False
    """Also write 1 − (best − second score)."""
    probabilities: bool = False
    """Also write the scores of all classes, a band each."""
    seam: str | None = None
    """Share of the forward passes, as `2%`, spent on comparing pairs of neighboring chips (see `geoseg.tiling.seam`);
    what is less than a pair is drawn by lot, from the scene's content. None: 2 %, a scene of its own has at least one
    pair, one of a batch is drawn. It changes no pixel: a finished scene is not done again for it."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The score layers asked for, in the order of `SCORE_LAYERS`."""
        return tuple(name for name in SCORE_LAYERS if getattr(self, name))

    @property
    def seam_share(self) -> float | None:
        """`seam`, understood: 0 to 1."""
        return None if self.seam is None else share_of(self.seam, "--seam")

    def __post_init__(self) -> None:
        self._take("seam", lambda given: None if given is None else str(given))
        for name, type_ in (("precision", Precision), ("backend", Backend), ("blend", Blend), ("tta", Tta)):
            self._check(name, type_)
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"--device {self.device!r} is not auto, cpu, cuda, cuda:N or mps.")
        self._check_numbers()

    def _check_numbers(self) -> None:
        self.seam_share  # noqa: B018 (raises where it is none)
        if self.chip is not None and self.chip < 1:
            raise UsageError(f"--chip {self.chip} must be at least 1 pixel.")
        if self.margin is not None and self.margin < 0:
            raise UsageError(f"--margin {self.margin} must not be negative.")
        if self.batch_size is not None and self.batch_size < 1:
            raise UsageError(f"--batch-size {self.batch_size} must be at least 1.")
