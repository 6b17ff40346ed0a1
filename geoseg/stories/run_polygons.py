"""The second half of a run: polygons, in all formats, and what people look at."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.io.burn import area_on
from geoseg.io.class_raster import ClassRaster, open_class_raster
from geoseg.io.dissolve import store
from geoseg.io.early import EarlyWriter, early_writer, pays
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.io.score_raster import score_counts
from geoseg.io.vector import about_of, layer_of, write_polygons
from geoseg.log import stage
from geoseg.stories.class_changes import ClassChange
from geoseg.stories.holes import giving_back
from geoseg.stories.objects import objects_of, write_instances
from geoseg.stories.photographer import Image, Photographer
from geoseg.stories.pictures import look_at, write_preview
from geoseg.stories.regions import find_regions, layer_name, polygons_of, write_regions
from geoseg.stories.run_answer import Answer, Work
from geoseg.stories.run_report import Made, write_report
from geoseg.stories.score_files import ScoreFiles
from geoseg.stories.segment import Summary
from geoseg.stories.self_check import check_pixels
from geoseg.stories.vector_key import skipped_codes

Outcome = tuple[Summary, StoredPolygons, tuple[ClassChange, ...]]
"""The summary of the raster that the polygons outline, the polygons, what changed class."""
Scores = NDArray[np.int64]


@dataclass(frozen=True)
class _Seen:
    """What the pages show besides the map."""

    picture: Future[Image | None]
    """True color."""
    scores: Future[Scores | None]


@stage("vectorize")
def vectorized(work: Work, answer: Answer, photographer: Photographer) -> Outcome:
    """All formats from one set of polygons, rasters, and pages; only the early format waits for another process.

    Raises:
        ModelOutputError: the polygons do not hold exactly the pixels of that raster.
        OutputError: the disk refuses.
    """
    codes = [c.code for c in work.job.scheme.classes if answer.summary.pixels[c.name]]
    raster = open_class_raster(answer.raster, occurring=codes)
    told: dict[str, Any] = {"layer": layer_name(raster), "about": about_of(raster.tags), "written": work.call.written}
    places = [work.stage(name) for name in work.names.polygons]
    vector, limit = work.settings.vector, work.settings.schedule.max_memory
    wanted = pays(raster.grid, dissolve=vector.dissolve, max_memory=limit)
    with (
        early_writer(places, partial(layer_of, **told), wanted=wanted) as early,
        ThreadPoolExecutor(1, thread_name_prefix="scores") as pool,
    ):
        # Not while polygons are written here: GDAL's writer holds the interpreter, and each would wait for the other.
        seen = _Seen(photographer.picture(), pool.submit(_scores, work))
        outcome = _outlined(work, raster, answer.summary, early)
        begun = [place for place in places if early is not None and early.path == place]

        def write(some: Iterable[Path]) -> None:
            for place in some:
                finished = partial(work.publication.finished, place.name)
                write_polygons(outcome[1], place, **told, early=early, finished=finished)

        write(place for place in places if place not in begun)
        # While the other process catches up.
        answer.finish()
        _write_pages(work, outcome, seen)
        write(begun)
    return outcome


def _outlined(work: Work, raster: ClassRaster, answer: Summary, early: EarlyWriter | None) -> Outcome:
    """Rasters after the model's answer, and the polygons, at most in one format yet."""
    names, vector, aoi_wkb = work.names, work.settings.vector, work.job.scene.aoi_wkb
    scores = ScoreFiles(*(_staged(work, layer) for layer in ("confidence", "probabilities")))
    area = None if aoi_wkb is None else area_on(aoi_wkb, raster.grid)
    limit = work.settings.schedule.max_memory
    summary, scratch = answer, work.publication.work
    with objects_of(
        find_regions(raster, scores.confidence, vector, area, limit), scores, vector, scratch, limit
    ) as regions:
        if names.generalized:
            pixels = write_regions(regions, work.stage(names.classes))
            summary = replace(answer, pixels=pixels, area_m2=answer.area_m2 | (regions.area_m2 or {}))
        if names.instances is not None:
            write_instances(regions, work.stage(names.instances))
        tables = giving_back(polygons_of(regions, vector, scratch, limit))
        polygons = store(tables, scratch, dissolve=vector.dissolve, early=early)
    skipped = skipped_codes(raster.scheme, vector.skip_classes)
    check_pixels(polygons, summary, raster.scheme, skipped, exact=area is None)
    if area is not None:
        made = [c.name for c in raster.scheme.classes if c.code not in skipped]
        summary = _cut(summary, {name: polygons.area_m2_by_class[name] for name in made})
    elif not (skipped or vector.simplify or vector.smooth):
        # The same ground, to the last digit that the tables of the polygons show.
        summary = replace(summary, area_m2=polygons.area_m2_by_class)
    return summary, polygons, regions.changed


def _staged(work: Work, layer: str) -> Path | None:
    """A score raster of the answer, where it is written."""
    name = work.names.segmented.scores.get(layer)
    return None if name is None else work.stage(name)


def _cut(summary: Summary, area_m2: dict[str, float]) -> Summary:
    """The summary of pixels with the areas of polygons cut at the AOI's boundary; what was cut off is outside."""
    areas = summary.area_m2 | area_m2
    beyond = sum(summary.area_m2.values()) - sum(areas.values())
    return replace(summary, area_m2=areas, outside_m2=summary.outside_m2 + beyond)


def _scores(work: Work) -> Scores | None:
    """(256,) pixels by winning score, where there is a raster of them."""
    path = _staged(work, "confidence")
    return None if path is None else score_counts(path, work.job.scene.grid)


def _write_pages(work: Work, outcome: Outcome, seen: _Seen) -> None:
    """What people look at first: the preview, and the page that will stand in the folder."""
    job, names, (summary, polygons, changed) = work.job, work.names, outcome
    classes = work.stage(names.classes)
    look = look_at(job, classes, summary, seen.picture, work.watcher)
    write_preview(work.stage(names.preview), look, job, summary)
    made = Made(
        job=job,
        resolved=work.resolved,
        settings=work.settings,
        names=names,
        summary=summary,
        polygons=polygons.count_by_class,
        changed=changed,
        look=look,
        scores=seen.scores.result(),
    )
    write_report(work.stage(names.report), made, classes, work.folder)
