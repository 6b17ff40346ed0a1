"""Layers of unusable area, as reason codes on any grid: quality rasters by their rule, and polygons.

Rasters are seen through one virtual raster over the whole grid, nearest neighbor. Where a layer does not reach,
its quality is unknown, and that counts as "unusable"; outside of polygons nothing is masked. A raster's nodata
tag is not asked: what the stored number means is the rule's to say.

Polygons are burned in blocks that lie on one lattice anchored at the grid's first pixel: where an edge runs exactly
through pixel centers the last digit decides, and with another origin per window some pixels were seen to change sides.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window as RasterioWindow
from shapely import MultiPolygon, Polygon, get_parts, intersects

from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.grid import Grid, Window
from geoseg.io.buffer import disc, grow
from geoseg.io.burn import burned
from geoseg.io.handles import dataset_for, trusted
from geoseg.io.mask_check import check_values, read_stored, refuse_without_rule
from geoseg.io.raster import check_budget, check_file, opened, place
from geoseg.io.remote import is_remote, pinned
from geoseg.io.scene import BandSource, Validity, path_name
from geoseg.quality import PRIORITY, REASONS, RULES, MaskRequest, QualityRule, code_of, rule_of, worst

Bools = NDArray[np.bool_]
Codes = NDArray[np.uint8]

POLYGONS = "polygons"
_BLOCK = 512


@dataclass(frozen=True)
class MaskSource:
    """One layer of unusable area; `open_mask` makes it. Nothing is open: it travels to workers."""

    path: str
    """Absolute, or a GDAL virtual path, or an address."""
    rule: str
    """What `geoseg.quality.rule_of` takes, or `POLYGONS`."""
    reasons: tuple[str, ...]
    """Reasons that count; exactly one where the layer itself names none."""
    grid: Grid | None = None
    """Where a raster's pixels lie."""
    validity: Validity = field(default_factory=Validity)
    """How a raster says where it reaches."""
    polygons_wkb: bytes | None = None
    """Polygons that touch the scene, in the scene's CRS; a region's layer may have none in a scene."""

    def describe(self) -> str:
        """For people: what is masked by which layer and rule."""
        known = self.reasons if self.rule == POLYGONS else rule_of(self.rule, self.reasons[0]).tells
        told = [reason for reason in self.reasons if reason in known]
        return f"{path_name(self.path)} masks {', '.join(told)} ({self.rule})"


def open_mask(request: MaskRequest, grid: Grid, *, assume_crs: str | None = None) -> MaskSource:
    """Look at a layer and make sure that it can be used with a scene.

    Args:
        request: its file may be any raster or vector file, a GDAL virtual path, or a raster's address on a web server;
            its rule is None for polygons.
            Where the layer itself names no reason (polygons, `nonzero`, `values=`), a single one of the request
            names it; several must hold "unusable".
        grid: the scene's.
        assume_crs: CRS of a raster that carries none.

    Raises:
        UsageError: the rule is missing or unknown, or cannot tell any of the reasons.
        InputMissingError: there is no such file.
        InputError: it cannot be read, has the wrong number of bands or no integers, does not touch the scene,
            or holds numbers that its rule does not know.
    """
    if request.file is None:
        raise ValueError("the product's own layers are requested: name one of them.")
    if is_remote(request.file):
        return _remote(pinned(request.file), request, grid, assume_crs)
    path = Path(request.file)
    local = path.exists()
    if local and path.is_dir():
        return _polygons(path, request, grid, "a folder")
    if local:
        check_file(request.file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            dataset = rasterio.open(path.absolute() if local else request.file)
    except RasterioIOError as error:
        if not local:
            raise _missing(request.file) from error
        return _polygons(path, request, grid, str(error).splitlines()[0])
    with dataset:
        return _raster(dataset.name, dataset, request, grid, assume_crs)


def _remote(path: str, request: MaskRequest, grid: Grid, assume_crs: str | None) -> MaskSource:
    try:
        with opened(path) as dataset:
            return _raster(path, dataset, request, grid, assume_crs)
    except RasterioIOError as error:
        raise InputError(f"mask {path} is no raster; polygons on a server: download them first.") from error


def _missing(file: str) -> UsageError | InputMissingError:
    head, _, tail = file.rpartition(":")
    if head and Path(head).exists():
        return UsageError(
            f"--mask {file!r}: {tail!r} is neither a rule ({', '.join(RULES)}, nonzero, values=3,8,9) "
            f"nor reasons ({', '.join(REASONS)})."
        )
    return InputMissingError(f"mask {file!r} does not exist; give the path of a quality raster or of polygons.")


def _raster(path: str, dataset: Any, request: MaskRequest, grid: Grid, assume_crs: str | None) -> MaskSource:
    check_budget(path, dataset)
    kinds = {np.dtype(dtype).kind for dtype in dataset.dtypes}
    if not kinds <= {"i", "u"}:
        raise InputError(
            f"mask {path} holds {dataset.dtypes[0]} numbers, but codes and bits are integers: "
            f"convert it with gdal_translate -ot UInt16."
        )
    if request.rule is None:
        refuse_without_rule(path, dataset)
    read = rule_of(request.rule)
    if read.plain:
        read = rule_of(request.rule, _single(path, request.reasons))
    own, _ = place(path, dataset, assume_crs)
    _check_overlap(path, own, grid)
    has_alpha = dataset.count == len(read.bands) + 1 and dataset.colorinterp[-1] == ColorInterp.alpha
    if dataset.count - has_alpha != len(read.bands):
        raise InputError(
            f"mask {path} has another number of bands, {dataset.count}, than {read.name}: {len(read.bands)}."
        )
    check_values(path, dataset, read)
    flags = dataset.mask_flag_enums[0]
    validity = Validity(
        mask=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        alpha=dataset.count if has_alpha else None,
    )
    return MaskSource(path, read.name, _told(path, read, request.reasons), own, validity)


def _told(path: str, rule: QualityRule, reasons: Sequence[str]) -> tuple[str, ...]:
    """The reasons that count; "unusable" may count for where the layer does not reach even if the rule tells none."""
    if rule.plain:
        return rule.tells
    if not set(reasons) & set(rule.tells):
        raise UsageError(
            f"mask {path}: {rule.name} tells {', '.join(rule.tells)}, but only {', '.join(reasons)} was asked for."
        )
    return tuple(reason for reason in REASONS if reason in reasons)


def _single(path: str, reasons: Sequence[str]) -> str:
    """The reason that a layer stands for which names none itself."""
    if len(reasons) == 1:
        return reasons[0]
    if "unusable" in reasons:
        return "unusable"
    raise UsageError(f"mask {path} can stand for one reason, not for {', '.join(reasons)}; name one of them.")


def _check_overlap(path: str, own: Grid, grid: Grid) -> None:
    try:
        to_own = Transformer.from_crs(grid.crs, own.crs, always_xy=True)
        left, bottom, right, top = to_own.transform_bounds(*grid.bounds)
    except ProjError as error:
        raise InputError(
            f"mask {path} is in {own.crs.name!r}, to which no way leads from {grid.crs.name!r}: give it in that CRS."
        ) from error
    if left > right:  # across the antimeridian
        left, right = -180.0, 180.0
    theirs = own.bounds
    if not (left < theirs.right and theirs.left < right and bottom < theirs.top and theirs.bottom < top):
        raise InputError(f"mask {path} does not touch the scene; give the layer of the same place.")


def _polygons(path: Path, request: MaskRequest, grid: Grid, why: str) -> MaskSource:
    if request.rule is not None:
        raise UsageError(f"mask {path} is no raster ({why}), and rule {request.rule!r} is for rasters only.")
    from geoseg.io.aoi import read_aoi  # geopandas: workers never need it

    try:
        area = read_aoi(path, grid.crs)
    except InputError as error:
        raise InputError(f"mask {path} is no raster, and no polygons either: {error}") from error
    parts = get_parts(area)
    parts = parts[intersects(parts, Polygon(grid.corners()))]
    reason = _single(str(path), request.reasons)
    wkb = MultiPolygon(list(parts)).wkb
    return MaskSource(str(path.absolute()), POLYGONS, (reason,), polygons_wkb=wkb)


def masked(masks: Sequence[MaskSource], grid: Grid, window: Window, buffer_m: float = 0.0) -> Codes:
    """Why pixels of a window are not to be used.

    Args:
        masks: layers; where several mask a pixel, `geoseg.quality.PRIORITY` decides.
        grid: of the result; polygons need the CRS of the scene that they were opened with.
        window: lies in the grid.
        buffer_m: ground meters around masked pixels that are masked, too (pixel centers count; a masked pixel
            keeps its own reason); none around what a sensor's own rule calls unusable.

    Returns:
        (row, col) reason codes, 0 where nothing is wrong.

    Raises:
        InputError: a layer cannot be read.
        UsageError: the buffer is too wide for the grid.
    """
    if window.intersection(grid.window) != window:
        raise ValueError(f"{window} reaches beyond the grid of {grid.width} × {grid.height} pixels.")
    if not masks:
        return np.zeros(window.shape, np.uint8)
    reach = disc(grid, buffer_m)
    wide = reach.around(window, grid)
    layers = [_codes(mask, grid, wide) for mask in masks]
    codes = worst(layers)
    if wide == window and reach.rows == reach.cols == 0:
        return codes
    out = codes.copy()
    source = worst([_without_fill(mask, layer) for mask, layer in zip(masks, layers, strict=True)])
    for reason in PRIORITY:
        out[(out == 0) & grow(source == code_of(reason), reach)] = code_of(reason)
    return out[window.relative_to(wide).slices]


def _without_fill(mask: MaskSource, codes: Codes) -> Codes:
    """What a buffer goes around: a sensor's "unusable" is mostly the scene's own edge, with good pixels beside it."""
    return np.where(codes == code_of("unusable"), np.uint8(0), codes) if mask.rule in RULES else codes


def _codes(mask: MaskSource, grid: Grid, window: Window) -> Codes:
    if mask.polygons_wkb is not None:
        return np.where(burned(mask.polygons_wkb, grid, window), np.uint8(code_of(mask.reasons[0])), np.uint8(0))
    if mask.grid is None:
        raise ValueError(f"mask {mask.path} has neither polygons nor a raster's grid.")
    return _read(mask, mask.grid, grid, window)


@lru_cache(maxsize=64)
def _same(own: Grid, grid: Grid) -> bool:
    return own.same_as(grid)


def _read(mask: MaskSource, own: Grid, grid: Grid, window: Window) -> Codes:
    rule, warped = rule_of(mask.rule, mask.reasons[0]), not _same(own, grid)
    band = BandSource("quality", mask.path, 1, "", mask.validity, warped=warped, nearest=True, crs_wkt=own.crs.to_wkt())
    with trusted(band, grid):
        return _reasons(mask, rule, dataset_for(band, grid), window, warped=warped)


def _reasons(mask: MaskSource, rule: QualityRule, dataset: Any, window: Window, *, warped: bool) -> Codes:
    # A virtual raster without nodata ends in an alpha band, which tells where the layer has pixels at all.
    alpha = mask.validity.alpha or (dataset.count if warped else None)
    stored = read_stored(mask.path, dataset, rule.bands if alpha is None else (*rule.bands, alpha), window)
    codes = rule.reasons(stored[: len(rule.bands)], mask.reasons)
    if alpha is not None:
        reached = stored[-1] != 0
    elif mask.validity.mask:
        spot = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        reached = dataset.read_masks(1, window=spot) != 0
    else:
        return codes
    codes[~reached] = code_of("unusable") if "unusable" in mask.reasons else 0
    return codes
