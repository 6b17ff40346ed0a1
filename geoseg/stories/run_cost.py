"""What a run may take of the memory: the bound, told and kept, and how it is made to fit.

A process predicts first and makes polygons afterwards, when what segmenting took is given back:

        base │ picture │ forwards │ chips │ tiles  while tiles are predicted
        base │ picture │ rasters                   while rasters are written, and inputs of huge blocks copied
        base │ polygons                            while polygons are made and written; the class raster after them

Only `tiles` has a part that grows with the raster, of some bytes a row; `polygons` grows with what is on the map.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from geoseg.errors import MemoryLimitError
from geoseg.io.machine import gdal_cache_bytes, memory_room, resident
from geoseg.io.scratch import copying_bytes
from geoseg.model.blocks import give_back_freed_blocks, idle_bytes
from geoseg.model.device import Resolved
from geoseg.model.footprint import activation_bytes
from geoseg.quality import REASONS
from geoseg.settings import RunSettings, ScheduleSettings
from geoseg.spelling import bytes_of
from geoseg.stories.photographer import early_bytes
from geoseg.stories.prepare import Job
from geoseg.stories.raster_names import score_bands
from geoseg.stories.watcher import Watcher
from geoseg.tiling.checkpoint import WAITING, WRITERS
from geoseg.tiling.crew import Crew
from geoseg.tiling.plan import TilePlan
from geoseg.tiling.schedule import full_crew

LATER = 80 * 2**20
"""What the libraries take once they work: code that is read when it is used, pools, stacks. Seen: 15 … 45 MB."""
CUDA_LATER = 3 * 2**30
"""The same with a GPU: its driver and kernels."""
NEAR = 0.8
"""Part of the bound from which on freed memory is given back. On two cores a raster of 30 000² came there 17 times in
five minutes, and grew to 2.34 GB instead of 2.53."""
RASTER_WORK = 160 * 2**20
"""Writing a raster and reading it back, beside GDAL's cache: rows of 8 Mpx, blocks of all threads, overviews. Seen:
120 MB."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a job asks of memory, however it is divided into tiles."""

    base: int
    """Bytes of the process with its libraries, GDAL's cache and the model."""
    forward: int
    """Bytes that a forward pass takes of the main memory."""
    bands: int
    item: int
    """Bytes of a stored number."""
    planes: int
    """Of presence: 1, or one a band."""
    batch: int
    """Chips that a thread reads before it sends them."""
    classes: int
    """Of the model, or of the output if there are more."""
    layers: int
    """Score layers, bytes a pixel."""
    index: int
    """Bytes of a class index."""
    averaged: bool
    """Scores leave the device: tapered, resampled or augmented."""
    workers: int = 0
    """Processes on this machine that predict; 0: threads of this one do."""
    idle: bool = False
    """Tiles are predicted elsewhere."""
    mosaic: bool = False
    """Chips are laid together from those of several scenes, one after the other."""
    copying: int = 0
    """Bytes for copying inputs of huge blocks, before anything else."""
    picture: int = 0
    """Bytes of the picture that a run begins with."""

    def reading(self, plan: TilePlan) -> int:
        """Bytes that a thread takes for the moment to read a chip."""
        copies = 4 if self.mosaic else 2
        return int(
            plan.chip**2 * (self.bands * (copies * self.item + 3) + (copies - 1) * (self.planes + 3)) * _zoom(plan)
        )

    def at_work(self, plan: TilePlan) -> int:
        """Bytes that a thread takes for the moment, reading a chip, predicting it or choosing its classes."""
        # The winner of a chip's scores in 64 bits, and what is rounded to bytes.
        chosen = 4 * self.classes * (1 + 2 * _zoom(plan) * self.averaged) + 24 + 12 * self.layers
        return max(self.forward, self.reading(plan), int(plan.chip**2 * chosen))

    def held(self, plan: TilePlan) -> int:
        """Bytes that a thread keeps meanwhile beside its tile: a batch of chips, scores, the sums of tapered ones."""
        chip = self.bands * self.item + self.planes + 2
        # The scores of a batch and sums over their views; at a seam those of two chips, or of parts of them.
        scores = 4 * self.classes * max(2, 2 * self.batch * self.averaged)
        total = plan.chip**2 * (self.batch * chip * (1 + _zoom(plan) * plan.resampled) + scores)
        if plan.tapered:
            rows, cols = plan.chip * plan.rows.zoom, plan[0].core.width + plan.chip * plan.cols.zoom
            total += 3 * 4 * self.classes * rows * cols
        return int(total)

    def of_tile(self, plan: TilePlan) -> int:
        """Bytes of a finished tile."""
        return plan[0].core.size * (self.index + self.layers)


def _zoom(plan: TilePlan) -> float:
    """Output pixels that a network pixel stands for, at least one."""
    return max(1.0, plan.cols.zoom) * max(1.0, plan.rows.zoom)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Bytes that a run takes at most, by what takes them."""

    base: int
    picture: int = 0
    forwards: int
    chips: int
    tiles: int
    rasters: int
    polygons: int = 0
    """An estimate, for a busy map; 0 where none are made."""

    @property
    def segment(self) -> int:
        """Bound until the rasters are written."""
        return self.base + self.picture + max(self.forwards + self.chips + self.tiles, self.rasters)

    @property
    def vectorize(self) -> int:
        """What making polygons comes to; 0 where none are made."""
        return self.base + self.polygons if self.polygons else 0

    @property
    def bound(self) -> int:
        """Bound for the whole process."""
        return max(self.segment, self.vectorize)

    def to_json(self) -> dict[str, int]:
        """Bytes by name."""
        return asdict(self)


def load_of(job: Job, resolved: Resolved, settings: RunSettings) -> Load:
    """Count a forward pass, measure this process.

    Args:
        job: what to do.
        resolved: on which device.
        settings: for layers, views and schedule.
    """
    scene, spec, schedule = job.scene, job.model.spec, settings.schedule
    idle = schedule.scheduler is not None or schedule.cluster not in {None, "local"}
    on_gpu = resolved.device.startswith("cuda")
    forward = 0
    if not (on_gpu or idle):
        forward = activation_bytes(spec, scene.names, job.plan.chip, resolved.precision)
        forward *= 1 if resolved.device == "cpu" else resolved.batch_size
    later = 0 if idle else (CUDA_LATER if on_gpu else LATER) + 4 * job.model.path.stat().st_size
    return Load(
        base=resident() - idle_bytes() + gdal_cache_bytes() + later,
        forward=forward,
        bands=len(scene.bands),
        item=scene.dtype.itemsize,
        planes=len(scene.bands) if scene.valid_rule == "any" else 1,
        # Those of a GPU are copied to where it can fetch them.
        batch=resolved.batch_size * (1 if resolved.device == "cpu" else 2),
        classes=max(len(spec.classes), len(job.scheme)),
        layers=score_bands(settings.layers, len(job.scheme)),
        index=job.scheme.index_dtype.itemsize,
        averaged=job.plan.tapered or job.plan.resampled or settings.predict.tta != "none",
        workers=(schedule.workers or 1) if schedule.distributed and not idle else 0,
        idle=idle,
        mosaic=scene.mosaic is not None,
        copying=copying_bytes(scene),
        picture=early_bytes(scene, schedule),
    )


def cost(load: Load, plan: TilePlan, crew: Crew) -> Cost:
    """The bound of a plan that a crew carries out; never less for more threads, bands or layers, or a larger tile."""
    threads = load.workers or (0 if load.idle else crew.threads)
    spare = 0 if load.workers or load.idle else crew.spare
    tile, pixels = load.of_tile(plan), plan[0].core.size
    # In work, with what is valid and masked; waiting; taken and counted; kept in files.
    in_work = (threads + spare) * (tile + 4 * pixels)
    at_once = (1 if load.idle else crew.waiting) + load.workers + 1 + WAITING + 2 * WRITERS
    counted = 20 * pixels + 8 * plan.grid.height * (load.classes + len(REASONS) + 4)
    return Cost(
        base=load.base * (1 + load.workers),
        picture=load.picture,
        forwards=threads * load.at_work(plan) + spare * load.reading(plan),
        chips=(threads + spare) * load.held(plan),
        tiles=in_work + at_once * tile + counted,
        rasters=max(RASTER_WORK, load.copying),
    )


def allowed(schedule: ScheduleSettings) -> int:
    """Bytes that this process, with its workers, may come to."""
    return resident() + memory_room() if schedule.max_memory is None else bytes_of(schedule.max_memory)


def within_memory(
    job: Job, resolved: Resolved, settings: RunSettings, watcher: Watcher, *, keep_tiles: bool = False
) -> Job:
    """The job with tiles and threads whose bound fits into what is allowed; told if they are not the usual ones.

    Smaller tiles come first, which never change the result; then fewer results that wait, then fewer threads, the one
    that only reads before those that compute.

    Args:
        job: with the plan wished for.
        resolved: on which device.
        settings: `max_memory`, and perhaps a tile size of the user's own, which stays.
        watcher: told what was reduced.
        keep_tiles: their size stays, too; files of an earlier run have it.

    Raises:
        MemoryLimitError: the least does not fit.
    """
    return divided(job, load_of(job, resolved, settings), settings, watcher, keep_tiles=keep_tiles)


def divided(job: Job, load: Load, settings: RunSettings, watcher: Watcher, *, keep_tiles: bool = False) -> Job:
    """See `within_memory`; `load` is what `load_of` gave."""
    most, usual = allowed(settings.schedule), full_crew(settings.schedule)
    fixed = keep_tiles or settings.schedule.tile is not None
    plan, crew = fitted(load, job.plan, usual, most, keep_tiles=fixed)
    why = f"to stay within {most / 1e9:.2f} GB of memory"
    if plan != job.plan:
        watcher.note(f"tiles of {plan[0].core.width} instead of {job.plan[0].core.width} pixels, {why}")
    if crew.threads != usual.threads:
        watcher.note(f"{crew.threads} instead of {usual.threads} chips at a time, {why}")
    return replace(job, plan=plan, crew=crew, bound=cost(load, plan, crew).segment)


def fitted(load: Load, plan: TilePlan, crew: Crew, most: int, *, keep_tiles: bool) -> tuple[TilePlan, Crew]:
    """The first of what may be tried whose bound is at most `most`.

    Raises:
        MemoryLimitError: there is none.
    """
    while (need := cost(load, plan, crew)).segment > most:
        if plan.cells_per_side > 1 and not keep_tiles:
            plan = replace(plan, cells_per_side=plan.cells_per_side // 2)
        elif crew.waiting > 1:
            crew = replace(crew, waiting=crew.waiting // 2)
        elif crew.spare:
            crew = replace(crew, spare=0)
        elif crew.threads > 1:
            crew = replace(crew, threads=crew.threads - 1)
        else:
            raise MemoryLimitError(_too_little(load, plan, need, most))
    return plan, crew


def _too_little(load: Load, plan: TilePlan, need: Cost, most: int) -> str:
    what = f"{load.workers} worker processes" if load.workers else "a single thread"
    ways = ["a smaller --chip" if not plan.fixed_chip else "another model", "more memory (--max-memory)"]
    return (
        f"{most / 1e9:.2f} GB of memory are allowed, but {what} with tiles of {plan[0].core.width} pixels may take "
        f"{need.segment / 1e9:.2f} GB, {need.base / 1e9:.2f} GB of it libraries, caches and model: give "
        f"{'fewer --workers, ' if load.workers > 1 else ''}{' or '.join(ways)}."
    )


def keep_within(job: Job) -> None:
    """Give freed memory back where the process nears its bound: in a long run the holes between kept blocks grow."""
    if job.bound is not None and resident() > NEAR * job.bound:
        give_back_freed_blocks()
