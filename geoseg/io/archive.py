"""Archives are read in place by GDAL, which checks no checksum: a flipped bit in a JPEG 2000 becomes land cover.

So the members that a scene uses are read once through Python, which does check.
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from geoseg.errors import InputError

_CHUNK = 4 * 2**20
_ZIPPED = re.compile(r"/vsizip/(?P<archive>/?.+?\.zip)/(?P<member>.+)", re.IGNORECASE)
_GZIPPED = re.compile(r"/vsitar/(?P<archive>/?.+?\.(?:tar\.gz|tgz))/", re.IGNORECASE)


def check_archives(paths: Iterable[str]) -> None:
    """Read the members of zips, and gzipped tars as a whole, to see that they are what was packed.

    Plain tars carry no checksum of their members, and other paths are no archives: both pass.

    Args:
        paths: GDAL paths of the rasters that will be read.

    Raises:
        InputError: a checksum is wrong or the data ends early.
    """
    zipped: dict[str, list[str]] = {}
    for path in dict.fromkeys(paths):
        if found := _ZIPPED.fullmatch(path):
            zipped.setdefault(found["archive"], []).append(found["member"])
    for archive, members in zipped.items():
        _check_zip(archive, members)
    for archive in dict.fromkeys(found["archive"] for path in paths if (found := _GZIPPED.match(path))):
        _check_gzip(archive)


def _check_zip(archive: str, members: list[str]) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            known = {name.removeprefix("./"): name for name in opened.namelist()}
            for member in members:
                with opened.open(known.get(member, member)) as stream:
                    while stream.read(_CHUNK):
                        pass
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise InputError(
            f"{Path(member).name} in {archive} is damaged ({error}); download the archive again."
        ) from error


def _check_gzip(archive: str) -> None:
    try:
        with gzip.open(archive) as stream:
            while stream.read(_CHUNK):
                pass
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{archive} is damaged ({error}); download it again.") from error
