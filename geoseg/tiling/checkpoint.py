"""Finished tiles on disk, so that a run that dies goes on where it was.

The coordinator alone writes them, wherever tiles are computed: workers need not see the output folder.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from geoseg.arrays import ClassMap
from geoseg.errors import OutputExistsError
from geoseg.io.tile_file import TileFolder, TileRecord
from geoseg.tiling.plan import TilePlan
from geoseg.tiling.result import TileResult

_log = logging.getLogger(__name__)

WRITERS = 2
"""Threads that compress and sync, 20 to 60 ms a Mpx, while the device goes on."""
WAITING = 2 * WRITERS
"""Results that may wait for them: the bound of what they add to memory."""
_SYNC_EVERY = 32
"""Files between two syncs of the folder: what a power failure may cost."""
_CLASSES = "classes"
_TALLIES = ("outside_by_row", "masked_by_row", "seam", "seam_digests", "digests")


class Checkpoints:
    """Keeps results as tile files; a context manager that waits for the last of them.

    Args:
        folder: of the run's tile files.
        plan: to which the results belong.
    """

    def __init__(self, folder: TileFolder, plan: TilePlan) -> None:
        self._folder = folder
        self._plan = plan
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="checkpoint")
        self._waiting: deque[Future[None]] = deque()
        self._kept = 0

    def __enter__(self) -> Self:
        """Nothing is done before the first result."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish what is begun, also when the run fails: these tiles need not be computed again.

        Raises:
            OutputError: the disk is full or fails.
        """
        self._pool.shutdown()
        for future in self._waiting:
            failure = future.exception()
            if failure is not None and error is None:
                raise failure
            if failure is not None:
                _log.warning("a tile was not kept: %s", failure)
        if error is None and self._kept:
            self._folder.sync()

    def restored(self) -> Iterator[TileResult]:
        """Results of an earlier run of the same key and plan, in the plan's order."""
        for number in self._folder.numbers():
            record = self._folder.read(number)
            if record is not None and number < len(self._plan) and _fits(record, self._plan):
                yield _result(record)

    def keep(self, result: TileResult) -> None:
        """Write a result's file soon; waits while too many others do.

        Raises:
            OutputError: the disk did not take an earlier one.
        """
        if len(self._waiting) >= WAITING:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._folder.write, _record(result, self._plan)))
        self._kept += 1
        if self._kept % _SYNC_EVERY == 0:
            self._waiting.append(self._pool.submit(self._folder.sync))


def resumed_plan(plan: TilePlan, folder: TileFolder, *, asked: bool) -> TilePlan:
    """The plan of the tiles that are there already: their size never changes the result, so the first run's stays.

    Args:
        plan: what this run would do.
        folder: perhaps with tiles of an earlier run of the same key.
        asked: the size is the user's own wish, not ours.

    Raises:
        OutputExistsError: the user wishes another size.
    """
    records = (folder.read(number) for number in folder.numbers())
    found = next((record.cells_per_side for record in records if record is not None), plan.cells_per_side)
    earlier = replace(plan, cells_per_side=found)
    if asked and found != plan.cells_per_side:
        raise OutputExistsError(
            f"interrupted work in {folder.folder.parent} has tiles of {earlier[0].core.width} pixels, --tile makes "
            f"them {plan[0].core.width}: leave --tile out to go on with it, or pass --restart to discard it."
        )
    return earlier


def _fits(record: TileRecord, plan: TilePlan) -> bool:
    return record.cells_per_side == plan.cells_per_side and record.core == plan[record.number].core


def _record(result: TileResult, plan: TilePlan) -> TileRecord:
    tallies = {name: getattr(result, name) for name in _TALLIES}
    arrays = {_CLASSES: result.map.index, **result.map.scores, **tallies}
    return TileRecord(
        result.number, plan.cells_per_side, result.map.window, arrays, chips=result.chips, events=result.events
    )


def _result(record: TileRecord) -> TileResult:
    arrays = dict(record.arrays)
    tallies: dict[str, Any] = {name: arrays.pop(name) for name in _TALLIES}
    pixels = ClassMap(arrays.pop(_CLASSES), record.core, arrays)
    return TileResult(pixels, **tallies, chips=record.chips, number=record.number, events=record.events)
