"""Publishing: outputs appear under their final names complete, together, and described by a record (law 8).

Everything is made in a work folder on the same file system. Publishing removes the old record first and writes the
new one last, so that a crash leaves the old output, the new one, or files without a record; never a record that
lies about the files beside it. Finished tiles in the work folder outlive a run that fails, for the next one.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from geoseg.errors import InputError, OutputExistsError
from geoseg.io import posix
from geoseg.io.failpoint import failpoint
from geoseg.io.lock import OutputLock
from geoseg.io.record import (
    FileEntry,
    check_name,
    key_differences,
    read_record,
    recorded,
    records_beside,
    sealed,
    shown,
    sizes_match,
    verify_record,
    with_record,
)
from geoseg.io.seal import Seals
from geoseg.io.sidecars import STYLE, remove_stale_sidecars
from geoseg.io.tile_file import TileFolder
from geoseg.io.work_folder import WorkFolder

_log = logging.getLogger(__name__)

__all__ = ["FileEntry", "Publication", "recorded", "verify_record"]


class Publication:
    """All files of one run, published together; a context manager.

    Without `commit`, or with an exception, leaving it leaves the old output as it was; of the work folder only
    finished tiles stay, which the next run of the same key finds.

    Args:
        out_dir: where the files will stand; created if missing.
        record_name: the commit record's file name, `<stem>.json`.
        key: what the result depends on, plain JSON; equal key = equal result.
        overwrite: replace a finished output of another key, and files without record.
        break_lock: take the lock from a holder who may be alive.
        restart: discard the tiles of interrupted runs.
        names: final names of all files that the run makes, without the record.
        tiles_key: the part of the key that tiles depend on, plain JSON; None: there are no tiles.
        update_by: gives what of a key must be equal for this output to replace a finished one without `overwrite`;
            None: nothing that is finished is replaced without.

    Attributes:
        up_to_date: True when the output already stands, complete and of this key: there is nothing to do.
    """

    def __init__(
        self,
        out_dir: Path,
        record_name: str,
        key: Mapping[str, Any],
        *,
        overwrite: bool = False,
        break_lock: bool = False,
        restart: bool = False,
        names: Sequence[str],
        tiles_key: Mapping[str, Any] | None = None,
        update_by: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
    ) -> None:
        for name in (record_name, *names):
            check_name(name)
        if len({record_name, *names}) != len(names) + 1:
            raise ValueError(f"output names {[record_name, *names]} repeat.")
        self.up_to_date = self._published = False
        self.key: dict[str, Any] = json.loads(json.dumps(key, allow_nan=False))
        self._folder, self._names, self._record = out_dir, tuple(names), out_dir / record_name
        self._overwrite, self._restart, self._update_by = overwrite, restart, update_by
        prefix = f".{record_name.removesuffix('.json')}.geoseg"
        self._lock = OutputLock(out_dir / f"{prefix}.lock", break_lock)
        self._work = WorkFolder(out_dir, prefix, self.key, tiles_key)
        self._staged = self._work.staged
        self._seals = Seals(self._staged)
        self._unfinished = out_dir / f"{prefix}.unfinished"
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        """Look at what is there, take the lock, make the work folder.

        Raises:
            OutputExistsError: the output exists with another key, or is nobody's, or is locked, or interrupted work
                of another key lies there, or the folder cannot be created.
            OutputError: the disk is full.
        """
        with posix.disk_errors("output folder", self._folder):
            if self._stands():
                self._tidy()
                return self
            self._folder.mkdir(parents=True, exist_ok=True)
            with ExitStack() as stack:
                stack.enter_context(self._lock)
                if self._stands():  # another run may have finished while we looked
                    return self
                stack.callback(self._close_work)
                stack.callback(self._seals.close)
                self._work.open(restart=self._restart)
                failpoint("plan")
                self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the work folder but for its tiles, release the lock."""
        self._cleanup.close()

    @property
    def work(self) -> Path:
        """The work folder, for intermediate files."""
        return self._work.path

    @property
    def tiles(self) -> TileFolder:
        """Finished tiles, an interrupted run's and our own."""
        return TileFolder(self._work.tiles, self._work.digest)

    def stage(self, name: str) -> Path:
        """Where to write the file that will be published under a name.

        Raises:
            ValueError: the name was not announced.
        """
        if name not in self._names:
            raise ValueError(f"{name!r} is not among the announced outputs {list(self._names)}.")
        return self._staged / name

    def finished(self, name: str) -> None:
        """A staged file is complete: its way to the disk and its checksum need not wait for the others."""
        self._seals.begin(name)

    def commit(self, make_record: Callable[[dict[str, FileEntry]], Mapping[str, Any]]) -> None:
        """Publish all staged files, then the record.

        Args:
            make_record: from the files by name to the record's document; key and file list are added under
                `geoseg:key` and `geoseg:files` unless it places them (at the top or among `properties`).

        Raises:
            OutputError: the disk refuses; the old output stands unless its replacement had begun.
            OutputExistsError: another run has broken our lock.
            ValueError: staged and announced files differ.
        """
        with posix.disk_errors("publishing into", self._folder):
            entries = self._seals.of_all(self._names)
            document = with_record(make_record(entries), self.key, entries)
            draft = self.work / "record"
            draft.write_bytes(sealed(document).encode())
            posix.sync_file(draft)
            failpoint("publish:staged")
            self._lock.check()
            self._withdraw_others(entries)
            self._withdraw_old()
            failpoint("publish:record-removed")
            self._remove_stale_sidecars()
            for name in self._names:
                (self._staged / name).replace(self._folder / name)
                failpoint("publish:between-renames")
            posix.sync_folder(self._folder)
            failpoint("publish:before-record")
            draft.replace(self._record)
            posix.sync_folder(self._folder)
            failpoint("publish:recorded")
            self._unfinished.unlink()
            self._published = True

    def _stands(self) -> bool:
        """Decide by what stands in the folder: True = nothing to do, False = go.

        Raises:
            OutputExistsError: it must not be replaced.
        """
        for name in (*self._names, self._record.name):
            if (self._folder / name).is_dir():
                raise OutputExistsError(f"output {self._folder / name} is a folder; move it or choose another -o.")
        found, owned = self._complete(), set[str]()
        if found is not None:
            key, files = found
            self.up_to_date = key == self.key and set(self._names) <= files.keys()
            if self.up_to_date or self._overwrite:
                return self.up_to_date
            if self._update_by is None:
                lines = key_differences(key, self.key) or ["files: the record lacks some of those asked for"]
            else:
                lines = key_differences(self._update_by(key), self._update_by(self.key))
            if lines:
                raise OutputExistsError(
                    f"output {self._record} exists, made with other settings ({shown(lines)}); "
                    f"pass --overwrite to replace it, or choose another -o."
                )
            owned = {self._record.name, *files}
        ours = set() if self._overwrite else owned | self._left_by_crash() | self._shared_styles()
        foreign = [
            name
            for name in (*self._names, self._record.name)
            if name not in ours and os.path.lexists(self._folder / name)
        ]
        if foreign and not self._overwrite:
            raise OutputExistsError(
                f"output {self._folder / foreign[0]} exists without a record of a finished run; "
                f"pass --overwrite to replace it, or choose another -o."
            )
        return False

    def _shared_styles(self) -> set[str]:
        """Style files of other outputs of our stem; whether they are ours, too, is seen when ours is written."""
        beside = records_beside(self._folder, self._record.name)
        return {name for files in beside.values() for name in files if name.endswith(STYLE)}

    def _complete(self) -> tuple[dict[str, Any], dict[str, FileEntry]] | None:
        """Key and files of a finished output, if one stands here with all its files."""
        if not self._record.is_file():
            return None
        try:
            key, files = recorded(read_record(self._record))
        except InputError:  # someone's own JSON file: no output of ours, and so reported as foreign
            return None
        return (key, files) if sizes_match(self._folder, files) else None

    def _left_by_crash(self) -> set[str]:
        """Names whose files are the debris of a run that died while publishing."""
        if self._record.exists() or not self._unfinished.is_file():
            return set()
        return set(self._unfinished.read_text("utf-8").splitlines())

    def _close_work(self) -> None:
        if self._lock.held():  # else the folder is another run's now
            self._work.close(keep=not self._published)

    def _tidy(self) -> None:
        """Remove what a run left that died between its record and its end."""
        if not any(path.exists() for path in (self._unfinished, self.work, self._lock.path)):
            return
        try:
            with self._lock:
                self._work.close(keep=False)
                self._unfinished.unlink(missing_ok=True)
        except OutputExistsError:
            _log.debug("left %s to the run that holds its lock", self._folder)

    def _withdraw_old(self) -> None:
        """Remove the old record, then the files that only it described.

        The note of what is about to be replaced lets a later run tell debris from somebody's own files.
        """
        found = self._complete()
        owned = self._left_by_crash() | (found[1].keys() if found else set())
        self._unfinished.write_text("\n".join(sorted(owned | set(self._names))), "utf-8")
        posix.sync_file(self._unfinished)
        posix.sync_folder(self._folder)
        self._record.unlink(missing_ok=True)
        posix.sync_folder(self._folder)
        for name in owned - set(self._names):
            check_name(name)
            (self._folder / name).unlink(missing_ok=True)

    def _withdraw_others(self, entries: Mapping[str, FileEntry]) -> None:
        """Records of other outputs that would no longer be true go, too; without --overwrite nothing is touched.

        Raises:
            OutputExistsError: one of our files would replace a different one of another output.
        """
        for record, files in records_beside(self._folder, self._record.name).items():
            lost = [name for name, entry in entries.items() if name in files and files[name].sha256 != entry.sha256]
            if lost and not self._overwrite:
                raise OutputExistsError(
                    f"output {self._folder / lost[0]} belongs to {record.name}; "
                    f"pass --overwrite to replace it, or choose another -o."
                )
            if lost:
                record.unlink()

    def _remove_stale_sidecars(self) -> None:
        beside = records_beside(self._folder, self._record.name).values()
        remove_stale_sidecars(self._folder, self._names, {name for files in beside for name in files})
