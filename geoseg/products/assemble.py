"""From files that a preset claims to the product: variant, metadata, radiometry, quality layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from geoseg.errors import InputError, UsageError
from geoseg.products.claim import Claim, native_files
from geoseg.products.facts import Facts
from geoseg.products.landsat_mtl import read_landsat_mtl
from geoseg.products.loose import Located, band_files, locate, located_in
from geoseg.products.preset import BandPreset, Preset, QualityPreset, Variant
from geoseg.products.product import Product, ProductBand, QualityLayer, Radiometry
from geoseg.products.s2_mtd import read_s2_mtd
from geoseg.products.tree import Tree

_READERS: dict[str, Callable[[Tree, str], Facts]] = {"s2-mtd": read_s2_mtd, "landsat-mtl": read_landsat_mtl}
_METADATA_NAMES = {"landsat-mtl": "{scene}_MTL.txt"}
"""Where the marker itself is not the metadata file."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that is known before the last numbers are put together."""

    claim: Claim
    facts: Facts | None
    variant: Variant | None
    located: Sequence[Located]
    notes: tuple[str, ...]

    @property
    def preset(self) -> Preset:
        """The preset behind the claim."""
        return self.claim.preset

    @property
    def bands(self) -> Mapping[str, BandPreset]:
        """Those of the variant, or the preset's own."""
        return self.variant.bands if self.variant else self.preset.bands


def assemble(claim: Claim, *, variant: str | None, assume_crs: str | None, paths: tuple[str, ...]) -> Product | None:
    """The product of a claim.

    Args:
        claim: the files; without patterns in its preset, those that may hold bands.
        variant: the user's word for the instrument.
        assume_crs: CRS for files without one.
        paths: what the user named.

    Returns:
        None when no band is found.

    Raises:
        UsageError: the preset has no such variant.
        InputMissingError, InputError, PolicyError: files or metadata that cannot be used.
    """
    facts = _facts(claim)
    chosen = _variant(claim, facts, variant)
    bands = chosen.bands if chosen else claim.preset.bands
    located, notes = _located(claim, bands, assume_crs)
    if not located:
        return None
    gathered = Gathered(claim=claim, facts=facts, variant=chosen, located=located, notes=notes)
    built, dropped = _bands(gathered)
    quality, missing = _quality(gathered)
    return Product(
        paths=paths,
        sensor=claim.sensor,
        title=f"{claim.preset.title}, {facts.detail}" if facts else claim.preset.title,
        scene_id=_scene_id(claim, facts),
        acquired=facts.acquired if facts else _time_in_name(claim),
        bands=built,
        grid_id=grid_id_of(built),
        quality=quality,
        radiometry=_radiometry(gathered),
        needs_offset=facts is None and claim.preset.offset == "ask",
        why=_why(gathered),
        notes=(*notes, *(facts.notes if facts else _without_facts(gathered)), *dropped, *missing, *_slow(claim.tree)),
        metadata=(claim.tree.path(facts.file),) if facts else (),
    )


def _facts(claim: Claim) -> Facts | None:
    reader = claim.preset.metadata
    if reader is None:
        return None
    files = (
        (claim.marker,) if claim.marker else claim.beside(_METADATA_NAMES[reader]) if reader in _METADATA_NAMES else ()
    )
    if len(files) > 1:
        raise InputError(f"{claim.tree.root} holds {len(files)} metadata files ({', '.join(files[:3])}); keep one.")
    return _READERS[reader](claim.tree, files[0]) if files else None


def _variant(claim: Claim, facts: Facts | None, asked: str | None) -> Variant | None:
    """The instrument: the user's word, the metadata's scene name, or the files'."""
    variants = claim.preset.variants
    if asked is not None:
        if asked not in variants:
            known = ", ".join(f"{claim.sensor}:{name}" for name in variants) or "none"
            raise UsageError(f"--sensor {claim.sensor}:{asked}: there is no such variant; known: {known}.")
        return variants[asked]
    if not variants:
        return None
    names = [facts.scene_id if facts else None, claim.scene, *(Path(file.file).name for file in claim.files)]
    for name in filter(None, names):
        for candidate in variants.values():
            if candidate.match.match(name):
                return candidate
    raise InputError(
        f"{claim.tree.root}: neither names nor metadata say which instrument of {claim.sensor} this is, and their band "
        f"numbers differ; pass --sensor {' or '.join(f'{claim.sensor}:{name}' for name in variants)}."
    )


def _located(
    claim: Claim, bands: Mapping[str, BandPreset], assume_crs: str | None
) -> tuple[list[Located], tuple[str, ...]]:
    if not any(file.band for file in claim.files):
        names = [file.file for file in claim.files]
        paths = [claim.tree.path(name) for name in (names if claim.alone else band_files(names, bands))]
        located, notes = locate(paths, claim.preset, bands, assume_crs)
        return located, tuple(notes)
    out = []
    for band, file in native_files(claim, bands).items():
        path, gsd_m = claim.tree.path(file.file), file.gsd_m or bands[band].gsd_m or claim.preset.gsd_m
        if gsd_m is None or (claim.preset.scale is None and not claim.preset.variants):
            out.append(located_in(path, band, assume_crs))
        else:
            out.append(Located(id=band, path=path, index=1, gsd_m=gsd_m))
    return out, ()


def _bands(gathered: Gathered) -> tuple[tuple[ProductBand, ...], tuple[str, ...]]:
    """The bands, and which were left out since the metadata do not calibrate them."""
    facts = gathered.facts
    known = [at for at in gathered.located if facts is None or at.id in facts.gains]
    if facts is not None and not known:
        raise InputError(
            f"{gathered.claim.tree.path(facts.file)} holds no gain for any of the bands "
            f"{', '.join(at.id for at in gathered.located)}; give the files with --sensor none, --stack and --scale."
        )
    left_out = [at.id for at in gathered.located if at not in known]
    text = f"left out, for the metadata have no gain for them: {', '.join(left_out)}"
    return tuple(_band(gathered, at) for at in known), (text,) * bool(left_out)


def _band(gathered: Gathered, at: Located) -> ProductBand:
    scale, offset = gathered.facts.gains[at.id] if gathered.facts else _preset_gain(gathered, at)
    return ProductBand(
        id=at.id,
        name=gathered.bands[at.id].name,
        path=at.path,
        index=at.index,
        scale=scale,
        offset=offset,
        nodata=None if at.has_nodata else gathered.preset.nodata,
        gsd_m=at.gsd_m,
    )


def _preset_gain(gathered: Gathered, at: Located) -> tuple[float, float]:
    """Of the band, its variant, the preset, or the file itself."""
    levels = (gathered.bands[at.id], gathered.variant, gathered.preset)
    scale = next((level.scale for level in levels if level and level.scale is not None), None)
    if scale is None:
        return at.scale, at.offset
    offset = next((level.offset for level in levels if level and level.offset is not None), 0.0)
    return scale, 0.0 if isinstance(offset, str) else offset


def _radiometry(gathered: Gathered) -> Radiometry:
    if gathered.facts is not None:
        return "metadata"
    levels = (gathered.variant, gathered.preset, *gathered.bands.values())
    return "preset" if any(level is not None and level.scale is not None for level in levels) else "none"


def _without_facts(gathered: Gathered) -> tuple[str, ...]:
    preset = gathered.preset
    if preset.metadata == "landsat-mtl":
        if _radiometry(gathered) == "none":
            return ("no MTL: digital numbers, not reflectance",)
        sun = "" if any(at.id.startswith("SR_") for at in gathered.located) else ", sun angle unknown, not corrected"
        return (f"no MTL: constant gains{sun}",)
    return ()


def _quality(gathered: Gathered) -> tuple[tuple[QualityLayer, ...], tuple[str, ...]]:
    """The layers that are there, and notes on those that are not or cannot be read."""
    own = gathered.variant.quality if gathered.variant else None
    layers, notes = [], []
    for entry in gathered.preset.quality if own is None else own:
        files = gathered.claim.beside(entry.file)
        name = entry.file.replace("{scene}", "*")
        if not files:
            notes.append(f"no quality layer {name} here: clouds cannot be masked by it")
        elif entry.rule is None and not entry.choices:
            notes.append(f"{name} is not used: no rule knows this instrument's bits")
        else:
            path = gathered.claim.tree.path(files[0])
            layers.append(QualityLayer(path=path, rule=_rule(entry, gathered.facts), choices=entry.choices))
    return tuple(layers), tuple(notes)


def _rule(entry: QualityPreset, facts: Facts | None) -> str | None:
    if entry.rule is None and facts is not None and facts.quality_rule in entry.choices:
        return facts.quality_rule
    return entry.rule


def grid_id_of(bands: Sequence[ProductBand]) -> str:
    """Id of the finest band that is neither pan, thermal nor cirrus."""
    seen = [band for band in bands if not band.name.startswith(("pan", "thermal", "cirrus"))] or bands
    return min(seen, key=lambda band: band.gsd_m).id


def _scene_id(claim: Claim, facts: Facts | None) -> str:
    if claim.scene:
        return claim.scene
    if facts is not None and facts.scene_id:
        return facts.scene_id
    return Path(claim.files[0].file).stem if claim.alone else claim.tree.stem


def _time_in_name(claim: Claim) -> datetime | None:
    if claim.time is None or claim.preset.time_format is None:
        return None
    try:
        return datetime.strptime(claim.time, claim.preset.time_format).replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(
            f"{claim.scene}: {claim.time} is not a time of the form {claim.preset.time_format}."
        ) from error


def _why(gathered: Gathered) -> str:
    claim = gathered.claim
    if claim.marker is not None:
        return f"{Path(claim.marker).name} stands in {_scene_id(claim, gathered.facts)}"
    if claim.preset.files is not None and any(
        claim.preset.files.fullmatch(Path(at.path).name) for at in gathered.located
    ):
        example = Path(gathered.located[0].path).name
        return f"{example} is named as {claim.preset.title} names its files"
    found = ", ".join(f"{Path(at.path).name}:{at.index} is {at.id}" for at in gathered.located[:3])
    return f"bands by description, file name or position: {found}{', …' * (len(gathered.located) > 3)}"


def _slow(tree: Tree) -> tuple[str, ...]:
    return ("a compressed tar is unpacked anew for each band; a plain .tar or a folder is much faster",) * tree.is_slow
