"""Weights that a training may begin with, and everything that is known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from geoseg.errors import ConfigError
from geoseg.model.spec import Architecture, Band
from geoseg.training.recipe_fit import FitRecipe

UNKNOWN_LICENSE = "not stated"
ENCODER = "encoder."
"""Begin of the names of an encoder's tensors in a network of segmentation_models_pytorch."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network, or an encoder alone, from wherever it came."""

    name: str
    """What people call it; no path."""
    sha256: str
    """Of the file, or of the tensors where there is none of ours."""
    tensors: Mapping[str, Tensor]
    """Float ones as float32; of an encoder alone under the names that its library gives them."""
    bands: tuple[str, ...]
    """Of the input, in order; empty: it does not say."""
    n_bands: int
    classes: tuple[str, ...] = ()
    """Of the answer, in order; empty: it does not say, or has none."""
    n_classes: int = 0
    codes: tuple[int, ...] = ()
    """Of the classes; empty: they have none."""
    architecture: Architecture | None = None
    """None: an encoder alone."""
    normalization: Mapping[str, Band] = field(default_factory=dict)
    """How bands became input, by name; empty: nobody knows."""
    unit: str = "reflectance"
    """What the bands of `normalization` are measured in."""
    license: str = UNKNOWN_LICENSE
    attribution: str = ""
    training_data: tuple[dict[str, Any], ...] = ()

    def named(self, options: FitRecipe) -> Start:
        """The same with the names that a recipe gives to bands and classes.

        Raises:
            ConfigError: too few or too many names, or names missing.
        """
        bands = options.start_bands or self.bands
        if not bands:
            raise ConfigError(
                f"fit.start {self.name} does not name its {self.n_bands} bands; say which they are, in their order, "
                f"as fit.start_bands: [red, green, …]."
            )
        if len(bands) != self.n_bands or len(set(bands)) != len(bands):
            raise ConfigError(
                f"fit.start {self.name} has {self.n_bands} bands, named {', '.join(bands)}; "
                f"give as many distinct names as fit.start_bands."
            )
        classes = options.start_classes or self.classes
        if classes and len(classes) != self.n_classes:
            raise ConfigError(
                f"fit.start {self.name} has {self.n_classes} classes, named {', '.join(classes)}; "
                f"give as many names as fit.start_classes, or none."
            )
        return replace(self, bands=tuple(bands), classes=tuple(classes))
