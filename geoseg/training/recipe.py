"""Training recipes: YAML → validated, frozen values. No torch here: a bad recipe fails at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from geoseg.classes import ClassScheme, LandClass, parse_color
from geoseg.errors import ConfigError
from geoseg.model.spec import Architecture
from geoseg.strict_yaml import load_yaml
from geoseg.training.recipe_base import Frozen, Positive, Share
from geoseg.training.recipe_data import BandRecipe, ClassRecipe, DataRecipe, LabelValue, SceneData
from geoseg.training.recipe_fit import AugmentRecipe, FitRecipe, NetworkRecipe
from geoseg.training.recipe_start import place_start, with_network

MAX_CLASSES = 254
"""Class indices of labels are 8 bits, the last of which says "not known"."""


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
    unit: Literal["reflectance", "dn"] = "reflectance"
    """What the images' numbers are once they were read."""
    default_mmu: str | None = None
    training_data: tuple[SourceRecipe, ...]
    demonstration: bool = False
    """True: say in any case that the model is not for reporting; not beating the baseline says so, too."""
    baseline: BaselineRecipe | None = None


def _kind(data: Any) -> str:
    given = data if isinstance(data, Mapping) else vars(data) if isinstance(data, DataRecipe | SceneData) else {}
    return "scenes" if "scenes" in given else "chips"


AnyData = Annotated[Annotated[DataRecipe, Tag("chips")] | Annotated[SceneData, Tag("scenes")], Discriminator(_kind)]


class Recipe(Frozen):
    """Everything that `geoseg train` needs besides the output path."""

    model: ModelRecipe
    data: AnyData
    bands: tuple[BandRecipe, ...]
    classes: tuple[ClassRecipe, ...]
    ignore: tuple[LabelValue, ...] = (255,)
    """Label values that are neither trained on nor counted."""
    network: NetworkRecipe
    augment: AugmentRecipe = AugmentRecipe()
    fit: FitRecipe

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if isinstance(self.data, DataRecipe):
            missing = [band.name for band in self.bands if band.name not in self.data.bands]
            if missing:
                raise ValueError(f"bands: {missing[0]!r} is not among data.bands {list(self.data.bands)}")
        else:
            self._check_scenes(self.data)
        unknown = sorted(set(self.augment.drop_bands) - {band.name for band in self.bands})
        if unknown:
            raise ValueError(
                f"augment.drop_bands: {unknown[0]!r} is not among bands {[band.name for band in self.bands]}"
            )
        claimed = [str(value) for row in self.classes for value in row.labels] + [str(value) for value in self.ignore]
        twice = sorted({value for value in claimed if claimed.count(value) > 1})
        if twice:
            raise ValueError(f"classes: label value {twice[0]} is used twice")
        if len(self.classes) > MAX_CLASSES:
            raise ValueError(f"classes: {len(self.classes)} are more than the {MAX_CLASSES} that can be trained")
        if self.augment.crop % self.network.stride or self.network.chip % self.network.stride:
            raise ValueError(
                f"network.stride: {self.network.stride} divides augment.crop {self.augment.crop} "
                f"and network.chip {self.network.chip} not both"
            )
        encoder = self.network.encoder is not None or self.network.architecture == "dynamicworld"
        if not encoder and (self.fit.freeze != "none" or self.fit.encoder_lr != 1):
            raise ValueError(
                f"fit.freeze: {self.fit.freeze} with encoder_lr {self.fit.encoder_lr:g} needs an encoder, which "
                f"network.architecture {self.network.architecture!r} does not have"
            )
        self.scheme()
        return self

    def _check_scenes(self, data: SceneData) -> None:
        if data.chip % self.network.stride:
            raise ValueError(f"data.chip: {data.chip} is not a multiple of network.stride {self.network.stride}")
        known = [source.name for source in self.model.training_data]
        if not known:
            raise ValueError("model.training_data: is empty; it must credit the scenes and their labels")
        unknown = [scene.source for scene in data.scenes if scene.source not in {None, *known}]
        if unknown:
            raise ValueError(f"data.scenes: source {unknown[0]!r} is not among model.training_data {known}")

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
    return recipe_of(load_yaml(path, "recipe"), path)


def recipe_of(content: Mapping[str, Any], path: Path) -> Recipe:
    """What `read_recipe` makes of a file's content.

    Raises:
        ConfigError: see `read_recipe`.
    """
    folder = path.resolve().parent
    try:
        recipe = Recipe.model_validate(with_network(content, folder))
    except ValidationError as error:
        raise ConfigError(f"recipe {path}: {_first(error)}") from error
    except ConfigError as error:
        raise ConfigError(f"recipe {path}: {error}") from error
    start = None if recipe.fit.start is None else place_start(recipe.fit.start, folder)
    fit = recipe.fit.model_copy(update={"start": start})
    return recipe.model_copy(update={"data": recipe.data.under(folder), "fit": fit})


def _first(error: ValidationError) -> str:
    """The first problem in one line: key, what is wrong, value received."""
    problems = error.errors()
    first = problems[0]
    # Between data and its keys pydantic tells which of the two kinds it took them for.
    loc = first["loc"][:1] + first["loc"][2:] if first["loc"][:1] == ("data",) else first["loc"]
    key = ".".join(map(str, loc)) or "recipe"
    what = first["msg"].removeprefix("Value error, ")
    value = "" if first["type"] in {"missing", "value_error"} else f" (received {first['input']!r})"
    more = f"; {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{key}: {what}{value}{more}" if first["loc"] else f"{what}{more}"
