"""Bands of files whose names no pattern fixes: by description, by the last word of the file name, or by position."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from geoseg.errors import InputError
from geoseg.products.claim import band_called
from geoseg.products.preset import BandPreset, Preset

if TYPE_CHECKING:
    from geoseg.io.raster import RasterFile

RASTERS = (".tif", ".tiff", ".jp2", ".img")
COMMON = (
    *("coastal", "blue", "green", "yellow", "red", "rededge", "rededge071", "rededge075", "rededge078"),
    *("nir", "nir_narrow", "nir09", "cirrus", "swir16", "swir22", "pan", "thermal"),
)
"""Names that a folder of bands may use without a preset."""


@dataclass(frozen=True, kw_only=True)
class Located:
    """A band of the scene and where it is stored, with what its file says of it."""

    id: str
    path: str
    index: int
    gsd_m: float
    scale: float = 1.0
    offset: float = 0.0
    has_nodata: bool = False
    """True: the file itself says which pixels are empty."""


def nameless(files: Sequence[str]) -> Preset:
    """The preset of a folder whose files are called after common names."""
    bands: dict[str, dict[str, Any]] = {name: {"name": name} for name in COMMON}
    if {"nir", "nir08"} <= {
        _word(file).lower() for file in files
    }:  # Sentinel-2 collections; Landsat's have nir08 alone
        bands["nir_narrow"]["aliases"] = ["nir08"]
    return Preset.model_validate({"title": "one file per band", "bands": bands})


def rasters_in(files: Sequence[str]) -> list[str]:
    """Raster files of the uppermost folder that holds any file."""
    depth = min((file.count("/") for file in files), default=0)
    shown = (file for file in files if file.count("/") == depth and not PurePosixPath(file).name.startswith("."))
    return [file for file in shown if file.lower().endswith(RASTERS)]


def band_files(files: Sequence[str], bands: Mapping[str, BandPreset]) -> list[str]:
    """The files that are called after a band; else the only file there is."""
    called = [file for file in files if band_called(bands, _word(file))]
    return called or (list(files) if len(files) == 1 else [])


def _word(file: str) -> str:
    """What a file's name ends with: B02 of x_B02.tif, x.B02.tif and x_B02_10m.jp2."""
    words = re.split(r"[_.]", PurePosixPath(file).stem)
    if len(words) > 1 and re.fullmatch(r"\d+m", words[-1], re.IGNORECASE):
        words.pop()
    return words[-1]


def locate(
    paths: Sequence[str], preset: Preset, bands: Mapping[str, BandPreset], assume_crs: str | None
) -> tuple[list[Located], list[str]]:
    """Open the files and say which of their bands are the preset's.

    Args:
        paths: files of one scene, as GDAL opens them.
        preset: whose `order` counts when nothing is named.
        bands: its bands (those of the variant).
        assume_crs: CRS for files without one.

    Returns:
        The bands in the preset's order, and notes for people.

    Raises:
        InputMissingError, InputError: see `geoseg.io.raster.describe`; or a band stands in two places.
    """
    from geoseg.io.raster import describe

    files = [describe(path, assume_crs=assume_crs) for path in paths]
    found = [(band, index, file) for file in files for index, band in _named(file, bands).items()]
    notes = []
    if not found and len(files) == 1:
        found = [(band, index, files[0]) for index, band in _by_position(files[0], preset, bands).items()]
        notes = [f"the bands have no names; taken by position: {', '.join(band for band, _, _ in found)}"] * bool(found)
    places: dict[str, Located] = {}
    for band, index, file in found:
        if band in places:
            raise InputError(
                f"{band} is both band {places[band].index} of {places[band].path} and band {index} of {file.path}; "
                f"name the files that belong together with --stack."
            )
        places[band] = _located(band, index, file)
    return [places[band] for band in bands if band in places], notes


def located_in(path: str, band: str, assume_crs: str | None) -> Located:
    """A band that is alone in its file, with what the file says of it.

    Raises:
        InputMissingError, InputError: see `geoseg.io.raster.describe`.
    """
    from geoseg.io.raster import describe

    return _located(band, 1, describe(path, assume_crs=assume_crs))


def _named(file: RasterFile, bands: Mapping[str, BandPreset]) -> dict[int, str]:
    """Band number → id, by description; the file's name speaks for a file of one band."""
    words = {index: text for index, text in enumerate(file.descriptions, start=1) if text and index != file.alpha}
    found = {index: band for index, text in words.items() if (band := band_called(bands, text))}
    word = band_called(bands, _word(file.path)) if file.count == 1 else None
    return found or ({1: word} if word else {})


def _by_position(file: RasterFile, preset: Preset, bands: Mapping[str, BandPreset]) -> dict[int, str]:
    numbers = [index for index in range(1, len(file.dtypes) + 1) if index != file.alpha]
    orders = preset.order or (tuple(bands),)
    fitting = next((order for order in orders if len(order) == len(numbers)), ())
    return dict(zip(numbers, fitting, strict=False))


def _located(band: str, index: int, file: RasterFile) -> Located:
    return Located(
        id=band,
        path=file.path,
        index=index,
        gsd_m=file.grid.gsd_m,
        scale=file.scales[index - 1],
        offset=file.offsets[index - 1],
        has_nodata=file.nodata is not None or file.has_mask or file.alpha is not None,
    )
