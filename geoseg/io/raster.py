"""What a raster file is, and whether geoseg can use it: facts, refusals and their remedies."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Grid
from geoseg.io.remote import confirm, is_remote, open_remote, pinned
from geoseg.io.scene import Validity, path_name
from geoseg.io.tiff import check_tiff, strip_rows
from geoseg.io.vrt import check_vrt

MAX_BLOCK_BYTES = 2 * 2**30
_SMALL_BLOCK_BYTES = 64 * 2**20
_MAX_COMPRESSION = 100_000
"""No codec stores an image in less than this part of its size (ZSTD comes nearest with 1 : 32 768)."""
_BLOCKS_LOOKED_AT = 1024
_TIFF_DRIVERS = {"GTiff", "COG"}


@dataclass(frozen=True)
class RasterFile:
    """Facts of one raster file."""

    path: str
    driver: str
    grid: Grid
    dtypes: tuple[str, ...]
    descriptions: tuple[str | None, ...]
    colors: tuple[str, ...]
    """Color interpretation of each band in GDAL's words, lower case."""
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    nodata: float | None
    has_mask: bool
    alpha: int | None
    block_shape: tuple[int, int]
    """(rows, columns) of a storage block."""
    tags: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of bands that hold image (not alpha)."""
        return len(self.dtypes) - (self.alpha is not None)


def describe(path: str, *, assume_crs: str | None = None) -> RasterFile:
    """Open a raster, collect its facts, close it.

    Args:
        path: a file, a GDAL virtual path (`/vsizip/…`), or the address of a file on a web server.
        assume_crs: CRS for a file that carries none.

    Raises:
        InputMissingError: no such file, or no permission.
        InputError: not a raster, or one whose pixels have no known place or no plain numbers.
        PolicyError, TemporaryError: a server refuses or fails, see `geoseg.io.ranges.look_at`.
    """
    check_file(path)
    path = pinned(path) if is_remote(path) else path
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with opened(path) as dataset:
                return _facts(path, dataset, assume_crs)
    except RasterioIOError as error:
        why = _first_line(error).removeprefix(f"'{path}' ").rstrip(".")
        raise InputError(
            f"{path} cannot be read as a raster ({why}); look whether it is what its name says, copy it again, "
            "or convert it to GeoTIFF (gdal_translate)."
        ) from error
    except (RasterioError, CRSError) as error:
        raise InputError(f"{path} is unusable: {_first_line(error)}") from error


@contextmanager
def opened(path: str) -> Iterator[Any]:
    """A raster for a short look, here or on a server, which must have given all that was read in the block.

    Raises:
        RasterioIOError: no raster.
        GeosegError: see `geoseg.io.ranges.look_at`.
    """
    if not is_remote(path):
        with rasterio.open(path) as dataset:
            yield dataset
        return
    (dataset,), file = open_remote(path)
    try:
        with dataset:
            yield dataset
    finally:
        confirm(file)


def check_file(path: str) -> None:
    """Refuse what must not even be opened: missing paths, folders, pipes, empty files, broken TIFFs and VRTs.

    Raises:
        InputMissingError: no such path, or not readable, or a source of a VRT is missing.
        InputError: no regular file, an empty one, or a TIFF that is cut short, or an unusable VRT.
        PolicyError: a VRT that reads what nobody named, see `geoseg.io.vrt`.
    """
    if path.startswith("/vsi") or "://" in path:
        return
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputMissingError(f"input {path!r}: {reason}.") from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"input {path} is a folder; give the raster file inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"input {path} is a pipe or a device, not a file; save the raster to disk first.")
    if status.st_size == 0:
        raise InputError(f"input {path} is empty (0 bytes); copy or download it again.")
    if not os.access(path, os.R_OK):
        raise InputMissingError(f"input {path} may not be read by this user; change its permissions.")
    check_tiff(path)
    check_vrt(path)


def _facts(path: str, dataset: Any, assume_crs: str | None) -> RasterFile:
    _check_content(path, dataset)
    check_budget(path, dataset)
    grid, notes = place(path, dataset, assume_crs)
    if _has_holes(dataset):
        notes += (f"{path_name(path)} has blocks that were never written; without a nodata tag they are valid zeros",)
    colors = dataset.colorinterp
    alpha = [i for i, color in zip(dataset.indexes, colors, strict=True) if color == ColorInterp.alpha]
    flags = dataset.mask_flag_enums[0]
    return RasterFile(
        path=path,
        driver=dataset.driver,
        grid=grid,
        dtypes=tuple(dataset.dtypes),
        descriptions=tuple(dataset.descriptions),
        colors=tuple(color.name for color in colors),
        scales=tuple(dataset.scales),
        offsets=tuple(dataset.offsets),
        nodata=dataset.nodata,
        has_mask=MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags,
        alpha=alpha[0] if alpha else None,
        block_shape=_block_shape(path, dataset),
        tags={**dataset.tags(), **dataset.tags(ns="IMAGE_STRUCTURE")},
        notes=notes,
    )


def _block_shape(path: str, dataset: Any) -> tuple[int, int]:
    rows, cols = dataset.block_shapes[0]
    return (_is_local_tiff(path, dataset) and strip_rows(path)) or rows, cols


def _is_local_tiff(path: str, dataset: Any) -> bool:
    return dataset.driver in _TIFF_DRIVERS and not path.startswith("/vsi") and "://" not in path


def _has_holes(dataset: Any) -> bool:
    """True when a block of the first band, among about a thousand spread evenly, is not in the file but valid."""
    if dataset.driver not in _TIFF_DRIVERS or MaskFlags.all_valid not in dataset.mask_flag_enums[0]:
        return False
    rows, cols = dataset.block_shapes[0]
    across = -(-dataset.width // cols)
    blocks = across * -(-dataset.height // rows)
    numbers = range(0, blocks, max(1, blocks // _BLOCKS_LOOKED_AT))
    names = (f"BLOCK_OFFSET_{number % across}_{number // across}" for number in numbers)
    return any(dataset.get_tag_item(name, "TIFF", bidx=1) is None for name in names)


def _check_content(path: str, dataset: Any) -> None:
    """Only plain numbers: no subdatasets, complex values or palettes."""
    if dataset.count == 0:
        inside = ", ".join(dataset.subdatasets[:4])
        raise InputError(f"{path} holds no bands itself; name one of its subdatasets: {inside or 'none found'}.")
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise InputError(f"{path} holds complex numbers ({dataset.dtypes[0]}); compute amplitude or power first.")
    if ColorInterp.palette in dataset.colorinterp:
        raise InputError(
            f"{path} is paletted: its numbers are color indices, not measurements; "
            f"expand it (gdal_translate -expand rgb), or vectorize it if it is a class raster."
        )
    if "NBITS" in dataset.tags(1, ns="IMAGE_STRUCTURE") and dataset.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "1":
        raise InputError(f"{path} has 1-bit pixels, a mask and no image; geoseg needs 8 bits or more.")


def check_budget(path: str, dataset: Any) -> None:
    """A header of 126 bytes can declare 100 000² pixels; believe only what the file can hold."""
    rows, cols = dataset.block_shapes[0]
    item = max(_item_size(dtype) for dtype in dataset.dtypes)
    if rows * cols * item > MAX_BLOCK_BYTES:
        raise InputError(
            f"{path} is stored in blocks of {cols} × {rows} pixels ({rows * cols * item / 2**30:.0f} GiB each); "
            f"re-tile it first: gdal_translate -of COG."
        )
    if _is_local_tiff(path, dataset):
        blocks = -(-dataset.height // rows) * -(-dataset.width // cols)
        size = Path(path).stat().st_size
        if rows * cols * item > max(_SMALL_BLOCK_BYTES, size * _MAX_COMPRESSION):
            raise InputError(
                f"{path} declares blocks of {cols} × {rows} pixels, but its {size} bytes cannot hold one; "
                f"the file is damaged."
            )
        # Each block needs an offset and a byte count in the file, at least 2 bytes each, even when sparse.
        if blocks * 4 > size:
            raise InputError(
                f"{path} declares {dataset.width} × {dataset.height} pixels in {blocks} blocks, "
                f"but its {size} bytes cannot even list them; the file is damaged."
            )


def _item_size(dtype: str) -> int:
    return int("".join(filter(str.isdigit, dtype)) or 8) // 8


def place(path: str, dataset: Any, assume_crs: str | None) -> tuple[Grid, tuple[str, ...]]:
    """Grid of a dataset, or the refusal that names what its georeference lacks."""
    notes: list[str] = []
    if dataset.transform == Affine.identity():
        if dataset.gcps[0]:
            raise InputError(
                f"{path} is placed by {len(dataset.gcps[0])} ground control points only; "
                f"warp it first: gdalwarp -tps {path_name(path)} warped.tif"
            )
        if dataset.rpcs is not None:
            raise InputError(
                f"{path} is placed by RPCs only; orthorectify it first: gdalwarp -rpc -to RPC_DEM=dem.tif "
                f"{path_name(path)} ortho.tif"
            )
        what = "no CRS and no transform" if dataset.crs is None else "a CRS but no transform"
        raise InputError(
            f"{path} has {what}: its pixels have no place on the ground; set it with "
            f"gdal_edit.py -a_srs EPSG:… -a_ullr LEFT TOP RIGHT BOTTOM, or add a world file and --assume-crs EPSG:…"
        )
    crs = CRS.from_wkt(dataset.crs.to_wkt(version="WKT2_2019")) if dataset.crs else None
    if crs is None:
        if assume_crs is None:
            raise InputError(
                f"{path} has no CRS; if you know it, set it with gdal_edit.py -a_srs EPSG:…, "
                f"or pass --assume-crs EPSG:… where images are read."
            )
        crs = parse_crs(assume_crs)
        notes.append(f"{path_name(path)} carries no CRS; {crs.name} assumed")
    return Grid(crs, dataset.transform, dataset.width, dataset.height), tuple(notes)


def parse_crs(text: str, flag: str = "--assume-crs") -> CRS:
    """CRS of user input such as `EPSG:32618`.

    Raises:
        InputError: not a CRS that PROJ knows, or one of heights or of space.
    """
    try:
        crs = CRS.from_user_input(text)
    except CRSError as error:
        raise InputError(f"{flag} {text!r} is not a CRS that PROJ knows: {_first_line(error)}") from error
    if crs.is_geocentric or crs.is_vertical:
        raise InputError(f"{flag} {text!r}: {crs.name!r} is no CRS of maps; take a projected one, or lon/lat.")
    return crs


def validity_of(file: RasterFile, nodata: str | None) -> Validity:
    """The rule by which a file's pixels are usable, in the documented order.

    Args:
        file: facts of the file.
        nodata: the user's word: a number, "none" (ignore the tag), or None (as the file says).
    """
    if nodata is not None and nodata.lower() != "none":
        return Validity(nodata=float(nodata))
    if file.has_mask:
        return Validity(mask=True)
    if file.alpha is not None:
        return Validity(alpha=file.alpha)
    return Validity(nodata=None if nodata else file.nodata)


def _first_line(error: Exception) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
