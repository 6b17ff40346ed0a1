"""What stands in a folder of results: whether it is what the records say, and what no record speaks of."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from geoseg.errors import InputError
from geoseg.io.lock import Holder
from geoseg.io.record import FILES, KEY, SEAL, read_record, recorded, seal_problem, verify_record

_WORK = re.compile(r"\..*\.geoseg-[0-9a-f]{12}")
_LOCK = re.compile(r"\..*\.geoseg\.lock.*")
_UNFINISHED = re.compile(r"\..*\.geoseg\.unfinished")
_MARKS = tuple(mark.encode() for mark in (KEY, FILES, SEAL))
_LARGEST_RECORD = 16 * 2**20


@dataclass
class Audit:
    """What was found; all paths begin with the folder that was asked for."""

    records: list[Path] = field(default_factory=list)
    files: int = 0
    """Recorded files, and the records themselves."""
    bytes: int = 0
    """Of the recorded files."""
    damaged: list[str] = field(default_factory=list)
    """What is not as it was written, a sentence each."""
    unnamed: list[Path] = field(default_factory=list)
    """Files that no record beside them names."""
    unfinished: list[str] = field(default_factory=list)
    """Work folders, locks and notes of runs that go on or died, a sentence each."""

    def add_folder(self, folder: Path) -> None:
        """Look at a folder and all below it, work folders of runs excepted; links to folders are not followed.

        Every recorded file is read.
        """
        for place, inner, names in os.walk(folder, onerror=self._unlisted):
            here = Path(place)
            for name in sorted(filter(_WORK.fullmatch, inner)):
                self.unfinished.append(f"{here / name} is the work of a run that goes on or was interrupted.")
            inner[:] = sorted(name for name in inner if not _WORK.fullmatch(name))
            self._add_files(here, sorted(names))

    def add_record(self, path: Path) -> set[str]:
        """Look at one record and the files that it names.

        Returns:
            names of the files that are accounted for; none where this is somebody's own JSON file.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            self.damaged.append(f"{path} cannot be read ({error.strerror}).")
            return {path.name}
        try:
            files = recorded(read_record(path))[1]
        except InputError:
            if not any(mark in content for mark in _MARKS):
                return set()
            self.damaged.append(f"{path} is a damaged record: what it described cannot be verified.")
            return {path.name}
        self.records.append(path)
        self.files += 1 + len(files)
        self.bytes += sum(entry.size for entry in files.values())
        problem = seal_problem(content)
        self.damaged += [f"{path} {problem}"] * (problem is not None)
        self.damaged += [f"{path.parent / line} ({path.name})" for line in verify_record(path)]
        return {path.name, *files}

    def _add_files(self, folder: Path, names: list[str]) -> None:
        named: set[str] = set()
        for name in names:
            path = folder / name
            if name.endswith(".json") and path.is_file() and path.stat().st_size <= _LARGEST_RECORD:
                named |= self.add_record(path)
        for name in names:
            if name not in named:
                self._add_other(folder / name)

    def _add_other(self, path: Path) -> None:
        if _LOCK.fullmatch(path.name):
            self.unfinished.append(f"{path} {_held(path)}")
        elif _UNFINISHED.fullmatch(path.name):
            self.unfinished.append(f"{path} is the note of a run that publishes, or died while it did.")
        else:
            self.unnamed.append(path)

    def _unlisted(self, error: OSError) -> None:
        self.damaged.append(f"{error.filename} cannot be listed ({error.strerror}).")


def _held(lock: Path) -> str:
    try:
        holder = Holder.from_bytes(lock.read_bytes())
    except OSError:  # released since it was listed
        return "was a lock, just released."
    if holder is None:
        return "is a lock whose holder it does not tell."
    who = f"process {holder.pid} on {holder.host} since {holder.since}"
    return f"is the lock of a dead run ({who})." if holder.is_dead() else f"is the lock of {who}."
