"""A GeoPackage written while its polygons are still being found, by a process of its own.

GDAL's writer holds Python's interpreter, so a thread would gain nothing. The rows go through a file anyway
(`geoseg.io.polygon_rows`); the child follows that file as it grows and gives the rows to GDAL:

    store_polygons ──rows──▶ polygons (Arrow stream, grows) ──▶ early_child ──▶ NAME.polygons.gpkg
          └──── "so many bytes stand" ── stdin ───────────────────▲

Nothing hangs on the child: where it cannot start or finish, its file is removed and the polygons are written as ever.
"""

from __future__ import annotations

import glob
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from geoseg.grid import Grid
from geoseg.io.ogr import Layer
from geoseg.io.sidecars import SQLITE
from geoseg.polygons.table import Polygons

LEAST_PX = 1 << 25
"""For smaller rasters starting the process, 0.4 s of one processor, takes more time than it saves."""
MEMORY = 300 * 2**20
"""Bytes of the process: its libraries, a batch of rows, GDAL's spatial index; 272 MB for 1.4 million polygons."""

_log = logging.getLogger(__name__)


def pays(grid: Grid, *, dissolve: bool, max_memory: str | None) -> bool:
    """Whether polygons of a raster are written early, in the formats for which that is possible.

    Args:
        grid: of the raster.
        dissolve: whether rows are known only when all polygons are.
        max_memory: what this process may come to; where that is bounded, no second one takes more.
    """
    return not dissolve and max_memory is None and grid.width * grid.height >= LEAST_PX


def early_writer(
    paths: Iterable[Path], describe: Callable[[Polygons], Layer], *, wanted: bool
) -> AbstractContextManager[EarlyWriter | None]:
    """A writer of one of the files, running inside the context; None where there is none for it.

    Args:
        paths: files that all hold the same polygons; the first GeoPackage is written early.
        describe: the layer, known as soon as a first table is.
        wanted: as `pays` says.
    """
    found = next((path for path in paths if path.suffix.lower() == ".gpkg"), None)
    return nullcontext() if found is None or not wanted else EarlyWriter(found, describe)


class EarlyWriter:
    """The parent's side; a context manager that leaves no process behind.

    Args:
        path: the `.gpkg` to create, which does not exist.
        describe: the layer, known as soon as a first table is.
    """

    def __init__(self, path: Path, describe: Callable[[Polygons], Layer]) -> None:
        self.path = path
        self._describe = describe
        self._child: subprocess.Popen[str] | None = None
        self._said: IO[bytes] | None = None
        self._told = False

    def __enter__(self) -> Self:
        """Start the process, whose imports take as long as the first polygons."""
        try:
            self._said = tempfile.TemporaryFile()
            # What the parent imports, the child shall find; `-P`: but nothing by chance in the current folder.
            places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path if isinstance(place, str))
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "geoseg.io.early_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                text=True,
                encoding="utf-8",
                env=os.environ | {"PYTHONPATH": places},
            )
        # No program, no room for a file, or an environment that cannot be passed on.
        except (OSError, TypeError, ValueError) as error:
            _log.info("no process to write %s early: %s", self.path, error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process if it still runs."""
        if self._child is not None:
            self._child.kill()
            self._end(self._child)
        if self._said is not None:
            self._said.close()

    def grown(self, table: Polygons, rows: Path, end: int) -> None:
        """Tell that a file of rows has grown.

        Args:
            table: any of the map.
            rows: the file, an Arrow stream.
            end: its bytes up to here stand.
        """
        if not self._told:
            self._told = True
            self._say(json.dumps({"path": str(self.path), "rows": str(rows), "layer": asdict(self._describe(table))}))
        self._say(str(end))

    def finished(self) -> bool:
        """Wait until the whole file of rows is written; False: it must be written anew, and nothing of it is left."""
        if self._child is not None and self._told:
            self._say("end")
            self._child.wait()
            if self._child.returncode == 0:
                return True
            _log.info("the process that writes %s ended with %s: %s", self.path, self._child.returncode, self._words())
        # Where its index outgrows memory GDAL begins a file for it, too.
        left = [self.path.with_name(self.path.name + end) for end in ("", *SQLITE)]
        left += self.path.parent.glob(f"{glob.escape(self.path.name)}.tmp_rtree_*")
        for path in left:
            path.unlink(missing_ok=True)
        return False

    def _say(self, line: str) -> None:
        if self._child is None or self._child.stdin is None:
            return
        try:
            self._child.stdin.write(f"{line}\n")
            self._child.stdin.flush()
        except (OSError, ValueError):  # Windows calls a pipe that nobody reads an invalid argument
            _log.debug("the process that writes %s no longer listens", self.path)

    def _words(self) -> str:
        """What the process said of its end."""
        if self._said is None:
            return ""
        self._said.seek(0)
        return self._said.read().decode("utf-8", "backslashreplace")

    @staticmethod
    def _end(child: subprocess.Popen[str]) -> None:
        try:
            child.communicate()
        except (OSError, ValueError):
            child.wait()
