"""Several files and the user's word become one scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shapely import to_wkb

from geoseg.errors import InputError, UsageError
from geoseg.grid import Grid
from geoseg.io.aoi import read_aoi
from geoseg.io.bands import Place, alias_notes, resolve_bands
from geoseg.io.border import constant_border
from geoseg.io.dates import joined
from geoseg.io.dress import dressed, requests_of
from geoseg.io.layers import own_and_common, with_masks
from geoseg.io.neighbors import composed_of
from geoseg.io.raster import RasterFile, describe, validity_of
from geoseg.io.remote import is_remote, unpinned
from geoseg.io.scene import BandSource, Scene, path_name
from geoseg.io.signing import hooked
from geoseg.io.target import piece_of_target, placed, target_grid
from geoseg.moment import Moment, asked_moment
from geoseg.products.product import Product
from geoseg.products.recognize import recognize
from geoseg.settings import ReadSettings


@dataclass(frozen=True)
class Survey:
    """What inputs turned out to be."""

    files: tuple[RasterFile, ...]
    """Facts of each file; those of a product with its names and numbers."""
    product: Product | None


def survey(inputs: str | Path | Sequence[str | Path], settings: ReadSettings) -> Survey:
    """Recognize products, open and describe all files; no pixel is read.

    Raises:
        InputMissingError, InputError: see `geoseg.io.raster.describe`, `geoseg.products.recognize`.
        UsageError, ConfigError: the preset is unknown or malformed.
    """
    paths = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    product = recognize(paths, settings.sensor, assume_crs=settings.assume_crs, sign=settings.sign)
    if product is None:
        named = [hooked(path, settings.sign) if is_remote(path) else path for path in map(str, paths)]
        return Survey(tuple(describe(path, assume_crs=settings.assume_crs) for path in named), None)
    return Survey(dressed(product, settings.assume_crs), product)


def open_scene(inputs: str | Path | Sequence[str | Path], settings: ReadSettings | None = None) -> Scene:
    """Describe the files of one scene; no pixel is read but for `--collar auto` and checks of quality layers.

    Pixels come with `Scene.read`, or lazily with `Scene.to_dask`.

    Args:
        inputs: a raster, a product (SAFE, Landsat, HLS, folder or archive), or several rasters of the same place;
            several are stacked on the grid of the first requested band's file (or of `settings.grid_of`), others are
            brought there bilinearly. With `settings.together = "dates"` each is a scene of its own, and the bands of
            the n-th are called red@n, nir@n, …; with `"mosaic"` they are neighbors on one grid.
        settings: how to read them.

    Raises:
        InputMissingError, InputError: see `geoseg.io.raster.describe`; or grids that do not go together.
        UsageError, ConfigError: see `geoseg.io.bands.resolve_bands`.
    """
    return opened(inputs, settings or ReadSettings())[1]


def opened(inputs: str | Path | Sequence[str | Path], settings: ReadSettings) -> tuple[tuple[RasterFile, ...], Scene]:
    """Facts of each file, and the scene that all make; see `open_scene`."""
    if settings.together not in {"dates", "mosaic"}:
        found = survey(inputs, settings)
        return found.files, scene_of(found, settings)
    paths = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    several = [survey(path, settings) for path in paths]
    if settings.together == "dates":
        return _opened_dates(several, settings)
    names = [path_name(str(path).rstrip("/")) for path in paths]
    return tuple(file for found in several for file in found.files), _mosaic_of(several, names, settings)


def _opened_dates(dates: Sequence[Survey], settings: ReadSettings) -> tuple[tuple[RasterFile, ...], Scene]:
    """Each date is read as if it stood alone, then brought onto the first one's grid."""
    if settings.collar is not None:
        raise UsageError(
            f"--collar {settings.collar}: dates end in different places; pass --nodata {settings.collar} instead."
        )
    bare = [_bare(found, settings) for found in dates]
    first, reference = bare[0]
    if settings.grid is None:  # else each is warped onto what the user said
        for _, other in bare[1:]:
            _stackable(other, reference)
    scenes = [
        _finished(scene if scene.grid.same_as(first.grid) else scene.on_grid(first.grid), own, found.product, settings)
        for found, (scene, own) in zip(dates, bare, strict=True)
    ]
    return tuple(file for found in dates for file in found.files), joined(scenes)


def _mosaic_of(several: Sequence[Survey], names: Sequence[str], settings: ReadSettings) -> Scene:
    """Each neighbor is read as if it stood alone, on its own piece of the common grid; AOI and mask files are for all.

    A piece's pixels do not depend on which other scenes there are.
    """
    if settings.grid_of is not None:
        raise UsageError(f"--grid-of {settings.grid_of} is for --stack; the grid of a mosaic is given with --grid.")
    if settings.overlap == "latest" and settings.datetime is not None:
        raise UsageError(f"--datetime {settings.datetime} makes all scenes equally late; leave it or --overlap latest.")
    own, common = own_and_common(settings.mask, [found.product for found in several])
    alone, scenes = replace(settings, together=None, grid=None, aoi=None, mask=own), []
    for found, name in zip(several, names, strict=True):
        scene, file = _bare(found, alone)
        piece = scene.grid if settings.grid is None else piece_of_target(settings.grid, scene.grid)
        if not piece.same_as(scene.grid):
            if settings.collar is not None:
                raise UsageError(
                    f"--collar {settings.collar}: {name} is resampled, which blurs the edge of its image; pass "
                    f"--nodata {settings.collar} instead."
                )
            scene = scene.on_grid(piece)
        scenes.append(_finished(scene, file, found.product, alone))
    grid, windows = placed([scene.grid for scene in scenes], names, settings.grid)
    mosaic = composed_of(scenes, names, grid, windows, settings.overlap)
    product = several[0].product
    mosaic = replace(mosaic, scene_id=None if product is None else product.scene_id)
    return with_masks(_with_aoi(mosaic, settings), replace(settings, mask=common), None)


def scene_of(found: Survey, settings: ReadSettings) -> Scene:
    """The one scene that surveyed files make; see `open_scene`."""
    scene, reference = _bare(found, settings)
    return _finished(scene, reference, found.product, settings)


def _finished(scene: Scene, reference: RasterFile, product: Product | None, settings: ReadSettings) -> Scene:
    """With its time, collar, area of interest and masks."""
    scene = _with_collar(_with_moment(scene, reference, settings, product), settings)
    return with_masks(_with_aoi(scene, settings), settings, product)


def _bare(found: Survey, settings: ReadSettings) -> tuple[Scene, RasterFile]:
    """The bands of surveyed files on one grid, and the file whose grid it is."""
    files, product = found.files, found.product
    if product is not None and product.needs_offset and not settings.offset:
        raise InputError(product.offset_question)
    requests = requests_of(product, settings.bands)
    places = resolve_bands(files, requests)
    reference = _reference(files, places, product, settings)
    grid = reference.grid if settings.grid is None else target_grid(settings.grid, reference.grid)
    scene = Scene(
        bands=_bands(places, reference, grid, settings, product),
        grid=grid,
        radiometry="none",
        valid_rule=settings.valid,
        scene_id=None if product is None else product.scene_id,
        sensor=None if product is None else product.sensor,
    )
    scene = replace(scene, radiometry=_source_of_radiometry(scene, settings, product))
    notes = _product_notes(product) if product is not None else () if requests else alias_notes(places)
    return replace(scene, notes=(*(note for file in files for note in file.notes), *notes)), reference


def _bands(
    places: dict[str, Place], reference: RasterFile, grid: Grid, settings: ReadSettings, product: Product | None
) -> tuple[BandSource, ...]:
    scales = _per_band("--scale", settings.scale, len(places))
    offsets = _per_band("--offset", settings.offset, len(places))
    bands = []
    for number, (name, (file, index)) in enumerate(places.items()):
        scale, offset = file.scales[index - 1], file.offsets[index - 1]
        if scales is not None and offsets is None and product is None:
            offset = 0.0  # it belonged to the file's own scale
        # With --grid everything is warped anyway, so that files may differ in CRS and lattice.
        own = file.grid if settings.grid is not None else _stackable(file, reference)
        bands.append(
            BandSource(
                name=name,
                path=file.path,
                index=index,
                dtype=file.dtypes[index - 1],
                validity=validity_of(file, settings.nodata),
                scale=scale if scales is None else scales[number],
                offset=offset if offsets is None else offsets[number],
                warped=not grid.same_as(own),
                gsd_m=file.grid.gsd_m,
                crs_wkt=None if settings.assume_crs is None else file.grid.crs.to_wkt(),
            )
        )
    return tuple(bands)


def _reference(
    files: Sequence[RasterFile], places: dict[str, Place], product: Product | None, settings: ReadSettings
) -> RasterFile:
    """The file whose grid the scene gets."""
    if settings.grid_of is not None:
        for file in files:
            if Path(file.path).resolve() == settings.grid_of.resolve():
                return file
        return describe(str(settings.grid_of), assume_crs=settings.assume_crs)
    if product is not None and not settings.bands:
        path = next(band.path for band in product.bands if band.id == product.grid_id)
        return next(file for file in files if unpinned(file.path) == unpinned(path))
    return next(iter(places.values()))[0]


def _stackable(file: RasterFile, reference: RasterFile) -> Grid:
    """The file's grid, refused when it cannot be stacked without hiding something from the user."""
    ours, theirs = reference.grid, file.grid
    if ours.crs != theirs.crs:
        raise InputError(
            f"{path_name(file.path)} is in {theirs.crs.name}, {path_name(reference.path)} in {ours.crs.name}; "
            f"files of one stack need one CRS: pass --grid, or warp one of them first (gdalwarp -t_srs)."
        )
    to_pixel = ~ours.transform @ theirs.transform
    equal_pixels = math.isclose(to_pixel.a, 1, rel_tol=1e-6) and math.isclose(to_pixel.e, 1, rel_tol=1e-6)
    shift = max(abs(to_pixel.c - round(to_pixel.c)), abs(to_pixel.f - round(to_pixel.f)))
    if equal_pixels and shift > 1e-2:
        raise InputError(
            f"{path_name(file.path)} has the pixel size of {path_name(reference.path)} but is shifted by "
            f"{shift:.2f} of a pixel; bring both on one grid: pass --grid, or gdalwarp -tap."
        )
    return theirs


def _per_band(flag: str, values: tuple[float, ...], count: int) -> tuple[float, ...] | None:
    if not values:
        return None
    if len(values) not in {1, count}:
        raise UsageError(f"{flag} has {len(values)} values for {count} bands; give one, or one a band.")
    return values * count if len(values) == 1 else values


def _source_of_radiometry(scene: Scene, settings: ReadSettings, product: Product | None) -> str:
    """Flags before the product's metadata before its preset before the file's tags; never dates or values."""
    if product is not None and product.radiometry != "none" and not (settings.scale and settings.offset):
        return f"flags and {product.radiometry}" if settings.scale or settings.offset else product.radiometry
    if settings.scale or settings.offset:
        return "flags"
    return "none" if all(band.scale == 1 and band.offset == 0 for band in scene.bands) else "file"


def _product_notes(product: Product) -> tuple[str, ...]:
    return (f"{product.title}, preset {product.sensor}: {product.why}", *product.notes)


def _with_moment(scene: Scene, reference: RasterFile, settings: ReadSettings, product: Product | None) -> Scene:
    """The user's word, the product's, the TIFF's tag, in this order; else unknown it stays."""
    if settings.datetime is not None:
        return replace(scene, acquired=asked_moment(settings.datetime))
    if product is not None and product.acquired is not None:
        return replace(scene, acquired=Moment.at(product.acquired))
    tagged = Moment.of_tiff_tag(reference.tags.get("TIFFTAG_DATETIME", ""))
    if tagged is None:
        return scene
    note = f"taken on {tagged.text} by {path_name(reference.path)}'s TIFFTAG_DATETIME; if not so, pass --datetime"
    return replace(scene, acquired=tagged, notes=(*scene.notes, note))


def _with_collar(scene: Scene, settings: ReadSettings) -> Scene:
    if settings.collar is None:
        return scene
    if settings.collar != "auto":
        return replace(scene, collar=float(settings.collar))
    found = constant_border(scene)
    if found is None:
        return replace(scene, notes=(*scene.notes, "--collar auto: no constant border found"))
    value, share = found
    note = f"--collar auto: pixels that are {value:g} in every band are invalid ({share:.0%} of the border)"
    return replace(scene, collar=value, notes=(*scene.notes, note))


def _with_aoi(scene: Scene, settings: ReadSettings) -> Scene:
    if settings.aoi is None:
        return scene
    return replace(scene, aoi_wkb=to_wkb(read_aoi(settings.aoi, scene.grid.crs)))
