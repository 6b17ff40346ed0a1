"""STAC items in a file whose assets lie on this computer: an ItemCollection (a GeoJSON FeatureCollection), or one item.

Bands are the assets' by common name: `eo:bands` (https://github.com/stac-extensions/eo 1.x) or `bands` (STAC 1.1).
Numbers are scaled only where every band that is used says how; nothing is ever guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from geoseg.errors import ConfigError, InputMissingError, without_secrets
from geoseg.manifest.entry import Entry, Listing
from geoseg.manifest.names import usable


def read_stac(path: Path) -> Listing:
    """An entry for each item.

    Raises:
        InputMissingError: no such file.
        ConfigError: no item or collection of items, or an item without a band.
    """
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputMissingError(f"manifest {path}: {error.strerror}.") from error
    except ValueError as error:
        raise ConfigError(f"manifest {path} is no JSON ({error}).") from error
    kind = found.get("type") if isinstance(found, Mapping) else None
    items = found["features"] if kind == "FeatureCollection" and "features" in found else [found]
    if kind not in {"FeatureCollection", "Feature"} or not items:
        raise ConfigError(f"manifest {path} is no collection of STAC items (a FeatureCollection), nor one item.")
    return Listing(entries=[_entry(item, path) for item in items])


def _entry(item: Any, path: Path) -> Entry:
    try:
        name, properties, assets = str(item["id"]), dict(item["properties"]), dict(item["assets"])
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"manifest {path}: an item lacks id, properties or assets.") from error
    where = f"manifest {path}: item {name}"
    bands = {common: spot for asset in assets.values() for common, spot in _bands(asset, path)}
    if not bands:
        raise ConfigError(f"{where}: no asset names its bands (eo:bands or bands with a common_name).")
    files = tuple(dict.fromkeys(file for file, _, _ in bands.values()))
    read: dict[str, Any] = {"bands": [f"{name}={file}:{index}" for name, (file, index, _) in bands.items()]}
    if len(files) > 1:
        read["together"] = "stack"
    stated = [scaling for _, _, scaling in bands.values()]
    if all(scaling is not None for scaling in stated):
        read |= {"scale": [s[0] for s in stated if s], "offset": [s[1] for s in stated if s]}
    if properties.get("datetime"):
        read["datetime"] = str(properties["datetime"])
    return Entry(inputs=files, where=where, settings={"read": read}, name=usable(name))


def _bands(asset: Any, path: Path) -> Iterator[tuple[str, tuple[str, int, tuple[float, float] | None]]]:
    """Common name → file, number, (scale, offset) where stated."""
    if not isinstance(asset, Mapping) or "href" not in asset:
        return
    named = asset.get("eo:bands") or asset.get("bands") or []
    for index, band in enumerate(named, 1):
        common = band.get("common_name") or band.get("eo:common_name")
        if common:
            yield str(common), (_place(str(asset["href"]), path), index, _scaling(asset, band, index))


def _scaling(asset: Mapping[str, Any], band: Mapping[str, Any], index: int) -> tuple[float, float] | None:
    rasters = asset.get("raster:bands") or []
    raster = rasters[index - 1] if index <= len(rasters) else {}
    said = {**asset, **raster, **band}
    scale = said.get("raster:scale", said.get("scale"))
    offset = said.get("raster:offset", said.get("offset"))
    return None if scale is None else (float(scale), float(offset or 0.0))


def _place(href: str, path: Path) -> str:
    """A file of this computer, relative ones from the manifest's folder; addresses as they are."""
    parts = urlsplit(href)
    if parts.scheme in {"http", "https"}:
        return href
    local = unquote(parts.path) if parts.scheme == "file" else href
    found = path.parent / local
    if not found.exists():
        raise InputMissingError(f"manifest {path}: asset {without_secrets(href)} is not there ({found}).")
    return str(found)
