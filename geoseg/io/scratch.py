"""Files whose storage blocks are much larger than a chip, copied once into small tiles for the length of a run.

A TIFF of one strip is decoded from its top for every window: 8192² pixels of four bands took minutes to read by chips,
against 2.5 s to copy and 0.8 s to read from the copy. The copy has the same numbers, bands, mask and place.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.windows import Window as RasterioWindow

from geoseg.errors import InputError, OutputError
from geoseg.io import posix
from geoseg.io.raster import opened
from geoseg.io.scene import Scene, path_name

LARGE_BLOCK_BYTES = 32 * 2**20
"""A block that a few threads can no longer keep in GDAL's cache of 128 MiB."""
SIDE = 256
_BAND_BYTES = 128 * 2**20


@dataclass(frozen=True)
class _Layout:
    """How a file is stored."""

    bytes: int
    """All pixels of all bands, unpacked, with the mask."""
    block: int
    """One block, unpacked, of all bands that are stored together."""
    large: bool
    """True: its blocks are, see `LARGE_BLOCK_BYTES`."""


def has_large_blocks(scene: Scene) -> bool:
    """True when a file of the scene must decode much more than a window to read it."""
    return any(_layout(path).large for path in scene.paths)


def copying_bytes(scene: Scene) -> int:
    """Memory that `retiled` takes: a block packed and unpacked, and the rows that it makes; 0 when it does nothing."""
    blocks = [layout.block for layout in map(_layout, scene.paths) if layout.large]
    return 2 * max(blocks) + 3 * _BAND_BYTES if blocks else 0


def retiled(scene: Scene, folder: Path) -> tuple[Scene, tuple[str, ...]]:
    """The scene with files of large blocks replaced by copies in small tiles.

    Each block is decoded about once. Memory: one block of the file (of all its bands where they are interleaved by
    pixel), and row bands of 128 MiB.

    Args:
        scene: as described.
        folder: where the copies stand; readable by all workers. Whoever owns it removes them.

    Returns:
        the scene, and what was done, for people.

    Raises:
        InputError: a file cannot be decoded.
        OutputError: the disk cannot hold a copy.
    """
    copies, notes = {}, []
    for number, path in enumerate(scene.paths):
        layout = _layout(path)
        if layout.large:
            copies[path] = str((folder / f"source{number}.tif").absolute())
            _copy(path, Path(copies[path]), layout)
            notes.append(f"{path_name(path)} is stored in huge blocks: copied once into tiles, for this run")
    return (scene.moved(lambda path: copies.get(path, path)) if copies else scene), tuple(notes)


def _layout(path: str) -> _Layout:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with opened(path) as dataset:
            if dataset.driver not in {"GTiff", "COG"} or len(set(dataset.dtypes)) != 1:
                return _Layout(0, 0, large=False)
            item = _item_bytes(dataset)
            rows, cols = dataset.block_shapes[0]
            together = dataset.count if _by_pixel(dataset) else 1
            pixels = dataset.width * dataset.height
            block = rows * cols * item * together
            large = block > LARGE_BLOCK_BYTES and rows > SIDE
            return _Layout(pixels * (dataset.count * item + _masked(dataset)), block, large=large)


def _item_bytes(dataset: Any) -> int:
    return int(np.dtype(dataset.dtypes[0]).itemsize)


def _by_pixel(dataset: Any) -> bool:
    return bool(dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL")


def _masked(dataset: Any) -> bool:
    flags = dataset.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def _copy(path: str, copy: Path, layout: _Layout) -> None:
    free = posix.free_bytes(copy.parent)
    if free < layout.bytes:
        raise OutputError(
            f"a tiled copy of {path} needs {layout.bytes} bytes in {copy.parent}, {free} are free: make room, choose "
            f"another -o, or give a tiled file (gdal_translate -of COG)."
        )
    with warnings.catch_warnings(), opened(path) as source:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        by_pixel, masked = _by_pixel(source), _masked(source)
        profile = {
            "driver": "GTiff",
            **{name: source.profile[name] for name in ("width", "height", "count", "dtype", "crs", "transform")},
            "nodata": source.nodata,
            "tiled": True,
            "blockxsize": SIDE,
            "blockysize": SIDE,
            "interleave": "pixel" if by_pixel else "band",
            "BIGTIFF": "IF_SAFER",
        }
        together = [list(source.indexes)] if by_pixel else [[index] for index in source.indexes]
        try:
            # Colors first: GDAL writes them into the header.
            with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(copy, "w", **profile) as target:
                target.colorinterp = source.colorinterp
                for indexes in together:
                    for spot in _row_bands(source, len(indexes)):
                        pixels = _decoded(path, spot, partial(source.read, indexes, window=spot))
                        target.write(pixels, indexes, window=spot)
                for spot in _row_bands(source, 1) if masked else ():
                    target.write_mask(_decoded(path, spot, partial(source.read_masks, 1, window=spot)), window=spot)
        except RasterioIOError as error:
            raise OutputError(f"tiled copy {copy} cannot be written: {error.__cause__ or error}") from error
    if copy.stat().st_size < layout.bytes - source.width * source.height * masked:
        raise OutputError(f"tiled copy {copy} is incomplete; make room or choose another -o.")


def _decoded(path: str, spot: RasterioWindow, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except RasterioIOError as error:
        raise InputError(
            f"{path_name(path)} cannot be decoded in rows {spot.row_off}…{spot.row_off + spot.height - 1} "
            f"({error.__cause__ or error}); the file is damaged, copy it again."
        ) from error


def _row_bands(source: Any, bands: int) -> Iterator[RasterioWindow]:
    """Full-width windows of whole tiles of the copy."""
    row_bytes = source.width * bands * _item_bytes(source)
    rows = max(1, _BAND_BYTES // (row_bytes * SIDE)) * SIDE
    for row in range(0, source.height, rows):
        yield RasterioWindow(0, row, source.width, min(rows, source.height - row))
