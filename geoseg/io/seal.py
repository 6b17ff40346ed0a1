"""Sync and checksum of finished files, begun while others are still being made."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from geoseg.io.posix import sync_file
from geoseg.io.record import FileEntry


class Seals:
    """Files of one folder, on the disk and measured.

    Args:
        folder: where they are made; it may not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="seal")
        self._begun: dict[str, tuple[int, Future[FileEntry]]] = {}

    def begin(self, name: str) -> None:
        """Take a file as finished: it is not written to again."""
        path = self._folder / name
        self._begun[name] = path.stat().st_mtime_ns, self._pool.submit(_seal, path)

    def of_all(self, names: Sequence[str]) -> dict[str, FileEntry]:
        """Wait for, or seal, the folder's files.

        Raises:
            OSError: the disk refuses.
            ValueError: the folder holds other files than these, or a finished one was written to.
        """
        found = sorted(path.name for path in self._folder.iterdir())
        if found != sorted(names):
            raise ValueError(f"staged files {found} are not the announced outputs {sorted(names)}.")
        return {name: self._of(name) for name in names}

    def close(self) -> None:
        """Begin no more, and wait for the one at work."""
        self._pool.shutdown(cancel_futures=True)

    def _of(self, name: str) -> FileEntry:
        path = self._folder / name
        if name not in self._begun:
            return _seal(path)
        written, sealing = self._begun[name]
        entry = sealing.result()
        if path.stat().st_mtime_ns != written:
            raise ValueError(f"{name!r} was written to after it was finished.")
        return entry


def _seal(path: Path) -> FileEntry:
    sync_file(path)
    return FileEntry.of(path)
