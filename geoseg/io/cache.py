"""The user's cache: what was fetched or made once and can be fetched or made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from geoseg.errors import UsageError


def cache_folder() -> Path:
    """Where geoseg keeps its cache; the folder need not exist.

    `$GEOSEG_CACHE`, else `$XDG_CACHE_HOME/geoseg`, else the place that the system has for it: `~/.cache/geoseg`,
    `~/Library/Caches/geoseg`, `%LOCALAPPDATA%/geoseg/Cache`.

    Raises:
        UsageError: this user has no home folder, and none of the variables is set.
    """
    own, xdg = os.environ.get("GEOSEG_CACHE"), os.environ.get("XDG_CACHE_HOME", "")
    if own:
        return Path(own).expanduser().absolute()
    if Path(xdg).is_absolute():  # the XDG base directory specification: relative ones are to be ignored
        return Path(xdg) / "geoseg"
    try:
        return _system_folder()
    except RuntimeError as error:
        raise UsageError("this user has no home folder to keep a cache in; set GEOSEG_CACHE to a folder.") from error


def _system_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "geoseg"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "geoseg" / "Cache"
    return Path.home() / ".cache" / "geoseg"
