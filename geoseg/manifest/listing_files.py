"""Scenes that are simply there: what a glob matches, what a folder holds."""

from __future__ import annotations

import glob
from pathlib import Path

from geoseg.errors import InputMissingError
from geoseg.manifest.entry import Entry, Listing
from geoseg.products.tree import archive_suffix

RASTERS = frozenset({".tif", ".tiff", ".vrt", ".jp2", ".img"})
_METADATA = ("MTD_MSI*.xml", "*_MTL.txt")


def read_glob(pattern: str) -> Listing:
    """Each match is a scene.

    Raises:
        InputMissingError: nothing matches.
    """
    return Listing(entries=[Entry(inputs=(path,), where=pattern) for path in matching(pattern)])


def matching(pattern: str) -> list[str]:
    """Paths that a glob (`**` for any depth) matches, sorted.

    Raises:
        InputMissingError: none.
    """
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (patterns may be absolute)
    if not found:
        raise InputMissingError(f"nothing matches {pattern!r}; mind where geoseg is called, and quote the pattern.")
    return found


def read_folder(folder: Path, results: Path | None = None) -> Listing:
    """Each raster, archive and folder with rasters in it is a scene.

    Args:
        folder: looked at without its subfolders' own.
        results: of the batch: no scene, where it lies in the folder.

    Raises:
        InputMissingError: there is none.
    """
    own = None if results is None else results.resolve()
    found = [path for path in sorted(folder.iterdir()) if _is_scene(path) and path.resolve() != own]
    if not found:
        raise InputMissingError(f"folder {folder} holds no raster, product or archive.")
    return Listing(entries=[Entry(inputs=(str(path),), where=str(path)) for path in found])


def is_product(folder: Path) -> bool:
    """Whether a folder is a scene by itself: a provider's product with its metadata."""
    named = folder.name.upper().endswith(".SAFE")
    return named or any(next(folder.glob(pattern), None) is not None for pattern in _METADATA)


def _is_scene(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.is_dir():
        return is_product(path) or any(inner.suffix.lower() in RASTERS for inner in path.iterdir())
    return path.suffix.lower() in RASTERS or archive_suffix(path.name) is not None
