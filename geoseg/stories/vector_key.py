"""What settings for polygons mean on one raster: which classes, which minimum mapping unit, which key."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from geoseg.classes import ClassScheme
from geoseg.errors import UsageError
from geoseg.grid import Grid
from geoseg.ground import AreaModel, area_model
from geoseg.io.raster import parse_crs
from geoseg.polygons.mmu_size import Scale, Unit, class_code, parse_class_sizes, parse_size, size_scale, unit_of
from geoseg.settings import VectorSettings

KEY_VERSION = 2
"""Raised when a change of geoseg changes polygons."""


def mapping_unit(
    settings: VectorSettings, scheme: ClassScheme, grid: Grid, model: AreaModel
) -> tuple[Unit, Scale] | None:
    """The minimum mapping unit of each class on a grid; None: there is none.

    Raises:
        UsageError: a size or a class is unknown, pixels and areas cannot be compared on this grid, or there is no
            unit to keep classes from.
    """
    if settings.mmu is None and settings.mmu_class is None:
        if settings.keep_class or settings.mmu_connect != 4:
            raise UsageError("--keep-class and --mmu-connect say how --mmu works: give --mmu or --mmu-class, too.")
        return None
    default = None if settings.mmu is None else parse_size(settings.mmu)
    by_class = {} if settings.mmu_class is None else parse_class_sizes(settings.mmu_class)
    scale = size_scale(grid, model, [*by_class.values(), *([] if default is None else [default])])
    unit = unit_of(default, by_class, settings.keep_class, scheme=scheme, scale=scale, connect=settings.mmu_connect)
    return unit, scale


def vector_key(
    settings: VectorSettings, scheme: ClassScheme, grid: Grid, aoi_wkb: bytes | None = None
) -> dict[str, Any]:
    """What polygons depend on besides the rasters; what means the same is the same.

    Args:
        settings: for polygons.
        scheme: classes of the raster.
        grid: of the raster.
        aoi_wkb: area of interest in the grid's CRS.

    Raises:
        UsageError: a class is unknown, sizes cannot be understood or compared, or a setting has nothing to act on.
    """
    small = mapping_unit(settings, scheme, grid, area_model(grid))
    shaped = bool(settings.simplify or settings.smooth)
    if settings.simplify_outer and not shaped:
        raise UsageError("--simplify-outer says which lines are shaped: give --simplify M or --smooth, too.")
    if settings.simplify_outer and aoi_wkb is not None:
        raise UsageError("--simplify-outer would shape lines along the AOI, too, which are exact: leave one out.")
    return {
        "version": KEY_VERSION,
        "skip_classes": sorted(skipped_codes(scheme, settings.skip_classes)),
        "mmu": None if small is None else _unit_key(*small),
        "simplify": settings.simplify,
        "smooth": settings.smooth,
        "outer": shaped and settings.simplify_outer,
        "max vertices": settings.max_vertices,
        "dissolve": settings.dissolve,
        "aoi": None if aoi_wkb is None else blake2b(aoi_wkb, digest_size=16).hexdigest(),
        "crs": None if settings.out_crs is None else parse_crs(settings.out_crs, "--out-crs").to_wkt(),
    }


def _unit_key(unit: Unit, scale: Scale) -> dict[str, Any]:
    return {
        "step": "1 px" if scale.by_row is None else f"{scale.step_m2} m2",
        "default": unit.default,
        "by_code": {str(code): size for code, size in sorted(unit.by_code.items())},
        "keep": sorted(unit.keep),
        "connect": unit.connect,
    }


def skipped_codes(scheme: ClassScheme, wanted: tuple[str, ...]) -> frozenset[int]:
    """Codes of the classes that get no polygons, each given by name or by code.

    Raises:
        UsageError: the scheme has no such class.
    """
    return frozenset(class_code(text, scheme, "--skip-classes") for text in wanted)
