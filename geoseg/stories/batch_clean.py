"""What interrupted and failed scenes have left, removed; scenes that no manifest lists any more, forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geoseg.errors import OutputLockedError
from geoseg.io.work_folder import drop_work
from geoseg.ledger.row import Row
from geoseg.ledger.status_file import drop_status
from geoseg.ledger.store import Ledger
from geoseg.stories.batch_report import write_report


@dataclass(frozen=True, kw_only=True)
class CleanResult:
    """What was removed."""

    freed: int
    """Bytes."""
    forgotten: tuple[str, ...]
    """Scenes; their results stay."""
    busy: tuple[str, ...]
    """Scenes on which a run is at work: left as they are."""


def clean(folder: str | Path) -> CleanResult:
    """Remove finished tiles of scenes that are not under way, and forget scenes that are not listed any more.

    Results stay, and so does the memory of what failed.

    Raises:
        InputMissingError: no batch was run in the folder.
    """
    folder = Path(folder)
    ledger = Ledger(folder)
    ledger.check()
    freed, busy = 0, []
    for row in ledger.rows().values():
        place = _place(folder, row)
        if place is None:
            continue
        try:
            freed += drop_work(place, row.name)
        except OutputLockedError:
            busy.append(row.name)
            continue
        if not any(place.iterdir()):
            place.rmdir()
    forgotten = ledger.forget()
    for name in forgotten:
        drop_status(folder, name)
    write_report(folder, ledger)
    return CleanResult(freed=freed, forgotten=tuple(forgotten), busy=tuple(busy))


def _place(folder: Path, row: Row) -> Path | None:
    """Where the scene's results are; None: nothing was ever made of it."""
    place = None if row.key is None else folder / row.key["folder"]
    return place if place is not None and place.is_dir() else None
