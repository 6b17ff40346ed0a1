"""A STAC item becomes a product: bands, numbers, clouds, date and name as the item states them.

Nothing is scaled that the item does not scale. Sentinel-2's +1000 of processing baseline 04.00 is where catalogs differ
(https://github.com/Element84/earth-search/issues/66, …/71; https://github.com/microsoft/PlanetaryComputer/issues/134):
Earth Search's first collection took it off the pixels, says so in `earthsearch:boa_offset_applied`, and states the
offset of the original all the same. So this property goes before a stated offset, that before the baseline; where
a scale is stated and none of the three, the user is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from geoseg.errors import InputError
from geoseg.io.signing import hooked
from geoseg.products.assemble import grid_id_of
from geoseg.products.facts import utc
from geoseg.products.loose import located_in
from geoseg.products.preset import BandPreset, Preset, find_presets
from geoseg.products.product import Product, ProductBand, QualityLayer
from geoseg.products.stac_assets import StatedBand, stated_bands, stated_layers
from geoseg.products.stac_source import Document, is_web, read_item

BASELINE_WITH_OFFSET = (4, 0)
"""Sentinel-2 processing baseline since which stored numbers are larger by 1000."""
ADDED = 1000.0
_SENSORS = {
    "s2-l2a": r"sentinel-?2\S*l2a|S2[A-D]_MSIL2A",
    "s2-l1c": r"sentinel-?2\S*l1c|S2[A-D]_MSIL1C",
    "landsat-c2-l2": r"landsat-?c2-?l2|L[COTE]0\d_L2S[PR]_",
    "hls-s30": r"hls\S*s30",
    "hls-l30": r"hls\S*l30",
}
"""Preset → what collection and id of its items hold."""
_APPLIED = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINES = ("s2:processing_baseline", "processing:version", "sentinel:processing_baseline")


@dataclass(frozen=True, kw_only=True)
class _Offset:
    """What to do about Sentinel-2's added 1000."""

    known: float | None = None
    """Number that goes before the stated offsets, for stored numbers; None: as stated."""
    missing: float | None = None
    """The same, where an offset is not stated; None: nothing tells."""
    note: str | None = None


def item_product(text: str, sensor: str = "auto", *, sign: str | None = None, assume_crs: str | None = None) -> Product:
    """The product of a STAC item.

    Args:
        text: see `geoseg.products.stac_source`.
        sensor: a preset for ids and names of bands; `auto`: by collection and id, `none`: by common names alone.
        sign: hook for addresses of assets, see `geoseg.io.signing`.
        assume_crs: CRS of assets without one, where they must be opened to tell their pixel size.

    Raises:
        InputMissingError, InputError, PolicyError, TemporaryError: item or assets cannot be had or used.
        UsageError, ConfigError: no such preset or hook.
    """
    item, place = read_item(text)
    name, preset, known = _sensor(item, sensor)
    stated = stated_bands(item, place, known)
    if not stated:
        raise InputError(
            f"{item['id']}: none of its assets ({', '.join(item['assets']) or 'it has none'}) is called like a band; "
            f"name one of them as a raster, with --bands."
        )
    rule = _offset_rule(item) if name.startswith("s2-") else _Offset(missing=0.0)
    bands = tuple(_band(band, rule, known, sign, assume_crs) for band in stated)
    layers = tuple(
        QualityLayer(path=_signed(layer.href, sign), rule=layer.rule) for layer in stated_layers(item, place)
    )
    acquired, when = _acquired(item, place)
    title = "STAC item" if preset is None else preset.title
    return Product(
        paths=(text,),
        sensor=name,
        title=title,
        scene_id=re.sub(r"[/\\:;!\x00-\x1f]|^\s|^\.+$", "_", item["id"]),
        acquired=acquired,
        bands=bands,
        grid_id=grid_id_of(bands),
        quality=layers,
        radiometry="none" if all(band.scale is None for band in bands) else "metadata",
        needs_offset=any(_unknown(band, rule) for band in stated),
        why=f"STAC item {item['id']}{_of_collection(item)}",
        notes=(*_scale_notes(stated, rule, name), *when, *(() if layers else (_NO_LAYER,))),
        metadata=(text,),
    )


_NO_LAYER = "no asset is a quality layer of a known layout: clouds cannot be masked by it"


def _sensor(item: Document, asked: str) -> tuple[str, Preset | None, Mapping[str, BandPreset]]:
    """Name of the preset, the preset, and its bands; `none` where none fits."""
    name, _, variant = asked.partition(":")
    if asked == "auto":
        told = f"{item.get('collection') or ''} {item['id']}"
        found = (preset for preset, pattern in _SENSORS.items() if re.search(pattern, told, re.IGNORECASE))
        name = next(found, "none")
    if name == "none":
        return name, None, {}
    ((name, preset),) = find_presets(asked if asked.endswith((".yaml", ".yml")) else name).items()
    if not preset.variants:
        return name, preset, preset.bands
    fitting = [v for key, v in preset.variants.items() if key == variant or (not variant and v.match.match(item["id"]))]
    return (name, preset, fitting[0].bands) if fitting else ("none", None, {})


def _band(
    band: StatedBand, rule: _Offset, known: Mapping[str, BandPreset], sign: str | None, assume_crs: str | None
) -> ProductBand:
    path = _signed(band.href, sign)
    gsd_m = band.gsd_m
    if gsd_m is None or gsd_m <= 0:
        gsd_m = (known[band.id].gsd_m if band.id in known else None) or located_in(path, band.id, assume_crs).gsd_m
    scale, offset = _gain(band, rule)
    return ProductBand(
        id=band.id,
        name=band.name,
        path=path,
        index=band.index,
        scale=scale,
        offset=offset,
        nodata=band.nodata,
        gsd_m=gsd_m,
    )


def _gain(band: StatedBand, rule: _Offset) -> tuple[float | None, float | None]:
    """Scale and offset of reflectance; None and None where the item states neither."""
    if band.scale is None and band.offset is None:
        return None, None
    scale = 1.0 if band.scale is None else band.scale
    if scale == 0:
        raise InputError(f"asset {band.asset} states scale 0, which would make every pixel equal; pass --scale.")
    if rule.known is not None:
        return scale, rule.known * scale
    if band.offset is not None:
        return scale, band.offset
    return scale, (rule.missing or 0.0) * scale


def _unknown(band: StatedBand, rule: _Offset) -> bool:
    return band.scale is not None and band.offset is None and rule.known is None and rule.missing is None


def _offset_rule(item: Document) -> _Offset:
    properties = item["properties"]
    applied = next((properties[field] for field in _APPLIED if isinstance(properties.get(field), bool)), None)
    told = next((str(properties[field]) for field in _BASELINES if properties.get(field)), None)
    numbers = None if told is None else re.fullmatch(r"(\d+)\.(\d+)", told)
    if applied:
        return _Offset(
            known=0.0, note="the +1000 of processing baseline 04.00 was taken off these pixels, says the item"
        )
    if numbers is None:
        return _Offset()
    if (int(numbers[1]), int(numbers[2])) < BASELINE_WITH_OFFSET:
        return _Offset(missing=0.0, note=f"processing baseline {told}: no offset")
    if applied is None:
        return _Offset(note=f"processing baseline {told}")
    return _Offset(missing=-ADDED, note=f"processing baseline {told}: stored numbers hold +1000, says the item")


def _scale_notes(stated: Sequence[StatedBand], rule: _Offset, sensor: str) -> tuple[str, ...]:
    without = [band.id for band in stated if band.scale is None and band.offset is None]
    notes = [] if rule.note is None else [rule.note]
    if len(without) == len(stated):
        hint = ""
        if sensor.startswith("s2-"):
            hint = "; for Sentinel-2 pass --scale 0.0001, and --offset -0.1 if they hold the +1000 of baseline 04.00"
        notes.append(f"the item states neither scale nor offset: numbers are those of the files{hint}")
    elif without:
        notes.append(f"the item states no scale for {', '.join(without)}: numbers are those of the files")
    return tuple(notes)


def _acquired(item: Document, place: str) -> tuple[datetime | None, tuple[str, ...]]:
    """`datetime`; a span is told, and not taken for an instant."""
    properties = item["properties"]
    told = properties.get("datetime")
    first, last = properties.get("start_datetime"), properties.get("end_datetime")
    if told:
        return utc(str(told), place), ()
    if first and first == last:
        return utc(str(first), place), ()
    return None, (f"taken some time in {first}/{last}; --datetime says when",) if first and last else ()


def _of_collection(item: Document) -> str:
    collection = item.get("collection")
    return f" of collection {collection}" if collection else ""


def _signed(href: str, sign: str | None) -> str:
    return hooked(href, sign) if is_web(href) else href
