"""A GeoPackage written while its polygons are still being found, by a process of its own.

GDAL's writer holds Python's interpreter, so a thread would gain nothing. The rows go through a file anyway
(`geoseg.io.polygon_rows`); the child follows that file as it grows and gives the rows to GDAL:

    store_polygons ──rows──▶ polygons (Arrow stream, grows) ──▶ early_child ──▶ NAME.polygons.gpkg
          └──── "so many bytes stand" ── stdin ───────────────────▲

Nothing hangs on the child: where it cannot start or finish, its file is removed and the polygons are written as ever.
"""

from __future__ import annotations

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
from geoseg.polygons.table import Polygons

LEAST_PX = 1 << 25
"""Smaller rasters have fewer polygons than the process takes time to start (0.4 s of one processor)."""
SIDE_FILES = ("-journal", "-wal", "-shm")

_log = logging.getLogger(__name__)


def early_writer(
    paths: Iterable[Path], grid: Grid, describe: Callable[[Polygons], Layer], *, dissolve: bool
) -> AbstractContextManager[EarlyWriter | None]:
    """A writer of one of the files, running inside the context; None where it would not pay.

    Args:
        paths: files that all hold the polygons of a raster; the first GeoPackage is written early.
        grid: of the raster.
        describe: the layer, known as soon as a first table is.
        dissolve: whether rows are known only when all polygons are.
    """
    found = next((path for path in paths if path.suffix.lower() == ".gpkg"), None)
    if found is None or dissolve or grid.width * grid.height < LEAST_PX:
        return nullcontext()
    return EarlyWriter(found, describe)


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
        self._said: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._told = False

    def __enter__(self) -> Self:
        """Start the process, whose imports take as long as the first polygons."""
        # What the parent imports, the child shall find: `python -m` knows neither the script's folder nor later ones.
        places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "geoseg.io.early_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                text=True,
                env=os.environ | {"PYTHONPATH": places},
            )
        except OSError as error:
            _log.info("no process to write %s early: %s", self.path, error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process if it still runs."""
        if self._child is not None:
            self._child.kill()
            _end(self._child)
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
            _end(self._child)
            code = self._child.returncode
            if code == 0:
                return True
            self._said.seek(0)
            _log.info("the process that writes %s ended with %s: %s", self.path, code, self._said.read())
        for end in ("", *SIDE_FILES):
            self.path.with_name(self.path.name + end).unlink(missing_ok=True)
        return False

    def _say(self, line: str) -> None:
        if self._child is None or self._child.stdin is None:
            return
        try:
            self._child.stdin.write(f"{line}\n")
            self._child.stdin.flush()
        except (BrokenPipeError, ValueError):
            _log.debug("the process that writes %s no longer listens", self.path)


def _end(child: subprocess.Popen[str]) -> None:
    """Close its ears and wait for it."""
    try:
        child.communicate()
    except (BrokenPipeError, ValueError):  # dead already, or ended before
        child.wait()
