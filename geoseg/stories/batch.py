"""Many scenes, unattended: what is to be done, the work on it, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg.batch_settings import BatchSettings
from geoseg.errors import GeosegError, TemporaryError, UsageError
from geoseg.io.posix import disk_errors
from geoseg.ledger.key import change, key_of
from geoseg.ledger.row import SETTLED, Row
from geoseg.ledger.scene import BatchScene, shard_of
from geoseg.ledger.status_file import write_status
from geoseg.ledger.store import Ledger
from geoseg.settings import OutputSettings
from geoseg.spelling import nearest
from geoseg.stories.batch_report import write_report
from geoseg.stories.watcher import Silent, Watcher

if TYPE_CHECKING:
    from geoseg.stories.merge import MergeResult

SOME_FAILED = 3


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What became of the scenes of a batch."""

    folder: Path
    rows: tuple[Row, ...]
    """In the manifest's order."""
    began: int = 0
    """Scenes that this call has worked on."""

    @property
    def exit_code(self) -> int:
        """0: all are done or skipped; 75: some are not settled, another run goes on; 3: some have failed."""
        states = {row.state for row in self.rows}
        if states - set(SETTLED):
            return TemporaryError.exit_code
        return SOME_FAILED if "failed" in states else 0

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        counts = {state: sum(row.state == state for row in self.rows) for state in ("waiting", "running", *SETTLED)}
        scenes = [row.to_json() for row in self.rows]
        return {"folder": str(self.folder), "exit_code": self.exit_code, "counts": counts, "scenes": scenes}


def batch(
    scenes: Sequence[BatchScene],
    folder: str | Path,
    settings: BatchSettings | None = None,
    watcher: Watcher | None = None,
) -> BatchResult:
    """Run every scene that is not done yet, or no longer what would be made now; go on after errors.

    Writes the results of each scene into its folder inside `folder`; there, `state.sqlite` with what became of each,
    `status/NAME.json` the same for people, and at the end `report.json`, `report.html` and `metrics.prom`. Several
    processes, also on several computers, may work on one folder at the same time.

    Args:
        scenes: all of the batch, whatever the shard.
        folder: made when missing.
        settings: everything else.
        watcher: told what happens.

    Raises:
        GeosegError: what concerns the batch itself; errors of scenes are in the result.
    """
    folder, settings, watcher = Path(folder), settings or BatchSettings(), watcher or Silent()
    with disk_errors("batch folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(folder, settings.lease_s)
    ledger.create()
    ledger.enlist([scene.name for scene in scenes])
    mine = shard_of(scenes, settings.shard)
    changes = changed(mine, folder, ledger.rows())
    for name in ledger.reopen(changes):
        watcher.note(f"{name}: to be done again: {changes[name]}")
    rows, began = ledger.rows(), 0
    if any(rows[scene.name].state not in SETTLED for scene in mine):
        from geoseg.stories.lanes import Lanes  # PyTorch, of which a batch without work knows nothing

        lanes = Lanes(mine, folder, ledger, settings, watcher)
        try:
            lanes.work()
        except GeosegError:
            write_report(folder, ledger, settings.metrics)
            raise
        began = lanes.began
    rows = ledger.rows()
    for scene in mine:
        write_status(folder, rows[scene.name])
    write_report(folder, ledger, settings.metrics)
    return BatchResult(folder=folder, rows=tuple(rows[scene.name] for scene in mine), began=began)


def plan(scenes: Sequence[BatchScene], folder: str | Path, settings: BatchSettings | None = None) -> dict[str, str]:
    """What `batch` would do with each scene of the shard; writes nothing."""
    folder, mine = Path(folder), shard_of(scenes, (settings or BatchSettings()).shard)
    ledger = Ledger(folder)
    rows = ledger.rows() if ledger.path.is_file() else {}
    changes, out = changed(mine, folder, rows), {}
    for scene in mine:
        row = rows.get(scene.name)
        if scene.name in changes:
            out[scene.name] = f"again: {changes[scene.name]}"
        elif row is None or row.state not in SETTLED:
            out[scene.name] = "to do"
        else:
            out[scene.name] = f"{row.state}, stays{f': {row.reason}' if row.reason else ''}"
    return out


def changed(scenes: Sequence[BatchScene], folder: Path, rows: dict[str, Row]) -> dict[str, str]:
    """Settled scenes that must be done again, with the reason: inputs, model or settings changed, or outputs went.

    Looks at names, sizes and times of files and into none of them.
    """
    found = {}
    for scene in scenes:
        row = rows.get(scene.name)
        if row is None or row.key is None or row.state not in SETTLED:
            continue
        why = change(row.key, key_of(scene, row.key["files"])) or _lost(folder, row)
        if why is not None:
            found[scene.name] = why
    return found


def _lost(folder: Path, row: Row) -> str | None:
    for name, size in row.facts.get("outputs", {}).items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, it had {size}"
    return None


def status(folder: str | Path) -> BatchResult:
    """What is known of the scenes of a batch.

    Raises:
        InputMissingError: no batch was run in the folder.
    """
    ledger = Ledger(Path(folder))
    ledger.check()
    return BatchResult(folder=Path(folder), rows=tuple(ledger.rows().values()))


def merged(folder: str | Path, output: str | Path) -> MergeResult | None:
    """One layer with the polygons of all finished scenes; see `geoseg.stories.merge.merge`. An older one is replaced.

    Returns:
        None when a scene that is listed, whatever the shard, is not settled, or none is done.

    Raises:
        InputMissingError: no batch was run in the folder.
        GeosegError: the scenes do not go together, or writing failed.
    """
    rows = [row for row in status(folder).rows if row.listed]
    done = [Path(folder, row.facts["record"]) for row in rows if row.state == "done"]
    if not done or any(row.state not in SETTLED for row in rows):
        return None
    from geoseg.stories.merge import merge

    return merge(done, output, OutputSettings(overwrite=True))


def retry(folder: str | Path, names: Sequence[str] = ()) -> list[str]:
    """Let failed scenes, or the named ones whatever became of them, be done again by the next run.

    Returns:
        the names of the scenes that wait now.

    Raises:
        InputMissingError: no batch was run in the folder.
        UsageError: there is no scene of that name.
    """
    ledger = Ledger(Path(folder))
    ledger.check()
    rows = ledger.rows()
    _check_names(names, rows)
    chosen = names or [name for name, row in rows.items() if row.state == "failed" and row.listed]
    found = ledger.reopen(dict.fromkeys(chosen, "retry was asked for"))
    rows = ledger.rows()
    for name in found:
        write_status(Path(folder), rows[name])
    return found


def _check_names(names: Sequence[str], rows: dict[str, Row]) -> None:
    for name in names:
        if name not in rows:
            raise UsageError(f"no scene is called {name!r}{nearest(name, list(rows))}")
