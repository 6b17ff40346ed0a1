"""The pixels of a scene: every tile predicted, the rasters written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from geoseg import __version__
from geoseg.io.archive import check_archives
from geoseg.io.cog import write_class_cog, write_score_cog
from geoseg.io.read import touches_aoi
from geoseg.io.spool import RasterSpool
from geoseg.model.device import Resolved
from geoseg.settings import RunSettings
from geoseg.stories.prepare import Job
from geoseg.stories.watcher import Watcher
from geoseg.tiling.schedule import map_tiles
from geoseg.tiling.tally import Tally
from geoseg.tiling.worker import TileJob


def write_rasters(
    job: Job,
    resolved: Resolved,
    settings: RunSettings,
    stage: Callable[[str], Path],
    names: Sequence[str],
    watcher: Watcher,
) -> Tally:
    """Predict all tiles and write class raster and confidence raster to their staging paths.

    Args:
        job: what to do.
        resolved: on which device.
        settings: for the schedule and the layers asked for.
        stage: final name → staging path.
        names: as `raster_names` gives them.
        watcher: told about progress.
    """
    check_archives([*job.scene.paths, *(mask.path for mask in job.scene.masks)])
    scheme, grid = job.scheme, job.plan.grid
    tally = Tally(grid, scheme)
    with ExitStack() as stack:
        place = stage(names[0])
        codes = stack.enter_context(RasterSpool(place.with_suffix(".spool"), grid, scheme.dtype, scheme.nodata))
        scores = {
            name: stack.enter_context(RasterSpool(place.with_suffix(f".{name}"), grid, "uint8", 0))
            for name in settings.predict.layers
        }
        _predict(job, resolved, settings, codes, scores, tally, watcher)
        tags = raster_tags(job)
        write_class_cog(codes, place, scheme=scheme, tags=tags)
        for name, spool in zip(names[-len(scores) :] if scores else (), scores.values(), strict=True):
            write_score_cog(spool, stage(name), tags=tags)
    return tally


def _predict(
    job: Job,
    resolved: Resolved,
    settings: RunSettings,
    codes: RasterSpool,
    scores: Mapping[str, RasterSpool],
    tally: Tally,
    watcher: Watcher,
) -> None:
    """Tiles in any order into the spools; the only writer is this coordinator."""
    scheme = job.scheme
    tiles = job.plan if job.scene.aoi is None else [t for t in job.plan if touches_aoi(job.scene, t.core)]
    work = TileJob(job.scene, job.plan, job.model, resolved, layers=settings.predict.layers, merge=job.merge)
    if settings.schedule.workers is None and settings.schedule.scheduler is None:
        work.warm_up()
    watcher.start(len(tiles), sum(tile.core.size for tile in tiles))
    for result in map_tiles(work, tiles, settings.schedule):
        codes.write(result.map.window, scheme.code_of_index[result.map.index])
        for name, spool in scores.items():
            spool.write(result.map.window, result.map.scores[name])
        tally.add(result)
        for event in result.events:
            watcher.warn(event)
        watcher.advance(result.map.window.size)


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
