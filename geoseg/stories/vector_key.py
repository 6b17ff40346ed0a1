"""What settings for polygons mean on one raster: which classes, which minimum mapping unit, which key."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Any

from geoseg.classes import ClassScheme
from geoseg.errors import UsageError
from geoseg.grid import Grid
from geoseg.ground import AreaModel, area_model
from geoseg.io.raster import parse_crs
from geoseg.polygons.mmu_size import Scale, Unit, class_code, parse_class_sizes, parse_size, size_scale, unit_of
from geoseg.settings import VectorSettings
from geoseg.things import NO_THINGS, Split, check_used

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
        **_objects_key(settings, scheme, grid),
    }


def _unit_key(unit: Unit, scale: Scale) -> dict[str, Any]:
    return {
        "step": "1 px" if scale.by_row is None else f"{scale.step_m2} m2",
        "default": unit.default,
        "by_code": {str(code): size for code, size in sorted(unit.by_code.items())},
        "keep": sorted(unit.keep),
        "connect": unit.connect,
    }


def thing_codes(scheme: ClassScheme, wanted: tuple[str, ...] | None) -> frozenset[int]:
    """Codes of the classes whose regions are objects.

    Args:
        scheme: classes of the raster.
        wanted: names or codes, `none` for no class; None: those that the scheme calls things.

    Raises:
        UsageError: the scheme has no such class.
    """
    if wanted is None:
        return frozenset(c.code for c in scheme.classes if c.thing)
    if wanted == (NO_THINGS,) and NO_THINGS not in scheme.names:
        return frozenset()
    return frozenset(class_code(text, scheme, "--things") for text in wanted)


def check_scored(settings: VectorSettings, scheme: ClassScheme, scores: Collection[str]) -> None:
    """Refuse to divide by scores that are not there.

    Args:
        settings: for polygons.
        scheme: classes of the raster.
        scores: the layers that are, see `geoseg.settings.SCORE_LAYERS`.

    Raises:
        UsageError: there is no confidence raster, or none of probabilities.
    """
    split = settings.splitting
    if not thing_codes(scheme, settings.things):
        return
    if split.method == "scores" and "confidence" not in scores:
        raise UsageError("--split scores needs a confidence raster: give --scores, to `geoseg run` --confidence.")
    if split.method == "peaks" and "probabilities" not in scores:
        raise UsageError(
            f"--split {split.word} needs the scores of all classes, NAME.probabilities.tif beside the class raster: "
            "`geoseg run` makes it with the same --split, `geoseg segment` with --probabilities."
        )


def _objects_key(settings: VectorSettings, scheme: ClassScheme, grid: Grid) -> dict[str, Any]:
    """What objects depend on; nothing where there are none.

    Raises:
        UsageError: a class is unknown or in two roles, the radius is too large, or a setting has nothing to act on.
    """
    things, split = thing_codes(scheme, settings.things), settings.splitting
    check_used(split, settings.split_words)
    if not things:
        if settings.things is None and split.method != "components":
            raise UsageError(
                f"--split {settings.split} divides things, but no class is one: name some with --things; there are "
                f"{', '.join(scheme.names)}."
            )
        return {}
    depth = split.depth_score if split.depth is None else split.depth.pixels(grid.gsd_m)
    named = named_code(split, scheme)
    if split.method == "boundary" and named in things:
        raise UsageError(f"--split {settings.split}: that class is itself a thing; name what is with --things.")
    if split.method == "peaks" and named not in things:
        called = ", ".join(scheme.by_code(code).name for code in sorted(things))
        raise UsageError(f"--split {settings.split}: objects become that class, so it must be among --things {called}.")
    peaks = []
    if split.method == "peaks":
        peaks = [split.apart_px(grid.gsd_m), split.smooth_px(grid.gsd_m), split.least_score]
    return {"things": sorted(things), "split": [split.method, named, split.radius_px(grid.gsd_m), depth, *peaks]}


def named_code(split: Split, scheme: ClassScheme) -> int | None:
    """Code of the class that `--split` names; None: it names none.

    Raises:
        UsageError: the scheme has no such class.
    """
    return class_code(split.named, scheme, f"--split {split.word.partition(':')[0]}:") if split.named else None


def skipped_codes(scheme: ClassScheme, wanted: tuple[str, ...]) -> frozenset[int]:
    """Codes of the classes that get no polygons, each given by name or by code.

    Raises:
        UsageError: the scheme has no such class.
    """
    return frozenset(class_code(text, scheme, "--skip-classes") for text in wanted)
