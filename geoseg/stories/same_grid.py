"""Class rasters that are compared pixel by pixel: of one grid and legend, or a line says what makes them so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geoseg.classes import ClassScheme
from geoseg.errors import InputError, OutputExistsError
from geoseg.grid import Grid
from geoseg.io.class_raster import ClassRaster, open_class_raster, scene_name
from geoseg.io.legend_file import read_legend_file
from geoseg.zones.table import joined


def open_dates(paths: Sequence[Path], legend: str | None) -> tuple[list[ClassRaster], ClassScheme]:
    """Open class rasters of one grid, and the legend that all share.

    Args:
        paths: class rasters.
        legend: legend put onto each first, a file or a shipped name.

    Returns:
        the rasters, and their classes, ordered by code.

    Raises:
        ConfigError: the legend cannot be read, or leaves a class of a raster out.
        InputMissingError: a file does not exist.
        InputError: a file is no class raster, grids differ, or a code has two names or a name two codes.
    """
    rename = None if legend is None else read_legend_file(legend)
    rasters = [open_class_raster(path, legend=rename) for path in paths]
    for raster in rasters[1:]:
        if not raster.grid.same_as(rasters[0].grid):
            raise InputError(_other_grid(rasters[0], raster))
    return rasters, joined((str(raster.path), raster.scheme) for raster in rasters)


def confidence_beside(raster: Path) -> Path:
    """Where the confidence raster of a class raster is looked for: `NAME.confidence.tif` beside `NAME.classes.tif`."""
    return raster.with_name(f"{scene_name(raster)}.confidence.tif")


def scores_of(rasters: Sequence[ClassRaster]) -> list[Path] | None:
    """The confidence rasters beside class rasters; None where one has none."""
    found = [confidence_beside(raster.path) for raster in rasters]
    return found if all(path.is_file() for path in found) else None


def check_apart(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Refuse to write over what is read, `--overwrite` or not.

    Raises:
        OutputExistsError: an output is an input, by whatever name or link.
    """
    for output in outputs:
        for path in inputs:
            if output.exists() and path.exists() and output.samefile(path):
                raise OutputExistsError(f"output {output} is also an input; choose another -o.")


def _other_grid(first: ClassRaster, other: ClassRaster) -> str:
    fitted = other.path.with_name(f"{scene_name(other.path)}.fitted.tif")
    if first.grid.transform.b or first.grid.transform.d:  # gdalwarp makes no rotated grids
        remedy = f"classify its image on that grid: geoseg segment IMAGE --grid {first.path} -o {fitted}"
    else:
        remedy = (
            f"classify its image on that grid (geoseg segment IMAGE --grid {first.path} -o {fitted}), "
            f"or take the nearest pixels: {_warp(first.grid)} {other.path} {fitted}"
        )
    return f"{other.path} ({_words(other.grid)}) is not on the grid of {first.path} ({_words(first.grid)}): {remedy}"


def _warp(grid: Grid) -> str:
    left, bottom, right, top = (repr(float(side)) for side in grid.bounds)
    extent = f"-te {left} {bottom} {right} {top} -ts {grid.width} {grid.height}"
    return f"gdalwarp -r near -t_srs {_crs(grid)} {extent}"


def _crs(grid: Grid) -> str:
    authority = grid.crs.to_authority(min_confidence=100)
    return ":".join(authority) if authority else f"'{grid.crs.to_wkt()}'"


def _words(grid: Grid) -> str:
    x, y = grid.transform @ (0, 0)
    name = _crs(grid) if grid.crs.to_authority(min_confidence=100) else grid.crs.name
    return f"{name}, {grid.width} × {grid.height} pixels from {x:.10g}, {y:.10g}"
