"""A few chips of a planned run, done as the run would do them and thrown away: how long, and how much memory."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice

from geoseg.io.limits import cpu_count
from geoseg.io.machine import forget_peak, peak_since, resident
from geoseg.io.read import touches_aoi
from geoseg.model.blocks import give_back_freed_blocks
from geoseg.model.device import Resolved
from geoseg.settings import RunSettings
from geoseg.stories.prepare import Job
from geoseg.tiling.blend import spoken
from geoseg.tiling.crew import Crew
from geoseg.tiling.plan import Cell, Tile, TilePlan
from geoseg.tiling.schedule import map_tiles, slots
from geoseg.tiling.seam import pairs_of, sampled_pairs
from geoseg.tiling.worker import TileJob

MOST_LOOKED_AT = 64
"""Tiles of a chip, in search of valid pixels."""
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Probe:
    """What was measured."""

    chips: int
    """Measured; the first, which loads everything, not counted."""
    px_seconds: float
    """Seconds that one of the threads takes for a network pixel while the others work, too."""
    thread_bytes: int | None
    """Memory that one thread takes for a chip; None: this system does not tell."""


@dataclass(frozen=True)
class Amount:
    """Work of a plan."""

    chips: int
    """Chips that are predicted, if all have valid pixels; those of two tiles twice."""
    px: int
    """Network pixels in them."""

    def seconds(self, probe: Probe, plan: TilePlan, slots: int) -> float:
        """How long segmenting takes with this many threads or workers, the pairs sampled at seams included."""
        pairs = sum(1 for _ in sampled_pairs(plan))
        return self.px * (1 + 2 * pairs / max(1, self.chips)) * probe.px_seconds / slots


def amount(job: Job) -> Amount:
    """Chips and pixels of a plan, without those that speak only for pixels off the AOI."""
    plan, scene = job.plan, job.scene
    if scene.aoi is None:
        network = plan.network_grid
        return Amount(plan.chips, round(plan.halo_factor * network.width * network.height))
    chips = px = 0
    for tile in plan:
        if touches_aoi(scene, tile.core):
            for cell in _sent(job, plan, tile):
                chips, px = chips + 1, px + cell.read.size
    return Amount(chips, px)


def probe(job: Job, resolved: Resolved, settings: RunSettings) -> Probe | None:
    """Predict some chips here, evenly spread over the scene, as threads of the run would; nothing is written.

    The first one loads the model and what else is loaded once, the second is done alone for its memory, the rest by as
    many threads as there will be, since processors slow each other down: each has one to warm up and one to be timed.

    Args:
        job: planned.
        resolved: on which device.
        settings: for layers, views and schedule.

    Returns:
        what was seen; None where no valid pixel was met.

    Raises:
        GeosegError: the run would fail, too.
    """
    predict = settings.predict
    side = 1 if resolved.device == "cpu" else math.isqrt(resolved.batch_size - 1) + 1
    plan = replace(job.plan, cells_per_side=min(side, job.plan.cells_per_side))
    work = TileJob(job.scene, plan, job.model, resolved, layers=settings.layers, merge=job.merge, tta=predict.tta)
    if settings.schedule.distributed or job.crew is None:
        threads = min(slots(settings.schedule), cpu_count())
    else:
        threads = job.crew.threads
    tiles = _spread(job, plan)
    first = next((tile for tile in tiles if work(tile).chips), None)
    if first is None:
        return None
    # Few and small rasters: the same again.
    others = cycle([*tiles, first])
    thread_bytes = _peak(work, next(others))
    for wanted in (list(islice(others, 2 * threads)), [first] * 2 * threads):
        done = [one for one in map_tiles(_Timed(work), wanted, crew=Crew(threads, threads)) if one is not None]
        chips, seconds, px = (sum(column) for column in zip(*done, strict=True)) if done else (0, 0.0, 0)
        if chips:
            return Probe(chips, seconds / px, thread_bytes)
    return None


class _Timed:
    """Does tiles; tells chips sent, seconds and network pixels, but not of a thread's first: its pools are empty."""

    def __init__(self, work: TileJob) -> None:
        self._work, self._thread = work, threading.local()

    def __call__(self, tile: Tile) -> tuple[int, float, int] | None:
        start = time.perf_counter()
        chips = self._work(tile).chips
        seconds = time.perf_counter() - start
        warm = getattr(self._thread, "warm", False)
        self._thread.warm = warm or chips > 0
        if not (warm and chips):
            return None
        sizes = [cell.read.size for cell in self._work.plan.reaching(tile)]
        return chips, seconds, sum(sizes) * chips // len(sizes)


def _peak(work: TileJob, tile: Tile) -> int | None:
    """Bytes that a tile takes besides what is there before."""
    give_back_freed_blocks()
    before = resident()
    if not forget_peak():
        return None
    work(tile)
    return max(0, peak_since() - before)


def _spread(job: Job, plan: TilePlan) -> Iterator[Tile]:
    """Tiles in the AOI, evenly over the scene whatever their number, without those that also compare chips at seams."""
    numbers = dict.fromkeys(int((n + 0.5) * _GOLDEN % 1 * len(plan)) for n in range(16 * MOST_LOOKED_AT))
    inside = (plan[n] for n in numbers if touches_aoi(job.scene, plan[n].core))
    usual = (tile for tile in inside if len(plan) < len(numbers) or not any(pairs_of(plan, tile)))
    return islice(usual, MOST_LOOKED_AT)


def _sent(job: Job, plan: TilePlan, tile: Tile) -> Iterator[Cell]:
    """Chips that a tile predicts if they hold valid pixels."""
    for cell in plan.reaching(tile):
        used = spoken(plan, tile, cell)
        if used is not None and touches_aoi(job.scene, used):
            yield cell
