"""Rasters on web servers: `https://host/scene.tif` (or `/vsicurl/https://…`) as inputs, opened and read safely.

An address carries, after `#`, the state of the file that was described: a worker that meets another state, hours
later or on another machine, says so instead of mixing pixels. Before it may stand `#sign=HOOK`, which belongs to the
address (see `geoseg.io.signing`).
"""

from __future__ import annotations

import re
from typing import Any

import rasterio

from geoseg.errors import InputError, PolicyError, without_secrets
from geoseg.io.ranges import WebFile, look_at

_CURL = "/vsicurl/"
_PARTS = re.compile(r"([^#]*(?:#sign=[^#]*)?)(?:#(.*))?", re.DOTALL)
"""Address, state."""
_WEB = re.compile(r"(?:/vsicurl/)?(https?://\S+)", re.IGNORECASE)
# Neither the server's folder nor files beside the raster are asked for; one thread, so that reads stay in order.
_OPTIONS = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_NUM_THREADS": "1"}


def is_remote(path: str) -> bool:
    """True for a file on a web server."""
    return _WEB.fullmatch(path) is not None


def address_of(path: str) -> str:
    """The address behind a path, without `/vsicurl/` and without a noted state."""
    return _parts(path)[0]


def unpinned(path: str) -> str:
    """The path without the state that `pinned` noted; a file's own path stays."""
    return address_of(path) if is_remote(path) else path


def _parts(path: str) -> tuple[str, str]:
    found = _PARTS.fullmatch(path.removeprefix(_CURL))
    if found is None:
        raise ValueError(f"{path!r} is no address")
    return found[1], found[2] or ""


def pinned(path: str) -> str:
    """The address of a file with its state, see above.

    Raises:
        GeosegError: see `geoseg.io.ranges.look_at`.
        PolicyError: it is a VRT, which could name any file of this computer.
    """
    url = address_of(path)
    state, begin = look_at(url)
    if begin[:256].lstrip().startswith(b"<VRTDataset"):
        raise PolicyError(f"{url} is a VRT, which may read any file here; download it, look into it and run that.")
    return f"{url}#{state.digest}"


def open_remote(path: str) -> tuple[list[Any], WebFile]:
    """The open dataset of an address (in a list) and the file behind it, to be asked by `confirm` after every use.

    Raises:
        RasterioIOError: no raster.
        InputError: the file is another one than that which the address was noted for.
        GeosegError: see `geoseg.io.ranges.look_at`.
    """
    url, digest = _parts(path)
    state, _ = look_at(url)
    if digest and state.digest != digest:
        raise InputError(f"{url} changed since the run began; run again when nobody writes it.")
    file = WebFile(url, state)

    def opener(asked: str, _mode: str = "rb", **_options: Any) -> WebFile:
        if asked != _NAME:
            raise FileNotFoundError(asked)
        return file.again()

    try:
        with rasterio.Env(**_OPTIONS):
            dataset = rasterio.open(_NAME, opener=opener)
    finally:
        confirm(file)
    return [dataset], file


_NAME = "remote"


def confirm(file: WebFile) -> None:
    """See that everything that GDAL was given is what the server has; else nothing made of it can be believed.

    Raises:
        GeosegError: why a part of the file could not be had.
    """
    if file.failures:
        raise file.failures[0].with_traceback(None)


def shown(path: str) -> str:
    """A path for people: an address without its query, which may be signed."""
    return without_secrets(path.removeprefix(_CURL)) if is_remote(path) else path
