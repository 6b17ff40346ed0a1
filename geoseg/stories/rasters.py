"""The pixels of a scene: every tile predicted, or what changed of a finished run's; the rasters written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from geoseg import __version__
from geoseg.classes import ClassScheme
from geoseg.errors import InputError
from geoseg.io.archive import check_archives
from geoseg.io.cog import crs_in_geotiff, write_class_cog, write_score_cog
from geoseg.io.finished import opened_answer
from geoseg.io.publish import Publication
from geoseg.io.read import touches_aoi
from geoseg.io.scratch import retiled
from geoseg.io.spool import RasterSpool
from geoseg.io.spool_view import write_class_view
from geoseg.io.tiles_table import write_tiles
from geoseg.log import stage, tell
from geoseg.model.blocks import give_back_idle_blocks, keep_freed_blocks, stop_keeping_blocks
from geoseg.model.device import Resolved, visible_gpus
from geoseg.settings import RunSettings
from geoseg.stories.prepare import Job
from geoseg.stories.raster_names import RasterNames, score_bands
from geoseg.stories.run_cost import keep_within, within_memory
from geoseg.stories.update import FinishedPixels
from geoseg.stories.watcher import Watcher
from geoseg.tiling.checkpoint import Checkpoints, resumed_plan
from geoseg.tiling.plan import Tile
from geoseg.tiling.reads import SceneReads
from geoseg.tiling.result import TileResult
from geoseg.tiling.schedule import map_tiles
from geoseg.tiling.tally import Tally
from geoseg.tiling.worker import TileJob


@dataclass(frozen=True)
class Pixels:
    """The model's answer, not yet in the class raster that will be published."""

    tally: Tally
    view: Path
    """A class raster with the same pixels and CRS, to be read as long as the context of `predicted` lasts."""
    write_classes: Callable[[], None]
    """Writes the class raster; raises OutputError."""


@contextmanager
def predicted(
    job: Job,
    resolved: Resolved,
    settings: RunSettings,
    publication: Publication,
    names: RasterNames,
    watcher: Watcher,
    finished: FinishedPixels | None = None,
    turn: AbstractContextManager[object] | None = None,
) -> Iterator[Pixels]:
    """Predict all tiles; write score rasters and the table of what was read to their staging paths.

    Tiles that an interrupted run has finished are taken from its files. The class raster is written when the caller
    says so: whoever makes polygons of it can do that while a processor would be idle.

    Args:
        job: what to do.
        resolved: on which device.
        settings: for the schedule and the layers asked for.
        publication: with the staging paths, and the tiles.
        names: of the rasters.
        watcher: told about progress.
        finished: whose pixels are taken wherever the chips read what they read then.
        turn: held while memory is measured and tiles are predicted, where runs of one process share its device.

    Raises:
        OutputExistsError: `--tile` asks for other tiles than those of the interrupted run.
        MemoryLimitError: the memory allowed does not suffice for the least.
        OutputError: the disk refuses, or GeoTIFF cannot express the CRS.
    """
    check_archives([*job.scene.paths, *(mask.path for mask in job.scene.all_masks)])
    plan = resumed_plan(job.plan, publication.tiles, asked=settings.schedule.tile is not None)
    begun = bool(publication.tiles.numbers())
    place, tags, scheme = publication.stage(names.classes), raster_tags(job), job.scheme
    crs = crs_in_geotiff(job.scene.grid.crs, place)
    with ExitStack() as stack:
        with stage("segment"), ExitStack() as scored:
            with turn or nullcontext():
                job = within_memory(replace(job, plan=plan), resolved, settings, watcher, keep_tiles=begun)
                grid = job.plan.grid
                codes = stack.enter_context(RasterSpool(place.with_suffix(".spool"), grid, scheme.dtype, scheme.nodata))
                scores = {name: scored.enter_context(_score_spool(name, place, job)) for name in names.scores}
                taker = _Taker(job, codes, scores, watcher)
                try:
                    _predict(job, resolved, settings, publication, taker, finished)
                except InputError:  # mended it is another input, to which these tiles would only be in the way
                    publication.tiles.clear()
                    raise
            if finished is not None:
                kept, total = finished.reads.unchanged(taker.reads)
                watcher.note(f"update: {kept} of {total} chips are unchanged")
            write_tiles(taker.reads, publication.stage(names.tiles))
            for name, spool in scores.items():
                write_score_cog(spool, publication.stage(names.scores[name]), bands=_bands(name, scheme), tags=tags)
        give_back_idle_blocks()
        view = write_class_view(codes, place.with_suffix(".vrt"), scheme=scheme, tags=tags, crs=crs)
        stack.callback(view.unlink, missing_ok=True)
        yield Pixels(taker.tally, view, partial(_write_classes, codes, place, scheme, tags))


@stage("class raster")
def _write_classes(codes: RasterSpool, place: Path, scheme: ClassScheme, tags: dict[str, str]) -> None:
    write_class_cog(codes, place, scheme=scheme, tags=tags)


def _score_spool(layer: str, place: Path, job: Job) -> RasterSpool:
    bands = score_bands([layer], len(job.scheme))
    return RasterSpool(place.with_suffix(f".{layer}"), job.plan.grid, "uint8", 0, bands=bands)


def _bands(layer: str, scheme: ClassScheme) -> Sequence[str]:
    """Names of the bands of a score raster."""
    return scheme.names if layer == "probabilities" else [layer]


class _Taker:
    """Where tiles go when they are known, in any order."""

    def __init__(self, job: Job, codes: RasterSpool, scores: Mapping[str, RasterSpool], watcher: Watcher) -> None:
        self.tally, self.reads = Tally(job.plan.grid, job.scheme), SceneReads.of(job.plan)
        self.watcher = watcher
        self._job, self._codes, self._scores = job, codes, scores

    def take(self, result: TileResult) -> None:
        self._codes.write(result.map.window, self._job.scheme.code_of_index[result.map.index])
        for name, spool in self._scores.items():
            spool.write(result.map.window, result.map.scores[name])
        self.tally.add(result)
        self.reads.add(result, self._job.plan)
        for event in result.events:
            self.watcher.warn(event)


def _predict(
    job: Job,
    resolved: Resolved,
    settings: RunSettings,
    publication: Publication,
    taker: _Taker,
    finished: FinishedPixels | None,
) -> None:
    """All tiles, in any order, each kept once it is known; the only writer is this coordinator."""
    watcher = taker.watcher
    with ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(publication.tiles, job.plan))
        done = set()
        for result in checkpoints.restored():
            taker.take(result)
            done.add(result.number)
        tiles: Sequence[Tile] = job.plan
        if job.scene.aoi is not None:
            tiles = [tile for tile in tiles if touches_aoi(job.scene, tile.core)]
        if done:
            watcher.note(f"resumed: {len(done)} of {len(tiles)} tiles were finished before")
            tiles = [tile for tile in tiles if tile.number not in done]
        if not tiles:
            return
        scene, notes = retiled(job.scene, publication.work)
        for note in notes:
            watcher.note(note)
        job = replace(job, fit=replace(job.fit, scene=scene))
        watcher.start(len(tiles), sum(tile.core.size for tile in tiles))
        gpus = visible_gpus(settings.predict)
        stack.callback(stop_keeping_blocks)
        work = _work(job, resolved, settings, None if finished is None else finished.reads)
        complete = _completing(finished, job.scheme, stack)
        results = map_tiles(work, tiles, settings.schedule, gpus=gpus, crew=job.crew)
        for found in stack.enter_context(closing(results)):
            result = complete(found)
            checkpoints.keep(result)
            taker.take(result)
            watcher.advance(result.map.window.size)
            tell("tile", f"tile {result.number} done", tile=result.number, pixels=result.map.window.size)
            keep_within(job)


def _completing(
    finished: FinishedPixels | None, scheme: ClassScheme, stack: ExitStack
) -> Callable[[TileResult], TileResult]:
    """What puts a finished run's pixels into a result; its rasters stay open as long as the stack."""
    if finished is None:
        return lambda result: result
    read = stack.enter_context(opened_answer(finished.classes, finished.scores, scheme))
    return lambda result: result.completed(read)


def _work(job: Job, resolved: Resolved, settings: RunSettings, known: SceneReads | None) -> TileJob:
    """What workers do; ready to start when they are threads of this process."""
    layers, tta = settings.layers, settings.predict.tta
    work = TileJob(job.scene, job.plan, job.model, resolved, layers=layers, merge=job.merge, tta=tta, known=known)
    if not settings.schedule.distributed:
        work.warm_up(None if job.crew is None else job.crew.threads)
        if resolved.device == "cpu":
            keep_freed_blocks()  # an earlier run of this process may have stopped it
    return work


def raster_tags(job: Job) -> dict[str, str]:
    """Metadata items of the output rasters."""
    spec = job.model.spec
    return {
        "GEOSEG_MODEL": spec.name,
        "GEOSEG_MODEL_VERSION": spec.version,
        "GEOSEG_MODEL_SHA256": job.model.sha256,
        "GEOSEG_MODEL_LICENSE": spec.license,
        "GEOSEG_MODEL_ATTRIBUTION": spec.attribution,
        "GEOSEG_VERSION": __version__,
        **({} if job.scene.acquired is None else {"GEOSEG_DATETIME": job.scene.acquired.text}),
    }
