"""The commit record: a JSON file, written last, that describes every file beside it (law 8)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, InputMissingError

KEY = "geoseg:key"
FILES = "geoseg:files"
SEAL = "geoseg:seal"
"""SHA-256 of the record's own text with sixty-four zeros in this place."""
_ABSENT = object()
_UNSEALED = "0" * 64
_LARGEST_RECORD = 16 * 2**20
_SHOWN = 3


@dataclass(frozen=True)
class FileEntry:
    """One published file."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    """Hex digest."""

    def __post_init__(self) -> None:
        check_name(self.name)

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """Measure a file."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.name, path.stat().st_size, digest)


def check_name(name: str) -> None:
    """Refuse what is not a plain file name: records may come from anyone, and their files get deleted.

    Raises:
        ValueError: empty, a path, or a relative part.
    """
    if name in {"", ".", ".."} or set(name) & {"/", "\\", "\0", ":"}:
        raise ValueError(f"{name!r} is not a plain file name.")


def with_record(document: Mapping[str, Any], key: Mapping[str, Any], entries: Mapping[str, FileEntry]) -> Any:
    """The document with key and file list, unless it has placed them itself."""
    files = [asdict(entry) for entry in entries.values()]
    place = {} if KEY in document or KEY in document.get("properties", {}) else {KEY: dict(key), FILES: files}
    # Through JSON, so that tuples and paths compare equal with what will be read back.
    return json.loads(json.dumps({**document, **place}, allow_nan=False))


def sealed(document: Mapping[str, Any]) -> str:
    """The text of a record file, with a digest of itself as its last item."""
    rest = {name: value for name, value in document.items() if name != SEAL}
    text = json.dumps({**rest, SEAL: _UNSEALED}, indent=1, ensure_ascii=False)
    place = text.rindex(_UNSEALED)
    return text[:place] + hashlib.sha256(text.encode()).hexdigest() + text[place + len(_UNSEALED) :]


def seal_problem(content: bytes) -> str | None:
    """What is wrong with the text of a record, as far as its own digest tells; None: it is as it was written."""
    head, found, tail = content.rpartition(f'"{SEAL}": "'.encode())
    if not found:
        return "has no digest of itself: it is damaged, or was not written by geoseg."
    digest, rest = tail[: len(_UNSEALED)], tail[len(_UNSEALED) :]
    if hashlib.sha256(head + found + _UNSEALED.encode() + rest).hexdigest().encode() != digest:
        return "differs from what was written: its own digest tells."
    return None


def recorded(document: Any) -> tuple[dict[str, Any], dict[str, FileEntry]]:
    """Key and files (by name) of a commit record, at its top or among its `properties`.

    Raises:
        InputError: the document is no commit record.
    """
    try:
        place = document if KEY in document else document["properties"]
        files = [FileEntry(str(row["name"]), int(row["size"]), str(row["sha256"])) for row in place[FILES]]
        return dict(place[KEY]), {entry.name: entry for entry in files}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"no commit record of geoseg: {KEY} or {FILES} is missing or malformed.") from error


def read_record(path: Path) -> Any:
    """The JSON document of a record file.

    Raises:
        InputMissingError: no such file.
        InputError: not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputMissingError(f"record {path} does not exist; the run did not finish, start it again.") from error
    except (ValueError, OSError) as error:
        raise InputError(f"record {path} is unreadable ({error}); run again with --overwrite.") from error


def verify_record(path: Path, names: Collection[str] | None = None) -> list[str]:
    """Compare the files beside a record with it, byte for byte; one line a problem, empty when all is well.

    Args:
        path: of the record.
        names: of the recorded files to look at; None: all.

    Raises:
        InputMissingError: no such record.
        InputError: not a record.
    """
    _, files = recorded(read_record(path))
    problems = []
    for entry in files.values():
        if names is not None and entry.name not in names:
            continue
        file = path.with_name(entry.name)
        if not file.is_file():
            problems.append(f"{entry.name} is missing.")
            continue
        try:
            found = FileEntry.of(file)
        except OSError as error:  # a bad sector, or no permission
            problems.append(f"{entry.name} cannot be read ({error.strerror}).")
            continue
        if found.size != entry.size:
            problems.append(f"{entry.name} has {found.size} bytes, the record says {entry.size}.")
        elif found.sha256 != entry.sha256:
            problems.append(f"{entry.name} has sha256 {found.sha256}, the record says {entry.sha256}.")
    return problems


def records_beside(folder: Path, but: str) -> dict[Path, dict[str, FileEntry]]:
    """Commit records of other outputs in a folder, with the files that each describes."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name == but or path.stat().st_size > _LARGEST_RECORD:
            continue
        try:
            found[path] = recorded(read_record(path))[1]
        except InputError:  # somebody's own JSON file
            continue
    return found


def sizes_match(folder: Path, files: Mapping[str, FileEntry]) -> bool:
    """True when every recorded file is there with its size (a look without reading)."""
    paths = [(folder / entry.name, entry.size) for entry in files.values()]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def key_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two keys disagree about, one `part: old → new` each, nested parts dotted."""
    lines = []
    for part in sorted(old.keys() | new.keys()):
        before, after = old.get(part, _ABSENT), new.get(part, _ABSENT)
        if isinstance(before, dict) and isinstance(after, dict):
            lines += [f"{part}.{line}" for line in key_differences(before, after)]
        elif _alike(before, after):
            numbered = ({str(n): value for n, value in enumerate(values, start=1)} for values in (before, after))
            lines += [f"{part}.{line}" for line in key_differences(*numbered)]
        elif before != after:
            lines.append(f"{part}: {_short(before)} → {_short(after)}")
    return lines


def shown(differences: Sequence[str]) -> str:
    """The first few of many differences, on one line."""
    more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
    return "; ".join(differences[:_SHOWN]) + more


def _alike(before: Any, after: Any) -> bool:
    """Lists of one length that hold more than plain values: they differ somewhere inside."""
    lists = isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    return lists and any(isinstance(value, (dict, list)) for value in (*before, *after))


def _short(value: Any) -> str:
    text = "absent" if value is _ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
