"""The work on a batch's scenes in this process: two at a time, so that the device is busy across their ends.

    lane 1   prepare │ predict 1 │ polygons, files 1 │ prepare │ wait │ predict 3 │ …
    lane 2   prepare │ wait ···  │ predict 2 ········│ polygons, files 2 │ …

Only one of them has the device at a time, and the model that it has loaded; the other reads, traces and writes.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from geoseg.batch_settings import BatchSettings
from geoseg.errors import GeosegError, OutputLockedError, TemporaryError
from geoseg.io.posix import is_full
from geoseg.ledger.key import change, key_of
from geoseg.ledger.row import Row, State
from geoseg.ledger.scene import BatchScene
from geoseg.ledger.status_file import write_status
from geoseg.ledger.store import Ledger
from geoseg.model.blocks import sharing_blocks
from geoseg.stories.batch_scene import Made, SceneWatcher, StoppedError, make_scene
from geoseg.stories.watcher import Watcher

LANES = 2
LOOK_S = 1.0
"""How often to see whether others have left a scene."""
_WAKE_S = 0.2


class Lanes:
    """Scenes of a batch, worked on until none is left or it is time to stop.

    Args:
        scenes: those of this process, in order.
        folder: of the batch.
        ledger: shared with other processes.
        settings: tries, pauses, the time allowed.
        watcher: told what happens.
    """

    def __init__(
        self, scenes: Sequence[BatchScene], folder: Path, ledger: Ledger, settings: BatchSettings, watcher: Watcher
    ) -> None:
        self._scenes, self._folder, self._ledger = {scene.name: scene for scene in scenes}, folder, ledger
        self._settings, self._watcher = settings, watcher
        self._ends = None if settings.max_runtime_s is None else monotonic() + settings.max_runtime_s
        self._stop, self._over = threading.Event(), threading.Event()
        self._deferred: dict[str, tuple[float, Row]] = {}
        self._sharing, self._device = threading.Lock(), threading.Lock()
        self._model = ""
        self.began = 0
        """Scenes that this process has begun."""

    def work(self) -> None:
        """Do what there is to do; the calling thread is one of the lanes, where signals arrive."""
        beat = threading.Thread(target=self._beat, name="lease", daemon=True)
        beat.start()
        lanes = self._lanes()
        # With two, one predicts nearly always: what the network freed in a scene is what it takes for the next.
        sharing = sharing_blocks() if lanes > 1 else nullcontext()
        try:
            with sharing, ThreadPoolExecutor(LANES, thread_name_prefix="lane") as pool:
                try:
                    others = [pool.submit(self._lane) for _ in range(lanes - 1)]
                    self._lane()
                    for lane in others:
                        lane.result()
                finally:  # nothing is left, or what happened in one lane ends the others, too
                    self._stop.set()
        finally:
            self._over.set()
            beat.join()
            self._ledger.release()

    def _lanes(self) -> int:
        """One where memory was promised, or where worker processes do the work: they are the same device's."""
        schedules = [scene.settings.schedule for scene in self._scenes.values()]
        alone = any(schedule.max_memory is not None or schedule.distributed for schedule in schedules)
        return 1 if alone or len(schedules) == 1 else LANES

    def _beat(self) -> None:
        """Also while scenes come to their end after it was time to stop."""
        while not self._over.wait(self._settings.lease_s / 4):
            try:
                self._ledger.beat()
            except GeosegError as error:  # the next one may be heard again before the lease is over
                self._watcher.warn(f"no sign of life could be given: {error}")

    def _stopping(self) -> bool:
        if self._ends is not None and monotonic() >= self._ends and not self._stop.is_set():
            self._watcher.note("the time of --max-runtime is over; run the same command again")
            self._stop.set()
        return self._stop.is_set()

    def _lane(self) -> None:
        try:
            while not self._stopping() and (row := self._next()) is not None:
                self._try(row)
        except BaseException:
            self._stop.set()
            raise

    def _next(self) -> Row | None:
        """The next scene, ours; None when none will come."""
        while not self._stopping():
            with self._sharing:
                due = min(self._deferred, key=lambda name: self._deferred[name][0], default=None)
                if due is not None and self._deferred[due][0] <= monotonic():
                    return self._deferred.pop(due)[1]
            row = self._ledger.take(self._order(), self._settings.tries)
            if row is not None:
                return row
            if due is None and not self._ledger.elsewhere(self._scenes):
                return None
            self._stop.wait(LOOK_S)
        return None

    def _order(self) -> list[str]:
        """Scenes of the model that is loaded first; else as the manifest has them."""
        return sorted(self._scenes, key=lambda name: self._scenes[name].settings.predict.model != self._model)

    def _try(self, row: Row) -> None:
        began, (scene, restart) = monotonic(), self._begin(row)
        teller, turn = SceneWatcher(row.name, self._watcher, self._stopping), _Turn(self._device, self._stopping)
        try:
            made = make_scene(scene, self._folder, teller, turn, overwrite=row.redo, restart=restart)
        except StoppedError:
            self._ledger.release(row.name)
        except (TemporaryError, OutputLockedError) as error:
            self._later(row, error)
        except GeosegError as error:
            if is_full(error):  # so would be the disk for every other scene, after all the work on it
                self._ledger.release(row.name)
                raise TemporaryError(f"{one_line(error)} The batch stops; run the same command again.") from error
            self._settle(row, "failed", one_line(error), error.exit_code)
        except Exception as error:  # noqa: BLE001 (a bug met by one scene must not end the others' night)
            reason = f"bug: {type(error).__name__}: {one_line(error)}"
            self._settle(row, "failed", reason, 1, {"traceback": traceback.format_exc()})
        else:
            self._finish(scene, row, made, monotonic() - began)

    def _begin(self, row: Row) -> tuple[BatchScene, bool]:
        """The scene, and whether interrupted work on it is of no use any more."""
        scene = self._scenes[row.name]
        key = key_of(scene, () if row.key is None else row.key["files"])
        differs = None if row.key is None else change(row.key, key)
        why = row.why or differs or ""
        self._ledger.begin(row.name, key, why)
        self.began += 1
        self._model = scene.settings.predict.model
        again = f" again ({why})" if why else ""
        tried = f", try {row.tries}" if row.tries > 1 else ""
        self._watcher.note(f"{row.name}: begun{again}{tried}")
        return scene, differs is not None

    def _finish(self, scene: BatchScene, row: Row, made: Made, seconds: float) -> None:
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        # A file that changed while it was read makes the run fail: as they are now, they were then.
        key = key_of(scene, [str(path.absolute()) for path in made.sources])
        facts = {**made.facts, "seconds": round(seconds, 2), "ended": ended}
        state: State = "skipped" if made.skipped else "done"
        self._settle(row, state, made.skipped, 0, facts, made.picture, key)

    def _settle(
        self,
        row: Row,
        state: State,
        reason: str,
        exit_code: int,
        facts: dict[str, object] | None = None,
        picture: bytes | None = None,
        key: dict[str, object] | None = None,
    ) -> None:
        ours = self._ledger.settle(row.name, state, reason, exit_code, key=key, facts=facts, picture=picture)
        if not ours:
            self._watcher.warn(f"{row.name}: another process took it meanwhile; what that one finds counts")
            return
        write_status(self._folder, self._ledger.rows()[row.name])
        known = facts or {}
        done = (
            f"done in {known['seconds']:.1f} s, {known['polygons']} polygons"
            if state == "done"
            else f"{state}: {reason}"
        )
        self._watcher.note(f"{row.name}: {done}")

    def _later(self, row: Row, error: GeosegError) -> None:
        """Once more after a pause, or never."""
        if row.tries >= self._settings.tries:
            self._settle(row, "failed", f"tried {row.tries} times: {one_line(error)}", error.exit_code)
            return
        pause = self._settings.backoff_s * 2 ** (row.tries - 1)
        self._ledger.again(row.name, one_line(error))
        self._watcher.note(f"{row.name}: {one_line(error)} Again in {pause:g} s.")
        with self._sharing:
            self._deferred[row.name] = monotonic() + pause, self._ledger.rows()[row.name]


class _Turn:
    """The device, for one lane at a time; who waits for it still hears that the batch ends."""

    def __init__(self, device: threading.Lock, stopping: Callable[[], bool]) -> None:
        self._device, self._stopping = device, stopping

    def __enter__(self) -> Self:
        while not self._device.acquire(timeout=_WAKE_S):
            if self._stopping():
                raise StoppedError("stopped before its first tile; run the same command again.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.release()


def one_line(error: Exception) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())
