"""What the assets of a STAC item say of bands and of quality layers.

Read are STAC 1.1's `bands` (whose fields may stand at the asset for all of them) and, before it, `eo:bands` with
`raster:bands` (extensions eo 1 and 2, raster 1 and 2). A scale or an offset counts only where it is stated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from geoseg.errors import InputError
from geoseg.io.bands import ALIASES
from geoseg.products.claim import band_called
from geoseg.products.loose import COMMON, RASTERS
from geoseg.products.preset import BandPreset
from geoseg.products.stac_source import Document, resolved

QUALITY_RULES = {
    "scl": "s2-scl",
    "qa_pixel": "landsat-qa",
    "fmask": "hls-fmask",
    "udm2": "planet-udm2",
    "ortho_udm2": "planet-udm2",
}
"""Key of an asset, in lower case → rule of `geoseg.quality`, where the layout is known."""
_PICTURES = {"thumbnail", "overview", "visual", "preview", "rendered_preview", "metadata", "tci", "true_color"}
"""Roles, and keys where roles do not tell, of what is made for the eye."""
_LAYERS = {"cloud", "cloud-shadow", "snow-ice", "saturation", "data-mask", "water-mask", "land-water", "angle"}
_WAVELENGTHS = {"rededge071": (0.69, 0.72), "rededge075": (0.73, 0.76), "rededge078": (0.77, 0.80)}
"""Micrometers; eo 1 calls all three rededge."""


@dataclass(frozen=True, kw_only=True)
class StatedBand:
    """A band of an item; None: the item does not say."""

    id: str
    """As the preset calls it, else as the item does."""
    name: str
    """As models call it, see `ProductBand`."""
    asset: str
    href: str
    """Path or address."""
    index: int
    """1-based."""
    scale: float | None
    offset: float | None
    nodata: float | None
    gsd_m: float | None
    rank: int
    """Which of two assets of one band and pixel size is better to read: the smaller; alone in its file before together
    with others (pictures for the eye), a GeoTIFF before a JPEG 2000."""


@dataclass(frozen=True, kw_only=True)
class StatedLayer:
    """A quality layer of an item."""

    asset: str
    href: str
    rule: str


def stated_bands(item: Document, place: str, known: Mapping[str, BandPreset]) -> list[StatedBand]:
    """The bands of an item, each once: the finest, and a GeoTIFF before a JPEG 2000.

    Args:
        item: see `geoseg.products.stac_source.read_item`.
        place: where it stands.
        known: bands of its sensor, for their ids and names; may be empty.

    Raises:
        InputError: damaged, or with an address that is not read.
    """
    found = [band for key, asset in _assets(item) for band in _bands(key, asset, place, known)]
    names = {band.name for band in found}
    best: dict[str, StatedBand] = {}
    for band in found:
        # As in a folder of bands: nir08 is the narrow one where there is a wide one beside it.
        name = band.name if band.name != "nir08" else "nir_narrow" if "nir" in names else "nir"
        held = best.get(name)
        if held is None or _order(band) < _order(held):
            best[name] = replace(band, name=name)
    return list(best.values())


def stated_layers(item: Document, place: str) -> list[StatedLayer]:
    """Quality layers whose layout is known, each once.

    Raises:
        InputError: damaged, or with an address that is not read.
    """
    best: dict[str, tuple[int, StatedLayer]] = {}
    for key, asset in _assets(item):
        rule = QUALITY_RULES.get(_plain_key(key))
        if rule is None or not _is_raster(asset):
            continue
        layer = StatedLayer(asset=key, href=resolved(_href(asset), place), rule=rule)
        rank = _rank(asset)
        if rule not in best or rank < best[rule][0]:
            best[rule] = rank, layer
    return [layer for _, layer in best.values()]


def _assets(item: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, asset in item["assets"].items():
        if isinstance(asset, dict) and asset.get("href"):
            yield key, asset


def _bands(key: str, asset: Mapping[str, Any], place: str, known: Mapping[str, BandPreset]) -> Iterator[StatedBand]:
    roles = {str(role).lower() for role in _listed(asset, "roles")}
    plain = _plain_key(key)
    if roles & (_PICTURES | _LAYERS) or plain in _PICTURES or plain in QUALITY_RULES or not _is_raster(asset):
        return
    described = _described(asset)
    for index, band in enumerate(described or [dict(asset)], start=1):
        words = [str(band[field]) for field in ("name", "eo:common_name", "common_name") if band.get(field)]
        if len(described) <= 1:
            words += [key, plain]
        called = _called(words, _number(band, "eo:center_wavelength", "center_wavelength"), known)
        if called is None:
            continue
        yield StatedBand(
            id=called[0],
            name=called[1],
            asset=key,
            href=resolved(_href(asset), place),
            index=index,
            scale=_number(band, "raster:scale", "scale"),
            offset=_number(band, "raster:offset", "offset"),
            nodata=_number(band, "nodata", finite=False),
            gsd_m=_number(band, "raster:spatial_resolution", "spatial_resolution", "gsd"),
            rank=_rank(asset) + 2 * (len(described) > 1),
        )


def _described(asset: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One mapping a band: its own fields over those that stand at the asset for all."""
    common = {
        field: asset[field]
        for field in ("nodata", "gsd", "raster:scale", "raster:offset", "raster:spatial_resolution", "eo:common_name")
        if field in asset
    }
    own = _listed(asset, "bands")
    if not own:
        eyes, rasters = _listed(asset, "eo:bands"), _listed(asset, "raster:bands")
        if eyes and rasters and len(eyes) != len(rasters):
            rasters = []  # nothing says which belongs to which
        own = [
            {**(rasters[n] if n < len(rasters) else {}), **(eyes[n] if n < len(eyes) else {})}
            for n in range(max(len(eyes), len(rasters)))
        ]
    return [{**common, **band} for band in own]


def _called(words: Sequence[str], wavelength: float | None, known: Mapping[str, BandPreset]) -> tuple[str, str] | None:
    """(id, name) of a band that is called by these words, the most telling first; None: it is none of ours."""
    for word in words:
        band = band_called(known, word) if known else None
        if band is not None:
            return band, known[band].name
    for word in words:
        name = word.lower()
        if name == "rededge" and wavelength is not None:
            name = next((n for n, (low, high) in _WAVELENGTHS.items() if low <= wavelength < high), name)
        if name != "nir08":  # see `stated_bands`
            name = ALIASES.get(name, name)
        if name in COMMON or name == "nir08":
            return words[0], name
    return None


def _is_raster(asset: Mapping[str, Any]) -> bool:
    kind = str(asset.get("type", "")).lower()
    if kind:
        return kind.startswith(("image/tiff", "image/vnd.stac.geotiff", "image/jp2", "image/geo"))
    return urlsplit(_href(asset)).path.lower().endswith(RASTERS)


def _rank(asset: Mapping[str, Any]) -> int:
    return int("jp2" in str(asset.get("type", "")).lower() or urlsplit(_href(asset)).path.lower().endswith(".jp2"))


def _href(asset: Mapping[str, Any]) -> str:
    """The asset's address; where that is no web address or path, an alternate that is (extension alternate-assets)."""
    href = str(asset["href"])
    alternates = asset.get("alternate")
    if urlsplit(href).scheme in {"", "file", "http", "https"} or not isinstance(alternates, dict):
        return href
    others = [str(other.get("href", "")) for other in alternates.values() if isinstance(other, dict)]
    return next((other for other in others if urlsplit(other).scheme in {"http", "https"}), href)


def _plain_key(key: str) -> str:
    """SCL of scl, SCL_20m and scl-jp2; B05 of B05_20m."""
    stem = key.lower().removesuffix("-jp2")
    head, _, tail = stem.rpartition("_")
    return head if head and tail.endswith("m") and tail[:-1].isdigit() else stem


def _order(band: StatedBand) -> tuple[float, int]:
    return (math.inf if band.gsd_m is None else band.gsd_m, band.rank)


def _listed(asset: Mapping[str, Any], field: str) -> list[Any]:
    found = asset.get(field)
    if not isinstance(found, list):
        return []
    return found if field == "roles" else [entry for entry in found if isinstance(entry, dict)]


def _number(band: Mapping[str, Any], *fields: str, finite: bool = True) -> float | None:
    """The first of the fields that is stated.

    Raises:
        InputError: it is no (finite) number.
    """
    for field in fields:
        value = band.get(field)
        if value is None:
            continue
        try:
            number = float(value)  # nodata may be "nan" or "inf"
        except (TypeError, ValueError):
            number = math.inf
        if finite and not math.isfinite(number):
            raise InputError(f"a STAC item states {field} {value!r}, no number; the item is damaged.")
        return number
    return None
