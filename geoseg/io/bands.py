"""Which band is which: the `--bands` grammar and names found in the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from geoseg.errors import ConfigError, InputError, UsageError
from geoseg.io.raster import RasterFile
from geoseg.io.remote import address_of, is_remote
from geoseg.io.scene import path_name

Place = tuple[RasterFile, int]
"""A file and a 1-based band number in it."""
ALIASES = {
    "nir08": "nir",
    "swir1": "swir16",
    "swir2": "swir22",
    "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078",
}
"""What files call their bands → the common name that models use."""


def resolve_bands(files: Sequence[RasterFile], requests: Sequence[str]) -> dict[str, Place]:
    """Band name → where it is stored, in the order asked for (or as found).

    Args:
        files: the scene's files; a bare number means a band of the first.
        requests: `name=NUMBER`, `name=DESCRIPTION`, `name=FILE` or `name=FILE:NUMBER`;
            empty: every band under its own description in lower case (or the common name for it, see `ALIASES`),
            unnamed ones as b1, b2, ….

    Raises:
        UsageError: a request is not of these forms.
        ConfigError: a name occurs twice.
        InputError: no such band.
    """
    found = _by_common_name(files) if not requests else [_resolve(files, request) for request in requests]
    places: dict[str, Place] = {}
    for name, (file, index) in found:
        if name in places:
            other, where = places[name]
            raise ConfigError(
                f"band name {name!r} occurs twice: band {where} of {path_name(other.path)} and "
                f"band {index} of {path_name(file.path)}; say which one with --bands {name}=…"
            )
        places[name] = (file, index)
    return places


def alias_notes(places: Mapping[str, Place]) -> tuple[str, ...]:
    """For people: the bands of `resolve_bands(files, ())` that are not named as their files name them."""
    described = {name: (file.descriptions[index - 1] or "").strip() for name, (file, index) in places.items()}
    return tuple(f"{text} taken for {name}" for name, text in described.items() if ALIASES.get(text.lower()) == name)


def _by_common_name(files: Sequence[RasterFile]) -> list[tuple[str, Place]]:
    """An alias gives way where a band already has the name that it stands for."""
    found = _as_described(files)
    names = {name for name, _ in found}
    return [(ALIASES[name] if name in ALIASES and ALIASES[name] not in names else name, at) for name, at in found]


def _as_described(files: Sequence[RasterFile]) -> list[tuple[str, Place]]:
    several = len(files) > 1
    found = []
    for file in files:
        for index, description in enumerate(file.descriptions, start=1):
            if index == file.alpha:
                continue
            unnamed = f"{Path(file.path).stem}:b{index}" if several else f"b{index}"
            found.append((description.strip().lower() if description else unnamed, (file, index)))
    return found


def _resolve(files: Sequence[RasterFile], request: str) -> tuple[str, Place]:
    name, equals, where = (part.strip() for part in request.partition("="))
    if not (name and equals and where):
        raise UsageError(f"--bands {request!r} is not NAME=NUMBER, NAME=DESCRIPTION or NAME=FILE[:NUMBER].")
    if where.isdigit():
        return name, _numbered(files[0], int(where), request)
    by_file = _find_file(files, where)
    if by_file is not None:
        if by_file.count != 1:
            raise UsageError(
                f"--bands {request!r}: {path_name(by_file.path)} has {by_file.count} bands; "
                f"write {name}={where}:NUMBER."
            )
        return name, (by_file, 1)
    path, colon, number = where.rpartition(":")
    by_file = _find_file(files, path) if colon and number.isdigit() else None
    if by_file is not None:
        return name, _numbered(by_file, int(number), request)
    return name, _described(files, where, request)


def _numbered(file: RasterFile, index: int, request: str) -> Place:
    if not 1 <= index <= len(file.dtypes) or index == file.alpha:
        said = f"--bands {request!r}: {path_name(file.path)} has bands 1…{file.count}"
        if index == file.alpha:
            said += (
                f"; band {index} is marked as alpha (if it is data: gdal_edit.py -colorinterp_{index} undefined FILE)"
            )
        raise InputError(f"{said}.")
    return file, index


def _find_file(files: Sequence[RasterFile], text: str) -> RasterFile | None:
    """The input that `text` names by its path or, when unique, by its file name."""
    if is_remote(text):
        return next((file for file in files if address_of(file.path) == address_of(text)), None)
    exact = [file for file in files if file.path == text or Path(file.path) == Path(text).absolute()]
    named = [file for file in files if path_name(file.path) == text]
    if exact:
        return exact[0]
    if len(named) > 1:
        raise UsageError(f"--bands: {len(named)} inputs are called {text}; write the whole path.")
    return named[0] if named else None


def _described(files: Sequence[RasterFile], text: str, request: str) -> Place:
    hits = [
        (file, index)
        for file in files
        for index, description in enumerate(file.descriptions, start=1)
        if description and description.strip().lower() == text.lower()
    ]
    if len(hits) == 1:
        return hits[0]
    known = [d for file in files for d in file.descriptions if d]
    if not hits:
        raise InputError(
            f"--bands {request!r}: no input file and no band description is {text!r}; "
            f"described bands: {', '.join(known) or 'none'}."
        )
    raise ConfigError(f"--bands {request!r}: {len(hits)} bands are described as {text!r}; write FILE:NUMBER.")
