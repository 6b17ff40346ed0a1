"""Manifests in YAML, as strict as settings files.

defaults: {predict: {model: landcover}}      # as in configs/run/all-settings.yaml
name: "{parent}_{stem}"                      # of scenes without a name
scenes:
- north/scene.tif                          # an input alone
- inputs: [s2_10m.tif, s2_20m.tif]         # with its own settings
name: virginia
read: {together: stack, scale: 0.0001}
- glob: incoming/*.tif                     # each file a scene
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from geoseg.errors import ConfigError
from geoseg.manifest.entry import Entry, Listing, Raw
from geoseg.manifest.listing_files import matching
from geoseg.settings import RunSettings
from geoseg.strict_yaml import load_yaml

_SECTIONS = frozenset(get_type_hints(RunSettings)) - {"output"}
_OF_ALL = {"defaults", "name", "folder", "min_clear", "scenes"}
_OF_ONE = {"inputs", "glob", "name", "min_clear", *_SECTIONS}


def read_yaml(path: Path) -> Listing:
    """Entries of a YAML manifest.

    Raises:
        InputMissingError: no such file, or a glob that matches nothing.
        ConfigError: an unknown key or a bad value; the message names file and place.
    """
    raw = load_yaml(path, "manifest")
    _check_keys(raw, _OF_ALL, f"manifest {path}")
    scenes = raw.get("scenes")
    if not isinstance(scenes, list) or not scenes:
        raise ConfigError(f"manifest {path} must list its scenes: scenes: [a.tif, b.tif].")
    entries = []
    for number, scene in enumerate(scenes, 1):
        entries += _entries(scene, f"manifest {path}: scene {number}")
    patterns = {name: _text(raw[name], f"manifest {path}: {name}") for name in ("name", "folder") if name in raw}
    defaults = _mapping(raw.get("defaults") or {}, f"manifest {path}: defaults")
    _check_keys(defaults, _SECTIONS | {"output"}, f"manifest {path}: defaults")
    return Listing(entries=entries, defaults=defaults, min_clear=raw.get("min_clear"), **patterns)


def _entries(scene: Any, where: str) -> list[Entry]:
    if isinstance(scene, str):
        return [Entry(inputs=(scene,), where=where)]
    scene = _mapping(scene, where)
    _check_keys(scene, _OF_ONE, where)
    if ("inputs" in scene) == ("glob" in scene):
        raise ConfigError(f"{where}: say what it is made from: inputs: [a.tif], or glob: folder/*.tif.")
    settings = {name: _mapping(scene[name], f"{where}: {name}") for name in _SECTIONS if name in scene}
    own: dict[str, Any] = {"settings": settings, "min_clear": scene.get("min_clear")}
    if "glob" in scene:
        if "name" in scene:
            raise ConfigError(f"{where}: a glob may give many scenes, which cannot all be called {scene['name']!r}.")
        return [Entry(inputs=(found,), where=where, **own) for found in matching(_text(scene["glob"], where))]
    name = None if scene.get("name") is None else _text(scene["name"], f"{where}: name")
    given = [scene["inputs"]] if isinstance(scene["inputs"], str) else scene["inputs"]
    return [Entry(inputs=_texts(given, f"{where}: inputs"), where=where, name=name, **own)]


def _check_keys(raw: Raw, known: set[str] | frozenset[str], where: str) -> None:
    unknown = next((str(key) for key in raw if key not in known), None)
    if unknown is not None:
        raise ConfigError(f"{where}: unknown key {unknown!r}; it may have {', '.join(sorted(known))}.")


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} must be a mapping of keys to values, not {type(value).__name__}.")
    return dict(value)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{where} must be text, not {type(value).__name__}.")
    return str(value)


def _texts(value: Any, where: str) -> tuple[str, ...]:
    try:
        return tuple(TypeAdapter(Annotated[list[str], Field(min_length=1)]).validate_python(value))
    except ValidationError as error:
        raise ConfigError(f"{where} must be a list of paths (got {value!r}).") from error
