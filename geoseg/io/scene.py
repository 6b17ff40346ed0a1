"""A scene: one or more raster files seen as named bands on one grid. Facts only; nothing is open.

A `Scene` is a frozen value that travels to workers; `geoseg.io.read` turns windows of it into pixels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import from_wkb, prepare

from geoseg.arrays import Chip
from geoseg.errors import without_secrets
from geoseg.grid import Grid, Window

if TYPE_CHECKING:
    import dask.array
    from shapely import Geometry

    from geoseg.io.masks import MaskSource
    from geoseg.io.mosaic import Mosaic
    from geoseg.moment import Moment


@dataclass(frozen=True)
class Validity:
    """How a file says which of its pixels are usable.

    One rule holds, in the order of the command line: `--nodata`, mask band or alpha, nodata tag.
    NaN and ±inf are never usable, whatever the rule.
    """

    nodata: float | None = None
    """Stored value that means "nothing here"; may be NaN."""
    mask: bool = False
    """True when the file carries a per-dataset mask (internal or `.msk`)."""
    alpha: int | None = None
    """1-based band that is 0 where the image is transparent."""

    def describe(self) -> str:
        """For people: the rule in words."""
        if self.mask:
            return "mask band"
        if self.alpha is not None:
            return f"alpha (band {self.alpha})"
        return "no rule, all finite values count" if self.nodata is None else f"nodata {self.nodata:g}"


@dataclass(frozen=True)
class BandSource:
    """Where a named band is stored and what its numbers mean."""

    name: str
    path: str
    index: int
    """1-based, as GDAL counts."""
    dtype: str
    validity: Validity
    scale: float = 1.0
    offset: float = 0.0
    warped: bool = False
    """True when the file's own grid is another than the scene's; bilinear, through one virtual raster."""
    nearest: bool = False
    """With `warped`: nearest neighbor instead, for layers of codes."""
    crs_wkt: str | None = None
    """CRS of a file that carries none, as the user said."""
    gsd_m: float | None = None
    """Pixel size of the file, where it is resampled."""


@dataclass(frozen=True)
class Scene:
    """Named bands on one grid."""

    bands: tuple[BandSource, ...]
    grid: Grid
    radiometry: str
    """Where scale and offset come from: "flags", a product's "metadata" or "preset" (or flags and one of them), "file",
    or "none" (numbers as stored)."""
    valid_rule: str = "all"
    collar: float | None = None
    """Value that means "no image here" where every band holds it."""
    aoi_wkb: bytes | None = None
    """Area of interest in the scene's CRS."""
    masks: tuple[MaskSource, ...] = ()
    """Layers of unusable area: clouds, shadows, …"""
    mask_buffer_m: float = 0.0
    """Ground metres around masked pixels that are masked, too."""
    scene_id: str | None = None
    """Name of the product; None: the files are none."""
    sensor: str | None = None
    """Preset by which the files were read."""
    acquired: Moment | None = None
    """When the image was taken; None: unknown."""
    notes: tuple[str, ...] = ()
    """What was assumed or repaired; shown to the user and recorded."""
    mosaic: Mosaic | None = None
    """The neighboring scenes of which this one is made; then `bands` say what a window of it holds, and of no file."""

    def __post_init__(self) -> None:
        if not self.bands:
            raise ValueError("a scene needs at least one band.")

    @property
    def names(self) -> tuple[str, ...]:
        """Band names in order."""
        return tuple(band.name for band in self.bands)

    @property
    def scale(self) -> tuple[float, ...]:
        """Reflectance = DN·scale + offset, per band."""
        return tuple(band.scale for band in self.bands)

    @property
    def offset(self) -> tuple[float, ...]:
        """See `scale`."""
        return tuple(band.offset for band in self.bands)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that holds the stored numbers of all bands."""
        return np.result_type(*(band.dtype for band in self.bands))

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and which files are resampled."""
        sizes: dict[str, dict[str, None]] = {}
        for band in self.stored_bands:
            if band.warped and band.gsd_m is not None:
                sizes.setdefault(f"{band.gsd_m:.3g} m", {})[path_name(band.path)] = None
        onto = f"resampled bilinearly onto the scene's grid ({self.grid.gsd_m:.3g} m)"
        return (*(f"{few(list(names))} ({size}) {onto}" for size, names in sizes.items()), *self.notes)

    @property
    def stored_bands(self) -> tuple[BandSource, ...]:
        """The bands of the files; those of all scenes of a mosaic."""
        if self.mosaic is None:
            return self.bands
        return tuple(band for part in self.mosaic.parts for band in part.scene.bands)

    @property
    def paths(self) -> tuple[str, ...]:
        """Distinct files, in order of first use."""
        return tuple(dict.fromkeys(band.path for band in self.stored_bands))

    @property
    def all_masks(self) -> tuple[MaskSource, ...]:
        """The scene's own, and those of the scenes of a mosaic."""
        parts = () if self.mosaic is None else self.mosaic.parts
        return tuple(dict.fromkeys([*self.masks, *(mask for part in parts for mask in part.scene.masks)]))

    @property
    def aoi(self) -> Geometry | None:
        """Area of interest in the scene's CRS."""
        return None if self.aoi_wkb is None else _geometries.of(self.aoi_wkb)

    def select(self, names: Sequence[str]) -> Scene:
        """The same scene with these bands only, in this order.

        Raises:
            KeyError: a name that the scene does not have.
        """
        by_name = {band.name: band for band in self.bands}
        mosaic = None if self.mosaic is None else self.mosaic.each(lambda scene: scene.select(names))
        return replace(self, bands=tuple(by_name[name] for name in names), mosaic=mosaic)

    def on_grid(self, grid: Grid) -> Scene:
        """The same scene read on another grid (bilinear, see `BandSource.warped`); a mosaic: in the same CRS."""
        mosaic = None if self.mosaic is None else self.mosaic.on_grid(self.grid, grid)
        bands = tuple(replace(band, warped=True) for band in self.bands)
        return replace(self, grid=grid, bands=bands, mosaic=mosaic)

    def moved(self, place: Callable[[str], str]) -> Scene:
        """The same scene with its files elsewhere.

        Args:
            place: path → where that file is.
        """
        if self.mosaic is not None:
            return replace(self, mosaic=self.mosaic.each(lambda scene: scene.moved(place)))
        return replace(self, bands=tuple(replace(band, path=place(band.path)) for band in self.bands))

    def read(self, window: Window) -> Chip:
        """Pixels of a window; see `geoseg.io.read.read_chip`."""
        from geoseg.io.read import read_chip

        return read_chip(self, window)

    def to_dask(self, chunk: int = 2048) -> dask.array.Array:
        """Reflectance (band, row, col), float32, NaN where invalid, as a lazy Dask array.

        Nothing is read before `.compute()`; each chunk is read where it is computed.
        """
        from geoseg.tiling.schedule import scene_to_dask

        return scene_to_dask(self, chunk)


def _prepared(wkb: bytes) -> Geometry:
    geometry = from_wkb(wkb)
    prepare(geometry)
    return geometry


class _Geometries(threading.local):
    """Parsed once a thread and indexed for many intersection tests.

    GEOS goes on building the index of a prepared geometry, and keeps the state of a question in it, while it answers;
    shapely lets threads ask at the same time: shared by two of them, it was seen to end the process.
    """

    def __init__(self) -> None:
        self.of = lru_cache(maxsize=4)(_prepared)


_geometries = _Geometries()


def few(names: Sequence[str], shown: int = 3) -> str:
    """Names for people, not all of very many."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def path_name(path: str) -> str:
    """File name of a path, of a GDAL virtual path, or of an address (without its query)."""
    return Path(without_secrets(path)).name
