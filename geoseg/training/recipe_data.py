"""The recipe's data side: chips or scenes, bands, classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from geoseg.settings import ReadSettings
from geoseg.training.recipe_base import Frozen, Positive

LabelValue = int | str
"""What label rasters and class fields hold: codes or texts; the text of a number is that number."""


class DataRecipe(Frozen):
    """Image chips and label chips of one size, without georeference, listed in a table."""

    images: Path
    """Folder of multi-band rasters; relative paths start at the recipe's folder."""
    labels: Path
    """Folder of one-band rasters with the same file names."""
    index: Path
    """CSV with columns file, split (train, val) and place_group (chips that share ground)."""
    bands: tuple[str, ...]
    """Common names of the image files' bands, in file order."""
    scale: float = 1.0
    """Reflectance = DN·scale + offset."""
    offset: float = 0.0
    nodata: float | None = None
    """DN that means "nothing here"; None: as tagged in the file."""

    def under(self, folder: Path) -> DataRecipe:
        """The same with paths that start at a folder."""
        return self.model_copy(update={key: folder / getattr(self, key) for key in ("images", "labels", "index")})


class Reading(Frozen):
    """How images are read: `geoseg.settings.ReadSettings` under the same words; what is not given is its default."""

    bands: str | tuple[str, ...] | None = None
    scale: float | tuple[float, ...] | None = None
    offset: float | tuple[float, ...] | None = None
    nodata: float | str | None = None
    collar: int | str | None = None
    valid: str | None = None
    sensor: str | None = None
    mask: str | tuple[str, ...] | None = None
    mask_buffer: float | None = None
    assume_crs: str | None = None
    aoi: Path | None = None
    grid: str | None = None
    grid_of: Path | None = None

    @model_validator(mode="after")
    def _readable(self) -> Reading:
        self.settings()
        return self

    def given(self) -> dict[str, Any]:
        """The words that were given."""
        found = {name: getattr(self, name) for name in Reading.model_fields}
        return {name: value for name, value in found.items() if value is not None}

    def settings(self, defaults: Reading | None = None) -> ReadSettings:
        """As the readers take it; words of `defaults` count where this says nothing."""
        words = ({} if defaults is None else defaults.given()) | self.given()
        texts = {name: f"{words[name]:g}" for name in ("nodata", "collar") if isinstance(words.get(name), int | float)}
        return ReadSettings(**(words | texts))


class SceneRecipe(Reading):
    """A georeferenced image with its labels."""

    image: tuple[str, ...]
    """A raster or product as `geoseg run` takes it, or several files of one scene."""
    dates: bool = False
    """True: the images are not files of one scene but its dates, whose bands are red@1, nir@1, red@2, …"""
    labels: Path
    """A raster of class codes, in any CRS and on any grid, or polygons and points."""
    field: str | None = None
    """Attribute that names the class; needed for polygons and points."""
    layer: str | None = None
    """Layer of a file that has several."""
    radius_m: Annotated[float, Field(ge=0)] = 0.0
    """Ground metres around a point that belong to it; 0: the pixel that holds it."""
    labels_on_grid: bool = False
    """True: a label raster without a place, of the image's size, lies on the image's grid."""
    group: str | None = None
    """Scenes of one group share ground or season and never part; None: parted by spatial blocks."""
    split: Literal["train", "val"] | None = None
    """Where all of the scene goes; None: chosen by place."""
    source: str | None = None
    """Entry of model.training_data that credits it, by name; None: the first."""

    @field_validator("image", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class SceneData(Reading):
    """Scenes with labels; their reading words are defaults of all scenes."""

    scenes: Annotated[tuple[SceneRecipe, ...], Field(min_length=1)]
    chip: Annotated[int, Field(ge=16)] = 128
    """Side of a training chip in pixels."""
    block_m: Positive | None = None
    """Side, in ground metres, of the blocks that go to training or validation as a whole, rounded to whole chips;
    None: 5 km, or a sixth of the scene if that is less."""
    val_share: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of each class's labels to hold out, as nearly as blocks allow."""
    seed: int = 0
    """Decides between blocks that would do equally well."""

    def under(self, folder: Path) -> SceneData:
        """The same with paths that start at a folder."""
        scenes = tuple(
            scene.model_copy(
                update={
                    "image": tuple(_under(folder, image) for image in scene.image),
                    "labels": folder / scene.labels,
                    **_reading_under(folder, scene),
                }
            )
            for scene in self.scenes
        )
        return self.model_copy(update={"scenes": scenes, **_reading_under(folder, self)})


class BandRecipe(Frozen):
    """One input channel of the network."""

    name: str
    optional: bool = False
    haze: Annotated[float, Field(ge=0)] = 0.0
    """Path reflectance that a hazy or top-of-atmosphere image adds to this band, at most."""
    offset: float = 0.0
    """Added to all values, in training and ever after, for a `fit.start` that knows them larger: the path reflectance,
    where it was trained at the top of the atmosphere and the data are of the surface."""
    plausible: tuple[float, float] = (-0.2, 1.6)


class ClassRecipe(Frozen):
    """One class of the model and the label values that it stands for."""

    code: int
    name: str
    color: str
    labels: tuple[LabelValue, ...]


def _under(folder: Path, image: str) -> str:
    """A path under the folder; addresses and GDAL's virtual paths as they are."""
    return image if "://" in image or image.startswith("/vsi") else str(folder / image)


def _reading_under(folder: Path, words: Reading) -> dict[str, Any]:
    """Paths among reading words, from a folder; what is no file there may be a preset, a rule, a layer's name."""
    found: dict[str, Any] = {
        name: folder / getattr(words, name) for name in ("aoi", "grid_of") if getattr(words, name) is not None
    }
    for name in ("grid", "sensor"):
        if getattr(words, name) is not None:
            found[name] = _file_under(folder, getattr(words, name))
    if words.mask is not None:
        masks = (words.mask,) if isinstance(words.mask, str) else words.mask
        found["mask"] = tuple(_file_under(folder, mask) for mask in masks)
    return found


def _file_under(folder: Path, text: str) -> str:
    """`FILE` or `FILE:RULE` with a file of the folder; other words as they are."""
    for cut in (len(text), *(at for at, char in enumerate(text) if char == ":")):
        if text[:cut] and (folder / text[:cut]).exists():
            return str(folder / text[:cut]) + text[cut:]
    return text
