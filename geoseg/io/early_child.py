"""The child of `geoseg.io.early`: `python -m geoseg.io.early_child`, told line by line on standard input.

The first line is JSON: path, rows, layer. Each that follows is the number of bytes of the file of rows that stand, the
last is `end`. The parent holds its end of the pipe until the child has ended: when that is closed, the parent is gone,
and the child ends as soon as GDAL lets it, at the latest after the batch that it writes or the index.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from queue import Queue
from typing import IO


class _Without(MetaPathFinder):
    """Neither is there: pyogrio and pyarrow look for both, which takes longer than everything else here."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname in {"geopandas", "pandas"}:
            raise ModuleNotFoundError(fullname)


if __name__ == "__main__":
    sys.meta_path.insert(0, _Without())

import pyarrow as pa  # noqa: E402

from geoseg.io.ogr import Layer, write_layer  # noqa: E402

_ORPHANED = 3


class Growing(io.RawIOBase):
    """A file that is read as far as it stands, waiting for more until the end is told."""

    def __init__(self, file: io.FileIO, told: Callable[[], str]) -> None:
        self._file = file
        self._told = told
        self._stands: int | None = 0
        """None: all of it."""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        """Fill the buffer, unless the file ends before."""
        wanted = self._file.tell() + len(buffer)
        while self._stands is not None and self._stands < wanted:
            line = self._told()
            self._stands = None if line == "end\n" else int(line)
        return self._file.readinto(buffer)


def _listen(told: IO[str], lines: Queue[str]) -> None:
    for line in told:
        lines.put(line)
    os._exit(_ORPHANED)


def main() -> None:
    """Write one file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal's processes; the parent decides
    lines: Queue[str] = Queue()
    threading.Thread(target=_listen, args=(sys.stdin, lines), daemon=True).start()
    asked = json.loads(lines.get())
    layer = asked["layer"]
    layer["about"] = tuple(tuple(pair) for pair in layer["about"])
    with Path(asked["rows"]).open("rb", buffering=0) as file, pa.ipc.open_stream(Growing(file, lines.get)) as rows:
        write_layer(rows.schema, rows, Path(asked["path"]), Layer(**layer))


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    try:
        main()
    except BaseException:  # noqa: BLE001 (whatever it is, the parent reads it)
        traceback.print_exc()
        os._exit(1)
    # Python's own end would wait for the thread that listens, and then give up with an error.
    os._exit(0)
