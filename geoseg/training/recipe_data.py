"""The recipe's data side: chips, bands, classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from geoseg.training.recipe_base import Frozen


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


class BandRecipe(Frozen):
    """One input channel of the network."""

    name: str
    optional: bool = False
    haze: Annotated[float, Field(ge=0)] = 0.0
    """Path reflectance that a hazy or top-of-atmosphere image adds to this band, at most."""
    plausible: tuple[float, float] = (-0.2, 1.6)


class ClassRecipe(Frozen):
    """One class of the model and the label values that it stands for."""

    code: int
    name: str
    color: str
    labels: tuple[int, ...]
