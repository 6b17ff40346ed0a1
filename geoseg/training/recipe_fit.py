"""The recipe's fitting side: network, augmentation, optimization."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from geoseg.training.recipe_base import Frozen, Positive, Share

_TERM = re.compile(r"(?:(\d*\.?\d+)\*)?([a-z]+)(?:\((\d*\.?\d+)\))?")
LOSSES: dict[str, tuple[float, float] | None] = {
    "ce": None,
    "focal": (2.0, 10.0),
    "dice": None,
    "jaccard": None,
    "lovasz": None,
    "gce": (0.7, 1.0),
    "sce": (0.1, 10.0),
}
"""Name of a loss → (default, largest) value of its parameter, if it has one; see `geoseg.training.losses`."""
_WARM_UP = {"one-cycle": 0.2, "cosine": 0.05, "poly": 0.0, "constant": 0.0}


class LossTerm(NamedTuple):
    """One summand of a loss."""

    factor: float
    name: str
    parameter: float
    """0 where the loss has none."""


class NetworkRecipe(Frozen):
    """What is built; names as in `geoseg.model.build`."""

    architecture: str
    """unet, unet++, deeplabv3+, fpn, segformer, upernet, dpt, fcn, …"""
    encoder: str | None = None
    """Name of segmentation_models_pytorch, or `tu-` and a name of timm."""
    options: dict[str, Any] = Field(default_factory=dict)
    stride: Annotated[int, Field(ge=1)]
    chip: Annotated[int, Field(ge=1)]
    """Side of the chips on which the margin is measured and that prediction uses."""

    @model_validator(mode="after")
    def _roomy(self) -> NetworkRecipe:
        if self.chip < 5 * self.stride:
            raise ValueError(
                f"chips of {self.chip} pixels have no room for any margin: a margin is a multiple of the stride "
                f"{self.stride} and twice its size is tried, too; make network.chip at least {5 * self.stride}"
            )
        return self


class AugmentRecipe(Frozen):
    """How a training sample differs from its chip."""

    crop: Annotated[int, Field(ge=1)] = 128
    """Side of a training sample in pixels."""
    zoom: tuple[Positive, Positive] = (1.0, 1.0)
    """Magnification range; 3 shows 30 m data as 10 m data, without the detail."""
    flips: bool = True
    """All eight orientations."""
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Largest turn in degrees to either side, besides the eight orientations; 45 makes every direction likely."""
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
    drop_bands: dict[str, Share] = Field(default_factory=dict)
    """Band name → share of samples that lose this band; a sample never loses its last band by it."""
    erase: Share = 0.0
    """Share of samples with a rectangle of invalid pixels."""
    mix: Share = 0.0
    """Share of samples in which a rectangle shows another chip, with its labels and validity."""

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
    """Passes over all chips."""
    batch: Annotated[int, Field(ge=1)] = 16
    """Samples a step and device."""
    lr: Positive = 1e-3
    """Peak of the learning rate."""
    schedule: Literal["one-cycle", "cosine", "poly", "constant"] = "one-cycle"
    """Course of the learning rate over all steps, see `geoseg.training.schedules`."""
    warm_up: Share | None = None
    """Share of the steps in which the rate rises to its peak; None: 0.2 for one-cycle, 0.05 for cosine, else 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Of AdamW."""
    loss: str = "ce"
    """Sum of ce, focal(γ), dice, jaccard, lovasz, and for noisy labels gce(q), sce(α): `focal(2)+0.5*dice`."""
    label_smoothing: Share = 0.0
    """Of ce."""
    class_weight_power: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Class weight ∝ share⁻ᵖ: 0 counts pixels alike, 1 counts classes alike; not in dice, jaccard, lovasz."""
    average: Share = 0.0
    """Decay per step of the moving average of the weights, which is what is measured and kept; 0: the weights."""
    keep: Literal["last", "best"] = "last"
    """best: the epoch of the highest mean IoU on the inner places; the fit on all places then ends at that epoch."""
    measure_every: Annotated[int, Field(ge=1)] = 5
    """Epochs between two looks at the inner places."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after so many epochs without a higher mean IoU on the inner places; None: never."""
    inner_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of the training places set aside to fit the temperature; then all places are trained on."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of all that is drawn; on the CPU the same seed gives the same weights."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Of the network's arithmetic on a CPU; another number rounds otherwise. None: all processors, of any machine."""
    readers: Annotated[int, Field(ge=0)] = 1
    """Threads that prepare batches ahead of the network; any number gives the same batches; 0: none."""
    device: str = "cpu"
    """cpu, cuda or cuda:N; only the CPU repeats bit for bit."""
    devices: Annotated[int, Field(ge=1)] = 1
    """GPUs that share each step; more than one needs device cuda (or, for trials, cpu)."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """bf16-mixed trains faster where the processor has bf16; 16-mixed needs a GPU."""
    start: str | None = None
    """Model to start from, by name or file; None: from scratch."""
    start_bands: tuple[str, ...] | None = None
    """Bands of the start's input in its order, where it does not name them itself."""
    start_classes: tuple[str, ...] | None = None
    """Classes of the start's answer in its order, where it does not name them itself."""
    restandardize: bool = False
    """True: normalize all bands by the statistics of these data, also those that the start knows."""
    freeze: str | int = "none"
    """encoder: only decoder and head are trained; a number: so for that many epochs; none."""
    encoder_lr: Positive = 1.0
    """Learning rate of the encoder, as a factor of `lr`."""

    @field_validator("freeze", mode="before")
    @classmethod
    def _how_long(cls, value: Any) -> Any:
        epochs = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if value not in ("none", "encoder") and not epochs:
            raise ValueError(f"freeze: {value!r} is neither encoder, none nor a number of epochs")
        return value

    @field_validator("loss")
    @classmethod
    def _known(cls, text: str) -> str:
        loss_terms(text)
        return text

    @model_validator(mode="after")
    def _possible(self) -> FitRecipe:
        if self.schedule == "one-cycle" and self.warm_up == 0:
            raise ValueError("warm_up: 0 leaves one-cycle without its rise; take poly or constant")
        if self.devices > 1 and ":" in self.device:
            raise ValueError(f"devices: {self.devices} and device {self.device!r} contradict each other; say cuda")
        if self.start is None and self.freeze != "none":
            raise ValueError(f"freeze: {self.freeze} would keep an encoder as random as it begins; say start, too")
        if self.devices > 1 and isinstance(self.freeze, int):
            # DistributedDataParallel never learns of parameters that were frozen when it took the network.
            raise ValueError(f"freeze: {self.freeze} epochs need one device, not {self.devices}; say encoder or none")
        if self.precision == "16-mixed" and self.device == "cpu":
            raise ValueError("precision: 16-mixed needs a GPU; on a CPU take bf16-mixed or 32-true")
        return self

    @property
    def warm_up_share(self) -> float:
        """`warm_up`, or what suits the schedule."""
        return _WARM_UP[self.schedule] if self.warm_up is None else self.warm_up


def loss_terms(text: str) -> tuple[LossTerm, ...]:
    """The summands of a loss like `focal(2)+0.5*lovasz`.

    Raises:
        ValueError: a summand is malformed, unknown, or its parameter out of range.
    """
    return tuple(_term(part) for part in text.replace(" ", "").split("+"))


def _term(text: str) -> LossTerm:
    found = _TERM.fullmatch(text)
    if found is None or found[2] not in LOSSES:
        raise ValueError(f"loss {text!r} is unknown; sum up some of {', '.join(LOSSES)} like focal(2)+0.5*dice")
    factor, name, given = found.groups()
    limits = LOSSES[name]
    if limits is None and given is not None:
        raise ValueError(f"loss {name!r} has no parameter (received {given})")
    default, most = limits or (0.0, 0.0)
    parameter = default if given is None else float(given)
    if (limits is not None and not 0 <= parameter <= most) or (name == "gce" and parameter == 0):
        raise ValueError(f"loss {text!r}: parameter {parameter:g} is not between 0 and {most:g}")
    if factor is not None and float(factor) == 0:
        raise ValueError(f"loss {text!r} counts nothing")
    return LossTerm(1.0 if factor is None else float(factor), name, parameter)
