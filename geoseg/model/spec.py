"""The model's contract: what it was made for, what it expects, what it answers.

Plain data, stored as JSON in the header of the model file (`geoseg.model.file`). It is the only
source of normalization for training and prediction (law 10).
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from geoseg.classes import ClassScheme
from geoseg.errors import ConfigError

SCHEMA_VERSION = 1
Curve = Literal["linear", "log_sigmoid"]


@dataclass(frozen=True, kw_only=True)
class Band:
    """One input channel and its normalization.

        DN ──·scale + offset of the scene──► reflectance ──·scale + offset of the band──► value ──curve──► input

    `linear`: (value − mean) / std. `log_sigmoid`: sigmoid(5·(ln(0.005·max(value, 0) + 1) − mean)/std − 1), the
    normalization of Dynamic World (Brown et al. 2022, doi 10.1038/s41597-022-01307-4).
    """

    name: str
    """Common name (STAC eo): blue, green, red, nir, swir16, swir22, …; two dates: `red@1`, `red@2`."""
    mean: float
    std: float
    scale: float = 1.0
    offset: float = 0.0
    curve: Curve = "linear"
    optional: bool = False
    """True when the model was trained to do without this band; it then enters as 0 after normalization."""
    plausible: tuple[float, float] = (0.0, 1.0)
    """Range of reflectance outside of which values are surely something else."""
    quantiles: tuple[float, float, float] | None = None
    """p1, p50, p99 of reflectance in the training data."""

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name):
            raise ConfigError(f"a band of the model has no name, but {self.name!r}.")
        numbers = (self.mean, self.std, self.scale, self.offset, *self.plausible)
        if not all(math.isfinite(n) for n in numbers) or self.std <= 0:
            raise ConfigError(f"band {self.name!r}: mean, std, scale and range must be finite, std > 0.")
        if self.curve not in get_args(Curve):
            raise ConfigError(f"band {self.name!r}: unknown normalization curve {self.curve!r}.")
        if len(self.plausible) != 2 or self.plausible[0] >= self.plausible[1]:
            raise ConfigError(f"band {self.name!r}: plausible range {self.plausible} is not low < high.")
        if self.quantiles is not None and (
            len(self.quantiles) != 3 or not -math.inf < self.quantiles[0] <= self.quantiles[1] <= self.quantiles[2]
        ):
            raise ConfigError(f"band {self.name!r}: quantiles {self.quantiles} are not three rising numbers.")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to build the network: a name that `geoseg.model.build` knows and its options."""

    name: str
    encoder: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts = (self.name, *(() if self.encoder is None else (self.encoder,)))
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.options, dict):
            raise ConfigError(f"architecture {self.name!r}: name and encoder must be text, options a mapping.")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything about a model but its weights."""

    name: str
    version: str
    license: str
    attribution: str
    architecture: Architecture
    bands: tuple[Band, ...]
    classes: ClassScheme
    gsd_m: tuple[float, float]
    """Ground sample distances, in metres, at which the model may be used without resampling."""
    chip: int
    """Side of a chip in pixels."""
    stride: int
    """Chip sides and steps must be multiples of this."""
    margin: int
    """Pixels trimmed from each side of a chip's output, a multiple of the stride, as measured."""
    fixed_chip: bool = False
    """True when the network takes no other chip size (attention, global pooling)."""
    unit: Literal["reflectance", "dn"] = "reflectance"
    """What a band value is before normalization; "dn": stored numbers, no scale needed."""
    valid: Literal["all", "any"] = "all"
    temperature: float = 1.0
    """Logits are divided by it before softmax."""
    default_mmu: str | None = None
    purpose: str = ""
    """One line for users: what the model is good for, and what it is not."""
    demonstration: bool = False
    """True when the model is not good enough for reporting; `run` then says so."""
    training_data: tuple[dict[str, Any], ...] = ()
    """For each data set: name, license, attribution; where known scenes (files, checksums) and footprints
    ([west, south, east, north] in EPSG:4326, one a block)."""
    training: dict[str, Any] = field(default_factory=dict)
    """`started_from`: what the weights began with, and how much of it was taken over. `published`: address and SHA-256
    of the file that they were read from, and SHA-256 of the numbers."""
    metrics: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema != SCHEMA_VERSION:
            raise ConfigError(
                f"model {self.name!r} has spec version {self.schema}, this geoseg reads {SCHEMA_VERSION}."
            )
        for what in ("name", "version", "license", "attribution", "purpose"):
            if not isinstance(getattr(self, what), str):
                raise ConfigError(f"model {self.name!r}: {what} {getattr(self, what)!r} is not text.")
        for what, choices in (("unit", ("reflectance", "dn")), ("valid", ("all", "any"))):
            if getattr(self, what) not in choices:
                raise ConfigError(f"model {self.name!r}: {what} {getattr(self, what)!r} is not one of {choices}.")
        names = [band.name for band in self.bands]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"model {self.name!r}: band names {names} must be present and distinct.")
        if all(band.optional for band in self.bands):
            raise ConfigError(f"model {self.name!r}: at least one band must not be optional.")
        low, high = self.gsd_m
        if not 0 < low <= high:
            raise ConfigError(f"model {self.name!r}: gsd range {self.gsd_m} is not 0 < low ≤ high.")
        if not 0 < self.temperature < math.inf:
            raise ConfigError(f"model {self.name!r}: temperature {self.temperature} must be positive.")
        check_chip(self.chip, self.margin, self.stride)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of all bands, in input order."""
        return tuple(band.name for band in self.bands)

    @property
    def training_footprints(self) -> list[list[float]]:
        """Where the training data lie, [west, south, east, north] in degrees (EPSG:4326), as far as it is known."""
        boxes = [box for data in self.training_data for box in data.get("footprints") or ()]
        return [[float(edge) for edge in box] for box in boxes if _is_box(box)]

    def to_json(self) -> str:
        """The spec as one JSON document."""
        raw = dataclasses.asdict(self)
        raw["classes"] = self.classes.to_json()
        return json.dumps(raw, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: not JSON, an unknown or missing key, or a value out of range.
        """
        try:
            raw = json.loads(text)
            raw["architecture"] = Architecture(**raw["architecture"])
            raw["bands"] = tuple(_band(row) for row in raw["bands"])
            raw["classes"] = ClassScheme.from_json(raw["classes"])
            raw["gsd_m"] = tuple(raw["gsd_m"])
            raw["training_data"] = tuple(raw.get("training_data", ()))
            return cls(**raw)
        except ConfigError:
            raise
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise ConfigError(f"model spec is malformed: {error}") from error


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 4
        and all(isinstance(edge, int | float) and math.isfinite(edge) for edge in value)
    )


def _band(row: dict[str, Any]) -> Band:
    quantiles = row.get("quantiles")
    return Band(
        **{
            **row,
            "plausible": tuple(row.get("plausible", (0.0, 1.0))),
            "quantiles": None if quantiles is None else tuple(quantiles),
        }
    )


def check_chip(chip: int, margin: int, stride: int) -> None:
    """Chip, margin and stride must let chips tile the plane on the network's own lattice.

    Raises:
        ConfigError: naming the value and the nearest that would do.
    """
    if not all(isinstance(number, int) for number in (chip, margin, stride)):
        raise ConfigError(f"chip {chip!r}, margin {margin!r} and stride {stride!r} must be whole numbers of pixels.")
    if stride < 1 or chip % stride or chip < stride:
        fit = max(1, round(chip / max(stride, 1))) * max(stride, 1)
        raise ConfigError(f"chip {chip} is not a multiple of the model's stride {stride}; {fit} would be.")
    if margin < 0 or margin % stride:
        fit = max(0, -(-margin // stride) * stride)
        raise ConfigError(f"margin {margin} is not a multiple of the model's stride {stride}; {fit} would be.")
    if chip - 2 * margin < stride:
        raise ConfigError(f"chip {chip} leaves nothing after trimming {margin} pixels from each side.")
