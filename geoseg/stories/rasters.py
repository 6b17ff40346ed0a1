"""The pixels of a scene: every tile predicted, the rasters written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from geoseg import __version__
from geoseg.errors import InputError
from geoseg.io.archive import check_archives
from geoseg.io.cog import write_class_cog, write_score_cog
from geoseg.io.publish import Publication
from geoseg.io.read import touches_aoi
from geoseg.io.scratch import retiled
from geoseg.io.spool import RasterSpool
from geoseg.model.blocks import keep_freed_blocks, stop_keeping_blocks
from geoseg.model.device import Resolved, visible_gpus
from geoseg.settings import RunSettings
from geoseg.stories.prepare import Job
from geoseg.stories.raster_names import RasterNames, score_bands
from geoseg.stories.run_cost import keep_within, within_memory
from geoseg.stories.watcher import Watcher
from geoseg.tiling.checkpoint import Checkpoints, resumed_plan
from geoseg.tiling.plan import Tile
from geoseg.tiling.schedule import map_tiles
from geoseg.tiling.tally import Tally
from geoseg.tiling.worker import TileJob, TileResult


def write_rasters(
    job: Job,
    resolved: Resolved,
    settings: RunSettings,
    publication: Publication,
    names: RasterNames,
    watcher: Watcher,
) -> Tally:
    """Predict all tiles and write class raster and score rasters to their staging paths.

    Tiles that an interrupted run has finished are taken from its files.

    Args:
        job: what to do.
        resolved: on which device.
        settings: for the schedule and the layers asked for.
        publication: with the staging paths, and the tiles.
        names: of the rasters.
        watcher: told about progress.

    Raises:
        OutputExistsError: `--tile` asks for other tiles than those of the interrupted run.
        MemoryLimitError: the memory allowed does not suffice for the least.
    """
    check_archives([*job.scene.paths, *(mask.path for mask in job.scene.masks)])
    plan = resumed_plan(job.plan, publication.tiles, asked=settings.schedule.tile is not None)
    begun = bool(publication.tiles.numbers())
    job = within_memory(replace(job, plan=plan), resolved, settings, watcher, keep_tiles=begun)
    scheme, grid = job.scheme, plan.grid
    tally = Tally(grid, scheme)
    with ExitStack() as stack:
        place = publication.stage(names.classes)
        codes = stack.enter_context(RasterSpool(place.with_suffix(".spool"), grid, scheme.dtype, scheme.nodata))
        scores = {
            name: stack.enter_context(
                RasterSpool(place.with_suffix(f".{name}"), grid, "uint8", 0, bands=score_bands([name], len(scheme)))
            )
            for name in names.scores
        }

        def take(result: TileResult) -> None:
            codes.write(result.map.window, scheme.code_of_index[result.map.index])
            for name, spool in scores.items():
                spool.write(result.map.window, result.map.scores[name])
            tally.add(result)
            for event in result.events:
                watcher.warn(event)

        try:
            _predict(job, resolved, settings, publication, take, watcher)
        except InputError:  # mended it is another input, to which these tiles would only be in the way
            publication.tiles.clear()
            raise
        tags = raster_tags(job)
        write_class_cog(codes, place, scheme=scheme, tags=tags)
        for name, spool in scores.items():
            bands = scheme.names if name == "probabilities" else [name]
            write_score_cog(spool, publication.stage(names.scores[name]), bands=bands, tags=tags)
    return tally


def _predict(
    job: Job,
    resolved: Resolved,
    settings: RunSettings,
    publication: Publication,
    take: Callable[[TileResult], None],
    watcher: Watcher,
) -> None:
    """All tiles, in any order, each kept once it is known; the only writer is this coordinator."""
    with Checkpoints(publication.tiles, job.plan) as checkpoints:
        done = set()
        for result in checkpoints.restored():
            take(result)
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
        for result in map_tiles(_work(job, resolved, settings), tiles, settings.schedule, gpus=gpus, crew=job.crew):
            checkpoints.keep(result)
            take(result)
            watcher.advance(result.map.window.size)
            keep_within(job)
        stop_keeping_blocks()


def _work(job: Job, resolved: Resolved, settings: RunSettings) -> TileJob:
    """What workers do; ready to start when they are threads of this process."""
    predict = settings.predict
    work = TileJob(job.scene, job.plan, job.model, resolved, layers=predict.layers, merge=job.merge, tta=predict.tta)
    if not settings.schedule.distributed:
        work.warm_up()
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
