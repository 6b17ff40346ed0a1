"""Training recipes: YAML → validated, frozen values. No torch here: a bad recipe fails at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from geoseg.classes import ClassScheme, LandClass, parse_color
from geoseg.errors import ConfigError
from geoseg.model.spec import Architecture
from geoseg.strict_yaml import load_yaml
from geoseg.training.recipe_base import Frozen, Positive, Share
from geoseg.training.recipe_data import BandRecipe, ClassRecipe, DataRecipe
from geoseg.training.recipe_fit import AugmentRecipe, FitRecipe, NetworkRecipe
from geoseg.training.recipe_start import place_start, with_network


class SourceRecipe(Frozen):
    """A training data set, as the model file credits it."""

    name: str
    license: str
    attribution: str
    url: str | None = None


class BaselineRecipe(Frozen):
    """Another classifier's scores on the same held-out pixels and classes; the honest comparison."""

    name: str
    overall_accuracy: Share
    mean_iou: Share
    iou: dict[str, Share] = Field(default_factory=dict)


class ModelRecipe(Frozen):
    """Texts and facts that go into the model's spec as they are."""

    name: str
    version: str
    license: str
    attribution: str
    purpose: str
    gsd_m: tuple[Positive, Positive]
    default_mmu: str | None = None
    training_data: tuple[SourceRecipe, ...]
    demonstration: bool = False
    """True: say in any case that the model is not for reporting; not beating the baseline says so, too."""
    baseline: BaselineRecipe | None = None


class Recipe(Frozen):
    """Everything that `geoseg train` needs besides the output path."""

    model: ModelRecipe
    data: DataRecipe
    bands: tuple[BandRecipe, ...]
    classes: tuple[ClassRecipe, ...]
    ignore: tuple[int, ...] = (255,)
    """Label values that are neither trained on nor counted."""
    network: NetworkRecipe
    augment: AugmentRecipe = AugmentRecipe()
    fit: FitRecipe

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        missing = [band.name for band in self.bands if band.name not in self.data.bands]
        if missing:
            raise ValueError(f"bands: {missing[0]!r} is not among data.bands {list(self.data.bands)}")
        unknown = sorted(set(self.augment.drop_bands) - {band.name for band in self.bands})
        if unknown:
            raise ValueError(
                f"augment.drop_bands: {unknown[0]!r} is not among bands {[band.name for band in self.bands]}"
            )
        claimed = [value for row in self.classes for value in row.labels] + list(self.ignore)
        twice = sorted({value for value in claimed if claimed.count(value) > 1})
        if twice:
            raise ValueError(f"classes: label value {twice[0]} is used twice")
        if self.augment.crop % self.network.stride or self.network.chip % self.network.stride:
            raise ValueError(
                f"network.stride: {self.network.stride} divides augment.crop {self.augment.crop} "
                f"and network.chip {self.network.chip} not both"
            )
        if self.network.encoder is None and (self.fit.freeze != "none" or self.fit.encoder_lr != 1):
            raise ValueError(
                f"fit.freeze: {self.fit.freeze} with encoder_lr {self.fit.encoder_lr:g} needs an encoder, which "
                f"network.architecture {self.network.architecture!r} does not have"
            )
        self.scheme()
        return self

    def scheme(self) -> ClassScheme:
        """The model's classes, in recipe order."""
        return ClassScheme(tuple(LandClass(row.code, row.name, parse_color(row.color)) for row in self.classes))

    def architecture(self) -> Architecture:
        """The network's name and options."""
        return Architecture(name=self.network.architecture, encoder=self.network.encoder, options=self.network.options)


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe; its relative paths are resolved against its folder.

    Raises:
        InputMissingError: no such file.
        ConfigError: not YAML, an unknown, missing or repeated key, a value out of range; one line
            with file, key and value.
    """
    raw, folder = load_yaml(path, "recipe"), path.resolve().parent
    try:
        recipe = Recipe.model_validate(with_network(raw, folder))
    except ValidationError as error:
        raise ConfigError(f"recipe {path}: {_first(error)}") from error
    except ConfigError as error:
        raise ConfigError(f"recipe {path}: {error}") from error
    paths = {key: folder / getattr(recipe.data, key) for key in ("images", "labels", "index")}
    start = None if recipe.fit.start is None else place_start(recipe.fit.start, folder)
    fit = recipe.fit.model_copy(update={"start": start})
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=paths), "fit": fit})


def _first(error: ValidationError) -> str:
    """The first problem in one line: key, what is wrong, value received."""
    problems = error.errors()
    first = problems[0]
    key = ".".join(map(str, first["loc"])) or "recipe"
    what = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] in {"missing", "value_error"} else f" (received {first['input']!r})"
    more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{key}: {what}{value}{more}" if first["loc"] else f"{what}{more}"
