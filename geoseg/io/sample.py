"""A quick, even look at a scene's values, and fingerprints of its files."""

from __future__ import annotations

import hashlib
import json
import math
import re
import warnings
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io.mosaic import Mosaic
from geoseg.io.ranges import fetch_range, look_at
from geoseg.io.raster import check_file
from geoseg.io.read import read_chip, touches_aoi
from geoseg.io.remote import address_of, is_remote
from geoseg.io.scene import Scene, path_name
from geoseg.io.scratch import has_large_blocks
from geoseg.io.vrt import is_vrt

LATTICE = 5
LEAST = 3
"""Windows along a side of a first look: at least so many, one for each `APART` pixels, `LATTICE` at most."""
APART = 640
DENSE = 20
"""Windows along a side in a second look, when the first met no valid pixel."""
SIDE = 128
BLOCK = 256
"""Blocks of tiled files are multiples of this, as a rule; a window across their edge takes two to be decoded."""
READERS = 2
_WHOLE = 8 * 2**20
_PIECES = 256
_PIECE = 16 * 2**10
_LOOKED_INTO = 64
"""Files whose bytes are read; of more, as a VRT may have thousands, size and time tell enough."""
_ADDED = {"Histograms", "Description"}
"""What GDAL writes into a sidecar beside statistics; descriptions repeat the file's own, or rename bands, whose names
are in every key anyway."""
_VIRTUAL = re.compile(r"^(/vsi[a-z0-9_]+/)+")


def sample_pixels(scene: Scene) -> NDArray[Any]:
    """Stored numbers (band, pixel) of valid pixels from a lattice of small windows over the area of interest.

    It has 5 × 5 windows, fewer along a side below 3200 pixels. One that meets no valid pixel is followed by 20 × 20.
    Empty when that meets none either. Of files that are decoded as a whole for each window only the diagonals of the
    lattices are read.
    """
    pixels: NDArray[Any] = np.empty((len(scene.bands), 0), scene.dtype)
    frame = aoi_window(scene)
    if frame is None:
        return pixels
    seen: list[Window] = []
    tall = has_large_blocks(scene)
    for places in (LATTICE, DENSE):
        if tall:
            places_asked = _diagonal(frame, places)
        else:
            places_asked = _first_look(frame) if places == LATTICE else even_windows(frame, places)
        places_asked += _middles(scene.mosaic, frame, places)
        windows = [w for w in places_asked if w not in seen and touches_aoi(scene, w)]
        # What is decoded as a whole for a window is large, too.
        readers = 1 if tall else READERS
        # Neighbors by one thread: each opens files of its own, and decodes for itself what two windows share.
        rows = [windows[n * len(windows) // readers : (n + 1) * len(windows) // readers] for n in range(readers)]
        with ThreadPoolExecutor(readers) as pool:
            pixels = np.concatenate([pixels, *chain(*pool.map(partial(_valid_pixels, scene), rows))], axis=1)
        if pixels.size:
            break
        seen = windows
    return pixels


def _valid_pixels(scene: Scene, windows: Sequence[Window]) -> list[NDArray[Any]]:
    """Stored numbers (band, pixel) of the valid pixels of each window."""
    return [chip.data[:, chip.valid] for chip in (read_chip(scene, window) for window in windows)]


def clear_share(scene: Scene) -> float:
    """Share of the pixels with data that no quality layer masks; 0 where there is no data.

    Seen on a 20 × 20 lattice of windows over the area of interest, which of up to 2560² pixels are all.
    """
    frame, clear, data = aoi_window(scene), 0, 0
    if frame is None:
        return 0.0
    for window in even_windows(frame, DENSE):
        chip = read_chip(scene, window)
        masked = 0 if chip.masked is None else int((chip.masked != 0).sum())
        clear += int(chip.valid.sum())
        data += int(chip.valid.sum()) + masked
    return clear / data if data else 0.0


def aoi_window(scene: Scene) -> Window | None:
    """The pixels around the area of interest, cut to the raster: all without an AOI, None when it lies outside."""
    grid = scene.grid
    if scene.aoi is None:
        return grid.window
    to_pixel = ~grid.transform
    area = shapely.transform(scene.aoi, lambda xy: np.column_stack(to_pixel @ tuple(xy.T)))
    within = shapely.intersection(area, shapely.box(0, 0, grid.width, grid.height))
    if within.area == 0:
        return None
    left, top, right, bottom = within.bounds
    return Window.from_edges(
        left=math.floor(left), top=math.floor(top), right=math.ceil(right), bottom=math.ceil(bottom)
    )


def even_windows(frame: Window, places: int, side: int = SIDE) -> list[Window]:
    """At most places × places windows of side² pixels spread evenly; fewer when they already cover the frame."""
    across, down = min(side, frame.width), min(side, frame.height)
    cols, rows = _even(frame.col_off, frame.width, places, side), _even(frame.row_off, frame.height, places, side)
    return [Window(col, row, across, down) for row in rows for col in cols]


def _even(first: int, size: int, places: int, side: int) -> list[int]:
    """First pixels of stretches of at most `side`, from the first pixel of a line to its last."""
    side = min(side, size)
    starts: list[int] = np.linspace(0, size - side, min(places, math.ceil(size / side))).astype(int).tolist()
    return [first + start for start in starts]


def _first_look(frame: Window) -> list[Window]:
    """Few windows, spread evenly, those inside the frame each in one storage block where the frame allows it."""
    cols, rows = (
        _in_blocks(_even(first, size, min(LATTICE, max(LEAST, size // APART)), SIDE))
        for first, size in ((frame.col_off, frame.width), (frame.row_off, frame.height))
    )
    across, down = min(SIDE, frame.width), min(SIDE, frame.height)
    return [Window(col, row, across, down) for row in rows for col in cols]


def _in_blocks(starts: list[int]) -> list[int]:
    """Those between the first and the last moved back, if they must be, to the last `SIDE` pixels of a block."""

    def moved(start: int) -> int:
        edge = (start + SIDE) // BLOCK * BLOCK
        return edge - SIDE if start < edge and edge - SIDE >= starts[0] else start

    return [*starts[:1], *map(moved, starts[1:-1]), *starts[1:][-1:]]


def _middles(mosaic: Mosaic | None, frame: Window, most: int) -> list[Window]:
    """The middles of some scenes of a mosaic, which may lie far apart."""
    parts = [] if mosaic is None else [part.window for part, _ in mosaic.under(frame)]
    chosen = parts[:: max(1, -(-len(parts) // most))]
    middles = (
        Window(w.col_off + (w.width - SIDE) // 2, w.row_off + (w.height - SIDE) // 2, SIDE, SIDE) for w in chosen
    )
    return [within for middle in middles if (within := middle.intersection(frame))]


def _diagonal(frame: Window, places: int) -> list[Window]:
    windows = even_windows(frame, places)
    across = len({window.col_off for window in windows})
    return windows[:: across + 1]


def fingerprint(path: str) -> dict[str, Any]:
    """Size and digest of an input: of all its bytes up to 8 MiB, else of 256 pieces spread evenly.

    Files that change what is read count, too: `.msk`, `.aux.xml`, the sources of a VRT. Overviews do not, since they
    are never read for a result; nor do statistics and histograms in an `.aux.xml`, which a look with QGIS or
    `gdalinfo -stats` leaves there; nor do modification times, since copies have others, but for the sources of a
    VRT of more than `_LOOKED_INTO` files. Of a file on a server, whose address is told without its query, count
    `ETag`, `Last-Modified` and the first bytes; where it gives neither of the two, 16 pieces.

    Raises:
        InputError: a GDAL virtual path with no file of this computer behind it, or a source that is none.
        InputMissingError: a source of a VRT is missing.
        GeosegError: a server does not give the file, see `geoseg.io.ranges.look_at`.
    """
    digest = hashlib.blake2b(digest_size=16)
    if is_remote(path):
        return {"name": path_name(path)} | _of_server(address_of(path), digest)
    files = _behind(path)
    digested = files if len(files) <= _LOOKED_INTO else files[:1]
    total = sum(_digest_file(file, digest) for file in digested)
    for file in files[len(digested) :]:
        status = file.stat()
        digest.update(f"{file.name}:{status.st_size}:{status.st_mtime_ns}:".encode())
        total += status.st_size
    return {"name": Path(path).name, "bytes": total, "blake2b": digest.hexdigest()}


def lot(paths: Iterable[str]) -> float:
    """A number from 0 to 1, 1 excluded, drawn by what the files hold, whatever they are called; see `fingerprint`."""
    found = [{name: value for name, value in fingerprint(path).items() if name != "name"} for path in paths]
    digest = hashlib.blake2b(json.dumps(found, sort_keys=True).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _of_server(url: str, digest: Any) -> dict[str, Any]:
    state, begin = look_at(url)
    digest.update(begin)
    if state.etag is None and state.modified is None:
        for start in np.linspace(0, max(0, state.size - _PIECE), 16).astype(int).tolist():
            digest.update(fetch_range(url, start, start + _PIECE, state))
    return {"bytes": state.size, "etag": state.etag, "modified": state.modified, "blake2b": digest.hexdigest()}


def _behind(path: str) -> list[Path]:
    """Files on disk that a path stands for, itself first; for `/vsizip/a.zip/b.tif` the archive."""
    found: dict[Path, None] = {}
    waiting = deque([path])
    while waiting:
        name = waiting.popleft()
        file = _on_disk(name)
        if file in found:
            continue
        found[file] = None
        if is_vrt(file):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(name) as dataset:
                    waiting += dataset.files[1:]
        waiting += [f"{file}{suffix}" for suffix in (".msk", ".aux.xml") if Path(f"{file}{suffix}").is_file()]
    return list(found)


def _on_disk(path: str) -> Path:
    """The file, or the archive around it.

    Raises:
        InputMissingError, InputError: there is none.
    """
    plain = Path(_VIRTUAL.sub("", path))
    file = next((place for place in (plain, *plain.parents) if place.is_file()), None)
    if file is None:
        check_file(path)
        raise InputError(f"input {path} is no file of this computer; download it first.")
    return file


def _digest_file(path: Path, digest: Any) -> int:
    size = path.stat().st_size
    if path.name.endswith(".aux.xml") and size <= _WHOLE:
        kept = _without_statistics(path.read_bytes())
        digest.update(b".xml:%d:" % len(kept) + kept if kept else b"")
        return len(kept)
    digest.update(f"{path.suffix}:{size}:".encode())
    with path.open("rb") as file:
        if size <= _WHOLE:
            digest.update(file.read())
        else:
            for start in np.linspace(0, size - _PIECE, _PIECES).astype(int).tolist():
                file.seek(start)
                digest.update(file.read(_PIECE))
    return size


def _without_statistics(sidecar: bytes) -> bytes:
    """GDAL's sidecar in a canonical form less what people's looking adds; empty when nothing else was in it."""
    try:
        root = ET.fromstring(sidecar)  # noqa: S314 (expat bounds entities; GDAL read the same file before)
    except ET.ParseError:  # whatever it is, it is no harmless one
        return sidecar
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _ADDED or child.get("key", "").startswith("STATISTICS_"):
                parent.remove(child)
    for emptied in ("Metadata", "PAMRasterBand"):
        for parent in list(root.iter()):
            for child in parent.findall(emptied):
                if len(child) == 0 and not (child.text or "").strip():
                    parent.remove(child)
    if root.tag == "PAMDataset" and len(root) == 0:
        return b""
    return ET.canonicalize(ET.tostring(root, encoding="unicode"), strip_text=True).encode()
