"""Files that GDAL, SQLite and GIS programs believe beside a file, whoever wrote them.

A journal is rolled back into a new database, old overviews and nodata are shown for a new raster, an old index hides
new polygons.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

SQLITE = ("-journal", "-wal", "-shm")
_APPENDED = {".tif": (".ovr", ".msk", ".aux.xml"), ".gpkg": SQLITE}
_REPLACING = {".tif": (".tfw", ".wld"), ".shp": (".qix", ".sbn", ".sbx", ".cpg")}
STYLE = ".qml"
"""QGIS looks for STEM.qml whatever the suffix, so outputs of one stem may share it."""


def remove_stale_sidecars(folder: Path, names: Collection[str], theirs: Collection[str]) -> None:
    """Remove what would be believed beside files that are about to be replaced.

    Args:
        folder: where they stand.
        names: of the files; those among them that are sidecars themselves stay.
        theirs: files of other outputs, which stay, too.
    """
    kept = {*names, *theirs}
    for destination in (folder / name for name in names):
        suffix = destination.suffix.lower()
        believed = [destination.with_name(destination.name + end) for end in _APPENDED.get(suffix, ())]
        believed += [destination.with_suffix(end) for end in (*_REPLACING.get(suffix, ()), STYLE)]
        for sidecar in believed:
            if sidecar.name not in kept:
                sidecar.unlink(missing_ok=True)
