"""The sources of a VRT, looked at before GDAL opens any of them.

Format: https://gdal.org/en/stable/drivers/raster/vrt.html
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from geoseg.errors import InputError, InputMissingError, PolicyError
from geoseg.io.remote import is_remote

_BEGIN = b"<VRTDataset"
_NAMES = {"SourceFilename", "SourceDataset"}
_LOOK_INSIDE = 256


def is_vrt(path: Path) -> bool:
    """True when a file begins as a VRT does."""
    with path.open("rb") as file:
        return file.read(_LOOK_INSIDE).lstrip().startswith(_BEGIN)


def check_vrt(path: str) -> None:
    """Refuse a VRT that cannot work, or that would read what nobody named; other files pass unseen.

    Raises:
        InputMissingError: a source is missing.
        InputError: it is no XML, contains itself, or has sources on a server: GDAL's reader of those was seen to
            return zeros for blocks that it had not received.
        PolicyError: it reads raw bytes of any file, or runs Python code.
    """
    _check(Path(path), ())


def _check(path: Path, outer: tuple[Path, ...]) -> None:
    if not is_vrt(path):
        return
    own = path.resolve()
    if own in outer:
        raise InputError(f"{outer[0]} contains itself through {path}; build it anew (gdalbuildvrt).")
    for source in sources_of(path):
        if is_remote(source) or source.startswith("/vsicurl"):
            raise InputError(
                f"{path} has sources on a server ({source}); download them, or give their addresses with --stack."
            )
        if source.startswith("/vsi") or ":" in source:  # an archive's member, a subdataset: GDAL's own names
            continue
        if not Path(source).exists():
            raise InputMissingError(f"{path} needs {source}, which does not exist; bring it there, or build it anew.")
        if Path(source).suffix.lower() == ".vrt":
            _check(Path(source), (*outer, own))


def sources_of(path: Path) -> list[str]:
    """Names of the sources, each once; relative ones from the VRT's folder."""
    try:
        root = ET.parse(path).getroot()  # noqa: S314 (expat bounds entities; nothing else is resolved)
    except ET.ParseError as error:
        raise InputError(f"{path} is a damaged VRT ({error}); build it anew (gdalbuildvrt).") from error
    found: dict[str, None] = {}
    for item in root.iter():
        if item.get("subClass") == "VRTRawRasterBand":
            raise PolicyError(f"{path} reads raw bytes of other files (VRTRawRasterBand); convert it to a GeoTIFF.")
        if item.tag == "PixelFunctionLanguage" and (item.text or "").strip().lower() == "python":
            raise PolicyError(f"{path} would run Python code; convert it to a GeoTIFF where you trust it.")
        if item.tag in _NAMES and (name := (item.text or "").strip()):
            beside = item.get("relativeToVRT", item.get("relativetoVRT", "0")) == "1"
            elsewhere = name.startswith("/vsi") or is_remote(name)
            found[str(path.parent / name) if beside and not elsewhere else name] = None
    return list(found)
