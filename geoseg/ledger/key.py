"""What a scene's result was made from, told without opening anything: files by size and time, model, settings.

The run's own key looks into files and decides what its tiles are worth; this one decides, in a millisecond a scene,
whether to ask. What a server holds cannot be told so: a scene from an address is done again when asked to (`retry`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.errors import GeosegError, without_secrets
from geoseg.io.record import key_differences, shown
from geoseg.io.vrt import is_vrt, sources_of
from geoseg.ledger.scene import BatchScene
from geoseg.model.file import find_model
from geoseg.products.stac_source import document_of, is_stac
from geoseg.stac import settings_json

Key = dict[str, Any]
_SIDECARS = (".msk", ".aux.xml")
_HOW = ("overwrite", "restart", "break_lock", "update")
"""Settings of the output that change no result."""


def key_of(scene: BatchScene, files: Iterable[str] = ()) -> Key:
    """What the scene's result depends on, as it is now; plain JSON.

    Args:
        scene: inputs and settings.
        files: more files that were read for it, as only a run finds them out.
    """
    settings = settings_json(scene.settings)
    del settings["schedule"]
    settings["output"] = {name: value for name, value in settings["output"].items() if name not in _HOW}
    model, model_file = _model(scene.settings.predict.model)
    found = dict.fromkeys([*_read_by(scene), *files])
    found.pop(model_file, None)  # its digest says more than its time
    key = {
        "geoseg": __version__,
        "inputs": [_named(path) for path in scene.inputs],
        "folder": scene.folder,
        "min_clear": scene.min_clear,
        "model": model,
        "settings": settings,
        "files": {path: _state(path) for path in found},
    }
    plain: Key = json.loads(without_secrets(json.dumps(key)))
    return plain


def change(old: Key, new: Key) -> str | None:
    """Why a result is not what would be made now, on one line; None: it is.

    Args:
        old: of the result.
        new: `key_of` with the files of `old`.
    """
    before, after = old["files"], new["files"]
    lines = [
        f"{Path(path).name} {_how(before.get(path), state)}"
        for path, state in after.items()
        if before.get(path) != state
    ]
    if old["model"] != new["model"] and old["settings"]["predict"]["model"] == new["settings"]["predict"]["model"]:
        lines.append(f"model {new['settings']['predict']['model']} is another file")
    rest = [{name: value for name, value in key.items() if name not in {"files", "model"}} for key in (old, new)]
    lines += [line.removeprefix("settings.") for line in key_differences(*rest)]
    return shown(lines) if lines else None


def _how(before: list[int] | None, after: list[int] | None) -> str:
    return "is gone" if after is None else "is new" if before is None else "changed"


def _named(path: str) -> str:
    """Absolute, so that a call from another folder means the same; addresses as they are."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def _model(name: str) -> tuple[str, str]:
    """Digest and path."""
    try:
        found = find_model(name)
    except GeosegError as error:  # the run will say it
        return str(error), ""
    return found.sha256, str(found.path)


def _state(path: str) -> list[int] | None:
    """Size and modification time in ns; None: no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a hundred thousand of them)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _read_by(scene: BatchScene) -> Iterator[str]:
    for path in scene.inputs:
        yield from _files_of(Path(document_of(path) if is_stac(path) else path).absolute())
    for text in _texts(settings_json(scene.settings)):
        yield from (str(Path(part).absolute()) for part in _paths_in(text) if Path(part).is_file())


def _files_of(path: Path) -> Iterator[str]:
    """The file and what changes it, every file of a folder; nothing for an address."""
    if path.is_dir():
        for folder, _, names in os.walk(path):
            yield from (str(Path(folder, name)) for name in names)
    elif path.is_file():
        yield str(path)
        yield from (f"{path}{suffix}" for suffix in _SIDECARS)
        if path.suffix.lower() == ".vrt" and is_vrt(path):
            yield from (source for source in _sources(path) if Path(source).is_file())


def _sources(path: Path) -> list[str]:
    try:
        return sources_of(path)
    except GeosegError:  # the run will say it
        return []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _paths_in(text: str) -> Iterator[str]:
    """What may be a file in `x.gpkg`, `red=x.tif:1`, `x.tif:RULE:cloud`."""
    for part in (text, text.partition("=")[2]):
        while part:
            yield part
            part = part.rpartition(":")[0]  # noqa: PLW2901 (shorter each time)
