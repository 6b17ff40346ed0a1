"""Label rasters of any CRS and grid, seen through an image's grid: by the nearest pixel, never shifted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from geoseg.errors import ConfigError, InputError, InputMissingError
from geoseg.grid import Grid, Window
from geoseg.io.raster import check_budget, check_file, place
from geoseg.io.read import read_inside
from geoseg.io.scene import BandSource, Scene, Validity

_SIDE = 2048
MAX_VALUES = 1000
"""Distinct values beyond which a raster holds measurements, not classes."""


@dataclass(frozen=True)
class LabelRaster:
    """A raster of class codes on an image's grid."""

    path: Path
    on_grid: Scene
    """Its one band on the image's grid; presence tells where it has a label."""
    facts: tuple[tuple[str, str], ...] = ()
    """Metadata of the file."""

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Codes and where there are any, both (row, col), of a window within the image's grid.

        Raises:
            InputError: the file cannot be read, or holds fractions.
        """
        data, present = read_inside(self.on_grid, window)
        known: NDArray[np.bool_] = present[0]
        codes = np.where(known, data[0], 0)
        if codes.dtype.kind == "f" and (codes % 1 != 0).any():
            raise InputError(f"labels {self.path} hold {codes[codes % 1 != 0][0]:g}, which is no class code.")
        return codes.astype(np.int64), known

    def values(self) -> list[int]:
        """Codes that occur on the image's grid, rising; reads all of it.

        Raises:
            ConfigError: too many for classes.
        """
        grid, found = self.on_grid.grid, np.empty(0, np.int64)
        for row in range(0, grid.height, _SIDE):
            for col in range(0, grid.width, _SIDE):
                window = Window(col, row, min(_SIDE, grid.width - col), min(_SIDE, grid.height - row))
                codes, known = self.read(window)
                found = np.union1d(found, codes[known])
            if len(found) > MAX_VALUES:
                raise ConfigError(f"labels {self.path} hold more than {MAX_VALUES} different values; are they classes?")
        return [int(code) for code in found]


def open_label_raster(path: Path, grid: Grid, *, on_grid: bool = False) -> LabelRaster:
    """Look at a label raster; no pixel is read.

    Args:
        path: a raster with one band.
        grid: the image's.
        on_grid: the user's word that a raster without a place, of the image's size, lies on the image's grid.

    Raises:
        InputMissingError: there is no such file.
        InputError: no raster, several bands, or no place on the ground.
    """
    if not path.exists():
        raise InputMissingError(f"labels {path} do not exist.")
    check_file(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                check_budget(str(path), dataset)
                if dataset.count != 1:
                    raise InputError(f"labels {path} have {dataset.count} bands; class codes take one.")
                placeless = dataset.crs is None
                if placeless and on_grid and dataset.shape == grid.shape:
                    own = grid
                elif placeless:
                    raise InputError(_no_place(path, dataset.shape, grid.shape))
                else:
                    own, _ = place(str(path), dataset, None)
                flags = dataset.mask_flag_enums[0]
                masked = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
                validity = Validity(mask=True) if masked else Validity(nodata=dataset.nodata)
                dtype, facts = dataset.dtypes[0], tuple(dataset.tags().items())
    except RasterioIOError as error:
        raise InputError(f"labels {path} cannot be read as a raster: {error}") from error
    band = BandSource("label", str(path), 1, dtype, validity, warped=not own.same_as(grid), nearest=True)
    return LabelRaster(path, Scene((band,), grid, "none"), facts)


def _no_place(path: Path, theirs: tuple[int, int], ours: tuple[int, int]) -> str:
    if theirs == ours:
        return (
            f"labels {path} have no CRS; they are of the image's size: if they lie on its grid, say so with "
            f"labels_on_grid: true."
        )
    return (
        f"labels {path} have no CRS and {theirs[0]} × {theirs[1]} pixels (rows × columns), the image "
        f"{ours[0]} × {ours[1]}: nothing says where they lie; set their place with gdal_edit.py -a_srs EPSG:… -a_ullr …"
    )
