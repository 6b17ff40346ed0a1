"""The recipe's fitting side: network, augmentation, optimization."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from geoseg.training.recipe_base import Frozen, Positive, Share


class NetworkRecipe(Frozen):
    """What is built; names as in `geoseg.model.build`."""

    architecture: str
    encoder: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    stride: Annotated[int, Field(ge=1)]
    chip: Annotated[int, Field(ge=1)]
    """Side of the chips on which the margin is measured and that prediction uses."""


class AugmentRecipe(Frozen):
    """How a training sample differs from its chip."""

    crop: Annotated[int, Field(ge=1)] = 128
    """Side of a training sample in pixels."""
    zoom: tuple[Positive, Positive] = (1.0, 1.0)
    """Magnification range; 3 shows 30 m data as 10 m data, without the detail."""
    flips: bool = True
    """All eight orientations."""
    gain: tuple[Positive, Positive] = (1.0, 1.0)
    """Range of a factor on all bands: sun height, atmosphere, calibration."""
    band_gain: Share = 0.0
    """Largest relative deviation of one band from that factor."""
    shift: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of a constant added to a band, in reflectance."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of pixel noise, in reflectance."""
    haze: Share = 0.0
    """Share of samples that get a random part of each band's `haze`."""
    drop_optional: Share = 0.0
    """Share of samples that lose all optional bands together."""
    erase: Share = 0.0
    """Share of samples with a rectangle of invalid pixels."""

    @model_validator(mode="after")
    def _ordered(self) -> AugmentRecipe:
        for name in ("zoom", "gain"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: [{low:g}, {high:g}] is not in ascending order")
        return self


class FitRecipe(Frozen):
    """How the weights are found."""

    epochs: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)] = 16
    lr: Positive = 1e-3
    """Peak of the one-cycle learning rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    loss: Literal["ce", "ce+dice"] = "ce"
    label_smoothing: Share = 0.0
    class_weight_power: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Class weight ∝ share⁻ᵖ: 0 counts pixels alike, 1 counts classes alike."""
    average: Share = 0.0
    """Decay per step of the moving average of the weights, which is what is kept; 0: the last weights."""
    inner_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the training places set aside to fit the temperature; then all places are trained on."""
    seed: int = 0
    threads: Annotated[int, Field(ge=1)] = 1
    device: str = "cpu"
    """cpu, cuda or cuda:N; only the CPU repeats bit for bit."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    start: str | None = None
    """Model to start from, by name or file; None: from scratch."""
