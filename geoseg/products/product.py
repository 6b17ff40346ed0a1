"""A recognized product: its bands, quality layers, identity and the evidence, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from geoseg.errors import InputError

Radiometry = Literal["metadata", "preset", "none"]


@dataclass(frozen=True, kw_only=True)
class ProductBand:
    """One band: where it is stored, and reflectance = DN·scale + offset."""

    id: str
    """As the product calls it: B8A, SR_B4, nir."""
    name: str
    """As models call it: coastal, blue, green, red, rededge071, nir, nir_narrow, swir16, swir22, pan, thermal, …"""
    path: str
    """Absolute path, or a GDAL path into an archive: /vsizip//abs.zip/inner, /vsitar//abs.tar/inner."""
    index: int
    """1-based."""
    scale: float | None
    offset: float | None
    """Thermal bands give kelvin (Landsat level 2), °C (HLS) or radiance in W/(m² sr µm) (Landsat level 1). Both None:
    as the file says."""
    nodata: float | None
    """The fill value; None: as the file says."""
    gsd_m: float

    def __post_init__(self) -> None:
        if self.index < 1 or self.gsd_m <= 0 or self.scale == 0 or (self.scale is None) != (self.offset is None):
            raise ValueError(f"band {self.id}: index {self.index}, gsd {self.gsd_m} m, scale {self.scale}")


@dataclass(frozen=True, kw_only=True)
class QualityLayer:
    """A raster that says which pixels are unusable."""

    path: str
    """As in `ProductBand`."""
    rule: str | None
    """A name of `geoseg.quality.RULES`; None: the layout is unknown, the user must name one of `choices`."""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Product:
    """One scene as its provider delivers it."""

    paths: tuple[str, ...]
    """What the user named."""
    sensor: str
    """Name of the preset; `none`: a folder of bands that no preset describes."""
    title: str
    """For people: Sentinel-2 L2A, processing baseline 05.09."""
    scene_id: str
    """The provider's name of the scene, without .SAFE, .zip, .tar, …"""
    acquired: datetime | None
    """With time zone, from the metadata or a name that holds it by definition (HLS); never guessed."""
    bands: tuple[ProductBand, ...]
    grid_id: str
    """Id of the band whose file gives the scene's grid: the finest, but never pan, cirrus or thermal."""
    quality: tuple[QualityLayer, ...]
    radiometry: Radiometry
    """Where scale and offset come from; none: they are the files' own."""
    needs_offset: bool
    """True: metadata would say the offset, and there is none; `offset_question` is the refusal."""
    why: str
    """The evidence in words."""
    notes: tuple[str, ...] = ()
    """What was assumed, applied or left out, for people."""
    metadata: tuple[str, ...] = ()
    """Paths (as in `ProductBand`) of the metadata files whose content was used."""

    def __post_init__(self) -> None:
        names = [band.name for band in self.bands]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or self.grid_id not in {band.id for band in self.bands}:
            raise InputError(f"{self.title}: bands {', '.join(names)}; doubled: {', '.join(twice) or 'none'}.")
        if self.acquired is not None and self.acquired.tzinfo is None:
            raise ValueError(f"acquired {self.acquired} has no time zone")

    @property
    def offset_question(self) -> str:
        """The one line that refuses numbers whose offset cannot be known."""
        return (
            f"{self.scene_id} comes without its product metadata, so nothing says whether its numbers hold the "
            f"+1000 of {self.title} processing baseline 04.00 (from January 2022 on, and reprocessed scenes); "
            f"pass --offset -0.1 if they do, --offset 0 if they do not, or give the whole product."
        )
