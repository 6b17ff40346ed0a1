"""Settings from YAML files, checked as strictly as flags: unknown and doubled keys are errors with their place."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from geoseg.errors import ConfigError, UsageError
from geoseg.settings import RunSettings
from geoseg.strict_yaml import load_yaml

_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2  # a value made of aliases of aliases is small in memory and endless in print


def load_settings(path: Path) -> RunSettings:
    """Run settings of a YAML file with the sections read, predict, schedule, vector, output.

    Raises:
        InputMissingError: no such file.
        ConfigError: an unknown key or a bad value; the message names file and key.
    """
    return settings_of(load_yaml(path, "settings"), f"settings {path}")


def settings_of(raw: dict[str, Any], what: str) -> RunSettings:
    """Run settings of such a mapping.

    Args:
        raw: section → key → value.
        what: what errors begin with.

    Raises:
        ConfigError: an unknown key or a bad value.
    """
    try:
        return TypeAdapter(RunSettings).validate_python(_as_lists(raw))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        own = first.get("ctx", {}).get("error")
        said = str(own) if isinstance(own, UsageError) else f"{first['msg']} (got {_SHORT.repr(first['input'])})."
        raise ConfigError(f"{what}: {where}: {said}") from error


def _as_lists(raw: dict[str, Any]) -> dict[str, Any]:
    """`scale: 0.0001` and `formats: gpkg,shp` mean what they mean as flags."""
    for section, defaults in vars(RunSettings()).items():
        given = raw.get(section)
        if not isinstance(given, dict):
            continue
        for name, default in vars(defaults).items():
            value = given.get(name)
            if isinstance(default, tuple) and isinstance(value, str | int | float):
                # A mask's own reasons are separated by commas.
                given[name] = value.split(",") if isinstance(value, str) and name != "mask" else [value]
            elif name == "collar" and isinstance(value, int):
                given[name] = str(value)
    return raw
