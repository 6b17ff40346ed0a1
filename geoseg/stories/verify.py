"""Finished results, looked at again: is every byte as it was written?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import InputError, InputMissingError
from geoseg.io.audit import Audit


@dataclass(frozen=True)
class VerifyReport:
    """What was found."""

    records: tuple[Path, ...]
    """Commit records, each of one finished result."""
    files: int
    """Files that were verified, records included."""
    bytes: int
    """Of the files that records name."""
    damaged: tuple[str, ...]
    """What is missing or differs from what was written, a sentence each; empty: all is well."""
    unnamed: tuple[Path, ...]
    """Files that no record beside them names: somebody's own, or what a crash left."""
    unfinished: tuple[str, ...]
    """Work folders and locks of runs that go on or were interrupted, a sentence each."""

    @property
    def ok(self) -> bool:
        """True when nothing is damaged."""
        return not self.damaged


def verify(places: Path | str | Sequence[Path | str]) -> VerifyReport:
    """Compare results with their records, byte for byte.

    Args:
        places: folders, looked through with all folders in them, or records (`NAME.json`).

    Raises:
        InputMissingError: a place does not exist.
        InputError: there is no record in it.
    """
    audit = Audit()
    for place in [Path(places)] if isinstance(places, (str, Path)) else map(Path, places):
        if not place.exists():
            raise InputMissingError(f"{place} does not exist; name a folder of results, or a record in it.")
        before = len(audit.records) + len(audit.damaged)
        if place.is_dir():
            audit.add_folder(place)
        else:
            audit.add_record(place)
        if len(audit.records) + len(audit.damaged) == before:
            raise InputError(f"{place} holds no record of a finished run (NAME.json): there is nothing to verify.")
    return VerifyReport(
        records=tuple(audit.records),
        files=audit.files,
        bytes=audit.bytes,
        damaged=tuple(audit.damaged),
        unnamed=tuple(audit.unnamed),
        unfinished=tuple(audit.unfinished),
    )
