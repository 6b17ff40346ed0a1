"""A finished run as its STAC item tells it, for `--replay`: how it was called, what it depended on, what it made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, without_secrets
from geoseg.io.record import FileEntry, key_differences, read_record, recorded
from geoseg.stories.watcher import Watcher

CALL = "geoseg:call"
"""Item of the record: how the run was called."""


@dataclass(frozen=True)
class Call:
    """How a run was called."""

    inputs: tuple[str, ...]
    """As given; of addresses without their queries."""
    working_folder: str
    """Where relative paths begin, as seen from the record's folder."""
    written: datetime
    """The time that files carry whose format has one, with time zone."""

    @classmethod
    def now(cls, inputs: Sequence[str | Path], folder: Path, past: Past | None = None) -> Call:
        """This call; with the time of the run that it repeats.

        Args:
            inputs: as given.
            folder: of the record.
            past: the run that is repeated.
        """
        written = datetime.now(UTC).replace(microsecond=0) if past is None else past.call.written
        place = Path(os.path.relpath(Path.cwd(), folder)).as_posix()
        return cls(tuple(without_secrets(str(path)) for path in inputs), place, written)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, the inverse of `from_json`."""
        return {
            "inputs": list(self.inputs),
            "working_folder": self.working_folder,
            "written": self.written.isoformat(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Call:
        """Read what `to_json` wrote."""
        written = datetime.fromisoformat(plain["written"])
        return cls(tuple(map(str, plain["inputs"])), str(plain["working_folder"]), written)


@dataclass(frozen=True)
class Past:
    """A finished run."""

    record: Path
    name: str
    """Stem of its output names."""
    call: Call
    key: dict[str, Any]
    """What its result depends on."""
    settings: dict[str, Any]
    """As plain JSON."""
    model_sha256: str
    files: dict[str, FileEntry]

    @classmethod
    def read(cls, record: Path) -> Past:
        """A run from its STAC item.

        Raises:
            InputMissingError: there is no such file.
            InputError: it is no item of a run, or of a geoseg that did not yet record how it was called.
        """
        document = read_record(record)
        key, files = recorded(document)
        try:
            properties = document["properties"]
            return cls(
                record=record,
                name=str(document["id"]),
                call=Call.from_json(document[CALL]),
                key=key,
                settings=dict(properties["geoseg:settings"]),
                model_sha256=str(properties["geoseg:model"]["sha256"]),
                files=files,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{record} does not tell how `geoseg run` was called ({error!r} is missing or malformed): only the "
                f"item NAME.json of a run can be replayed."
            ) from error

    @property
    def working_folder(self) -> Path:
        """Where relative paths of the call begin, if that folder still stands in this place."""
        return Path(os.path.normpath(self.record.absolute().parent / self.call.working_folder))

    def tell(self, key: Mapping[str, Any], watcher: Watcher) -> None:
        """Say, before the work, what the new result depends on that the old one did not.

        Args:
            key: of the new run, plain JSON.
            watcher: who is told.
        """
        lines = key_differences(self.key, key)
        for line in lines:
            watcher.warn(f"replay: {line}")
        if not lines:
            watcher.note(f"replay: everything that the result depends on is as {self.record} says")


@dataclass(frozen=True)
class Replayed:
    """How a repeated run compares with the old one."""

    differences: tuple[str, ...]
    """What the result depends on and is no longer the same, `part: old → new`."""
    same: tuple[str, ...]
    """Files with the same bytes."""
    other: tuple[str, ...]
    """Files that differ, or are only in one of the two."""

    @classmethod
    def compare(cls, past: Past, record: Path) -> Replayed:
        """Compare by the two records.

        Args:
            past: the old run.
            record: of the new one.
        """
        key, files = recorded(read_record(record))
        same = tuple(name for name, entry in past.files.items() if files.get(name) == entry)
        other = tuple(sorted((past.files.keys() | files.keys()) - set(same)))
        return cls(tuple(key_differences(past.key, key)), same, other)

    def lines(self) -> list[str]:
        """For people, one line each."""
        count = f"replay: {len(self.same)} of {len(self.same) + len(self.other)} files have the same bytes as then"
        rest = f"; others: {', '.join(self.other)}" if self.other else ""
        return [*(f"replay: differs: {line}" for line in self.differences), count + rest]
