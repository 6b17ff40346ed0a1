"""Sensor presets: one YAML each, which says how a product's files are named and what their numbers mean."""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from geoseg.errors import ConfigError, UsageError
from geoseg.quality import is_rule
from geoseg.shipped import shipped
from geoseg.strict_yaml import load_yaml

USER_FOLDER = "GEOSEG_SENSORS"
"""Environment variable: a folder of the user's own presets."""
_SHORT = reprlib.Repr()


def _compiled(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return re.compile(value, re.IGNORECASE)  # archives change hands, and case, on other file systems
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error


def _spelled_out(value: Any) -> Any:
    """`[blue, green]` and `{1: blue}` and `{B02: {name: blue}}` are one thing."""
    if isinstance(value, list):
        value = {str(item): str(item) for item in value}
    if not isinstance(value, dict):
        return value
    return {str(key): {"name": entry} if isinstance(entry, str) else entry for key, entry in value.items()}


Pattern = Annotated[re.Pattern[str], BeforeValidator(_compiled)]
"""Matched against a whole file name, in any case."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
CommonName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BandPreset(_Frozen):
    """One band; what is left out is as the preset says for all."""

    name: CommonName
    gsd_m: Positive | None = None
    scale: Positive | None = None
    offset: Finite | None = None
    aliases: tuple[str, ...] = ()
    """Other words for it in file names and band descriptions."""


Bands = Annotated[dict[str, BandPreset], BeforeValidator(_spelled_out)]
"""Id (B02, SR_B4) → band."""


class QualityPreset(_Frozen):
    """A quality layer that comes with the bands."""

    file: str
    """File name with `*` for anything and `{scene}` for what the group `scene` of `files` matched."""
    rule: str | None = None
    """A name of `geoseg.quality.RULES`; without one, metadata or the user decide among `choices`."""
    choices: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Self:
        for rule in (*self.choices, *([self.rule] if self.rule else [])):
            if not is_rule(rule):
                raise ValueError(f"mask rule {rule!r} is unknown")
        return self


class Variant(_Frozen):
    """One instrument of a family whose band ids mean different things."""

    match: Pattern
    """Told by the scene's name, from its start."""
    bands: Bands
    scale: Positive | None = None
    offset: Finite | None = None
    quality: tuple[QualityPreset, ...] | None = None
    """Instead of the preset's."""


class Preset(_Frozen):
    """A sensor or a data provider's product."""

    title: Annotated[str, Field(min_length=1)]
    bands: Bands = {}
    variants: dict[str, Variant] = {}
    order: tuple[tuple[str, ...], ...] = ()
    """Band ids of files whose bands have no names, one list for each number of bands; empty: as `bands`."""
    gsd_m: Positive | None = None
    """None: as the files."""
    scale: Positive | None = None
    """Reflectance = DN·scale + offset; None: digital numbers, as the files say."""
    offset: Finite | Literal["ask"] | None = None
    """`ask`: only product metadata knows it; without them the user must."""
    nodata: Finite | None = None
    """Fill value; None: as the files say."""
    files: Pattern | None = None
    """Names of band files; groups `band` (an id), `scene`, `time`, `gsd` (metres) are understood."""
    marker: Pattern | None = None
    """Name of the file that proves the product and lies in its uppermost folder."""
    single: bool = False
    """True: `files` names a scene of one multi-band file, which is recognized without a folder round it."""
    time_format: str | None = None
    """strptime format (UTC) of the group `time`."""
    metadata: Literal["s2-mtd", "landsat-mtl"] | None = None
    """Reader of the provider's metadata, which come before the numbers here."""
    quality: tuple[QualityPreset, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.bands) == bool(self.variants):
            raise ValueError("needs either bands or variants")
        for bands in (self.bands, *(variant.bands for variant in self.variants.values())):
            _check_words(bands)
        unknown = {band for order in self.order for band in order} - set(self.bands)
        if unknown:
            raise ValueError(f"order names unknown bands: {', '.join(sorted(unknown))}")
        if self.marker is not None and self.files is None:
            raise ValueError("marker needs files, the pattern of the band files")
        groups = self.files.groupindex if self.files else {}
        if self.time_format is not None and "time" not in groups:
            raise ValueError("time_format needs a group (?P<time>…) in files")
        if self.marker is None and self.files is not None and not self.single and "band" not in groups:
            raise ValueError("files needs a group (?P<band>…), or single: true")
        return self


def _check_words(bands: Mapping[str, BandPreset]) -> None:
    seen: dict[str, str] = {}
    for band, entry in bands.items():
        for word in {word_key(text) for text in (band, entry.name, *entry.aliases)}:
            if seen.setdefault(word, band) != band:
                raise ValueError(f"{word!r} means both {seen[word]} and {band}")


def word_key(text: str) -> str:
    """B02, b2 and B2 are one word."""
    return re.sub(r"(?<=[a-z])0+(?=\d)", "", text.strip().lower())


def load_preset(path: Path) -> Preset:
    """A preset of a YAML file.

    Raises:
        InputMissingError: no such file.
        ConfigError: an unknown key or a bad value; the message names file and key.
    """
    raw = load_yaml(path, "sensor preset")
    if isinstance(raw.get("order"), list) and all(isinstance(item, str) for item in raw["order"]):
        raw["order"] = [raw["order"]]
    try:
        return Preset.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        own = first.get("ctx", {}).get("error")
        said = str(own) if isinstance(own, ValueError) else f"{first['msg']} (got {_SHORT.repr(first['input'])})"
        raise ConfigError(f"sensor preset {path}: {where}: {said}.") from error


def all_presets() -> dict[str, Path]:
    """Name → file of the shipped presets and of the user's in `$GEOSEG_SENSORS`, which come first.

    Raises:
        ConfigError: the variable names no folder.
    """
    folders = [shipped("sensors")]
    own = os.environ.get(USER_FOLDER)
    if own:
        folders.append(Path(own))
        if not folders[-1].is_dir():
            raise ConfigError(f"{USER_FOLDER}={own} is no folder; set it to the one that holds your presets (*.yaml).")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


@lru_cache(maxsize=256)
def _unchanged(path: Path, mtime_ns: int) -> Preset:  # noqa: ARG001 (the cache's key)
    """Read once by a process that opens many scenes: all of them take as long as a megapixel does."""
    return load_preset(path)


def find_presets(sensor: str) -> dict[str, Preset]:
    """Presets that `--sensor` allows, by name: all for `auto`, else the named one.

    Raises:
        UsageError: no preset has this name.
        InputMissingError, ConfigError: see `load_preset`, `all_presets`.
    """
    if sensor.lower().endswith((".yaml", ".yml")):
        return {Path(sensor).stem: load_preset(Path(sensor))}
    known = all_presets()
    if sensor == "auto":
        return {name: _unchanged(path, path.stat().st_mtime_ns) for name, path in known.items()}
    if sensor not in known:
        raise UsageError(
            f"--sensor {sensor!r} is unknown; use auto, none, {', '.join(sorted(known))}, or a file x.yaml."
        )
    return {sensor: load_preset(known[sensor])}
