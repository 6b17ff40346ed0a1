"""One scene of a batch: is it clear enough, the run, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geoseg.errors import TemporaryError
from geoseg.io.compose import open_scene
from geoseg.io.record import read_record, recorded
from geoseg.io.sample import clear_share
from geoseg.ledger.scene import BatchScene
from geoseg.report.thumbnail import thumbnail
from geoseg.stories.names import RunResult
from geoseg.stories.prepare import together
from geoseg.stories.run import run
from geoseg.stories.watcher import Watcher
from geoseg.tiling.seam import USUAL_SHARE


class StoppedError(TemporaryError):
    """The batch ends before the scene does; what is finished of it is kept."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came of a scene."""

    skipped: str = ""
    """Why nothing was made; empty: it was."""
    facts: dict[str, Any]
    """Plain JSON: size in Mpx, hectares by class, polygons, outputs with their sizes."""
    sources: tuple[Path, ...] = ()
    """Every file that was read."""
    picture: bytes | None = None
    """Thumbnail, WebP."""


class SceneWatcher:
    """Passes warnings on under the scene's name, and stops the scene at its next tile when the batch must end.

    Args:
        name: of the scene.
        watcher: of the batch.
        stopping: says whether to stop.
    """

    def __init__(self, name: str, watcher: Watcher, stopping: Callable[[], bool]) -> None:
        self._name, self._watcher, self._stopping = name, watcher, stopping

    def start(self, tiles: int, pixels: int) -> None:  # noqa: ARG002 (a batch draws no bar)
        """See whether to begin at all."""
        self.advance(0)

    def advance(self, pixels: int) -> None:  # noqa: ARG002
        """See whether to go on.

        Raises:
            StoppedError: no.
        """
        if self._stopping():
            raise StoppedError(f"{self._name} was stopped; run the same command again.")

    def note(self, text: str) -> None:
        """Only where work goes on from: what was assumed stands in each scene's record."""
        if text.startswith(("resumed", "update")):
            self._watcher.note(f"{self._name}: {text}")

    def warn(self, text: str) -> None:
        """Under the scene's name."""
        self._watcher.warn(f"{self._name}: {text}")


def make_scene(
    scene: BatchScene,
    folder: Path,
    watcher: Watcher,
    turn: AbstractContextManager[object] | None,
    *,
    overwrite: bool,
    restart: bool,
) -> Made:
    """Run a scene, unless too little of it is clear.

    Args:
        scene: what is asked for.
        folder: of the batch.
        watcher: told about progress.
        turn: held while the device is at work.
        overwrite: replace what another key made.
        restart: discard interrupted work of another key.

    Raises:
        GeosegError: see `geoseg.stories.run.run`.
    """
    if scene.min_clear:
        share = clear_share(open_scene(together(scene.inputs, scene.settings.read), scene.settings.read))
        if share < scene.min_clear:
            reason = f"{share:.0%} of its pixels are clear, less than {scene.min_clear:.0%}"
            return Made(skipped=reason, facts={"clear": round(share, 4)})
    asked, predict = scene.settings.output, scene.settings.predict
    output = replace(asked, overwrite=asked.overwrite or overwrite, restart=asked.restart or restart)
    if predict.seam is None:
        predict = replace(predict, seam=USUAL_SHARE)
    settings = replace(scene.settings, output=output, predict=predict)
    result = run(scene.inputs, folder / scene.folder, settings, watcher, turn=turn)
    return Made(facts=_facts(result, folder), sources=result.sources, picture=thumbnail(result.preview))


def _facts(result: RunResult, folder: Path) -> dict[str, Any]:
    summary = result.summary
    pixels = sum(summary.pixels.values()) + sum(summary.masked_px.values()) + summary.nodata_px + summary.outside_px
    _, files = recorded(read_record(result.record))
    place = result.folder.relative_to(folder).as_posix()
    outputs = {f"{place}/{entry.name}": entry.size for entry in files.values()}
    record = f"{place}/{result.record.name}"
    return {
        "mpx": pixels / 1e6,
        "polygons": result.n_polygons,
        "area_ha": {name: area / 1e4 for name, area in summary.area_m2.items()},
        "warnings": list(summary.warnings),
        "found_finished": result.up_to_date,
        "record": record,
        "outputs": outputs | {record: result.record.stat().st_size},
    }
