"""The main job: scene → class raster, polygons, preview, page, STAC item."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.io.burn import area_on
from geoseg.io.class_raster import ClassRaster, open_class_raster
from geoseg.io.dissolve import store
from geoseg.io.early import EarlyWriter, early_writer, pays
from geoseg.io.failpoint import failpoint
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.io.publish import Publication
from geoseg.io.score_raster import score_counts
from geoseg.io.table import write_zone_table
from geoseg.io.vector import about_of, check_path, layer_of, write_polygons
from geoseg.log import stage
from geoseg.model.device import Resolved, machine_key, resolve
from geoseg.settings import RunSettings
from geoseg.stories.class_changes import ClassChange
from geoseg.stories.earlier import ANSWER, earlier_answer
from geoseg.stories.holes import giving_back
from geoseg.stories.item import run_item
from geoseg.stories.names import OutputNames, RunResult
from geoseg.stories.objects import objects_of, write_instances
from geoseg.stories.past import CALL, Call, Past
from geoseg.stories.photographer import Image, Photographer, early_bytes
from geoseg.stories.pictures import look_at, write_preview
from geoseg.stories.prepare import Job, check_unchanged, keep_sources, prepare, segment_key, tiles_key
from geoseg.stories.rasters import write_rasters
from geoseg.stories.regions import find_regions, layer_name, polygons_of, write_regions
from geoseg.stories.run_report import Made, write_report
from geoseg.stories.score_files import ScoreFiles
from geoseg.stories.segment import Summary, announce, as_inputs, recorded_summary, summarize
from geoseg.stories.self_check import check_pixels
from geoseg.stories.stats import asked_zones, table_key, zone_table
from geoseg.stories.update import finished_pixels, without_contents
from geoseg.stories.vector_key import check_scored, skipped_codes, thing_codes, vector_key
from geoseg.stories.watcher import Silent, Watcher
from geoseg.tiling.cluster import check_schedule

Outcome = tuple[Summary, StoredPolygons, tuple[ClassChange, ...]]
"""The summary of the raster that the polygons outline, the polygons, what changed class."""
Scores = NDArray[np.int64]
_CHANGED = "geoseg:changed"
_POLYGONS = "geoseg:polygons"


@dataclass(frozen=True)
class _Work:
    """What the stages of one run share."""

    job: Job
    resolved: Resolved
    settings: RunSettings
    names: OutputNames
    publication: Publication
    watcher: Watcher
    call: Call
    turn: AbstractContextManager[object] | None
    folder: Path

    def stage(self, name: str) -> Path:
        return self.publication.stage(name)


@dataclass(frozen=True)
class _Seen:
    """What the pages show besides the map."""

    picture: Future[Image | None]
    """True color."""
    scores: Future[Scores | None]


def run(
    inputs: str | Path | Sequence[str | Path],
    folder: str | Path,
    settings: RunSettings | None = None,
    watcher: Watcher | None = None,
    past: Past | None = None,
    turn: AbstractContextManager[object] | None = None,
) -> RunResult:
    """Segment a scene and vectorize the result.

    Writes into `folder`: `NAME.classes.tif` (+ `.aux.xml`, `.qml`), `NAME.polygons.*` in the formats of
    `settings.vector.formats`, `NAME.preview.png`, `NAME.report.html`, the score rasters asked for
    (`NAME.confidence.tif`, `NAME.ambiguity.tif`, `NAME.probabilities.tif`), with zones `NAME.zones.csv`, with a minimum
    mapping unit `NAME.raw.tif`, the model's answer before it, with things `NAME.instances.tif`, the number of each
    pixel's object, `NAME.tiles.parquet`, what each chip read, and last `NAME.json`, a STAC item. NAME is the
    product's, else the first input's stem. With `overwrite` the model's answer of a finished run is taken from there if
    only what comes after it is asked for anew; with `update` what changed inputs left as it was.

    Args:
        inputs: raster or product, or with `settings.read.together = "stack"` several rasters of one scene.
        folder: output folder, made when missing.
        settings: everything else.
        watcher: told about progress.
        past: an earlier run that this one repeats: files carry its time, the watcher is told what differs.
        turn: held while the device is at work, by runs of one process that share it.

    Raises:
        GeosegError: see `geoseg.errors`; the exit codes of the command line are theirs.
    """
    settings, watcher, folder = settings or RunSettings(), watcher or Silent(), Path(folder)
    check_schedule(settings.schedule)
    zones = asked_zones(settings.vector)
    job = prepare(as_inputs(inputs), settings)
    failpoint("open")
    resolved = resolve(settings.predict, job.model.spec)
    things = thing_codes(job.scheme, settings.vector.things)
    names = OutputNames.of(job.name, settings, things=bool(things))
    check_scored(settings.vector, job.scheme, names.segmented.scores)
    check_path(folder / names.record)
    keep_sources(job, folder, [*names.all, names.record])
    key = _key(job, settings, resolved)
    output = settings.output
    with Publication(
        folder,
        names.record,
        key,
        overwrite=output.overwrite,
        break_lock=output.break_lock,
        restart=output.restart,
        names=names.all,
        tiles_key=tiles_key(job, key["segment"]),
        update_by=without_contents if output.update else None,
    ) as publication:
        if publication.up_to_date:
            return replace(_recorded(names, folder), sources=job.sources)
        if past is not None:
            past.tell(publication.key, watcher)
        call = Call.now(as_inputs(inputs), folder, past)
        work = _Work(job, resolved, settings, names, publication, watcher, call, turn, folder)
        with Photographer(job.scene) as photographer:
            if early_bytes(job.scene, settings.schedule):
                photographer.picture()
            answer = _segmented(work)
            summary, polygons, changed = _vectorized(work, answer, photographer)
        if zones is not None and names.zones is not None:
            write_zone_table(zone_table([work.stage(names.classes)], zones), work.stage(names.zones))
        later: dict[str, Any] = {CALL: work.call.to_json()}
        later |= {ANSWER: asdict(answer), _CHANGED: [asdict(change) for change in changed], _POLYGONS: len(polygons)}
        publication.commit(lambda files: run_item(files, job, resolved, settings, names, summary) | later)
    return replace(names.result(folder, summary, len(polygons), changed), sources=job.sources)


def _key(job: Job, settings: RunSettings, resolved: Resolved) -> dict[str, Any]:
    vector = vector_key(settings.vector, job.scheme, job.plan.grid, job.scene.aoi_wkb)
    return {
        "segment": segment_key(job, settings, machine_key(resolved)),
        "vector": vector | {"formats": sorted(settings.vector.formats)},
        "zones": _zones_key(settings),
    }


def _segmented(work: _Work) -> Summary:
    """The model's answer, staged: an earlier run's if it answered the same question, else a new one."""
    announce(work.job, work.watcher)
    unit = work.job.model.spec.default_mmu
    if unit is not None and not work.names.generalized:
        work.watcher.note(f"the model's makers suggest --mmu {unit}; none is applied")
    found = earlier_answer(work.folder / work.names.record, work.publication.key["segment"])
    if found is None:
        names, key, finished = work.names.segmented, work.publication.key["segment"], None
        if work.settings.output.update:
            finished = finished_pixels(work.folder / work.names.record, key, names, work.job.plan, work.watcher)
        publication, watcher = work.publication, work.watcher
        tally = write_rasters(
            work.job, work.resolved, work.settings, publication, names, watcher, finished, turn=work.turn
        )
        check_unchanged(work.job, key, work.publication)
        return summarize(tally, work.job)
    for old, new in zip(found.files, work.names.segmented.all, strict=True):
        shutil.copyfile(old, work.stage(new))
    work.watcher.note(f"nothing changed before the polygons: pixels are those of {found.files[0].name}")
    return found.summary


def _zones_key(settings: RunSettings) -> dict[str, Any] | None:
    file, field = settings.vector.zones, settings.vector.zone_field
    return None if file is None or field is None else table_key(file, field)


def _recorded(names: OutputNames, folder: Path) -> RunResult:
    record = folder / names.record
    found = json.loads(record.read_text(encoding="utf-8"))
    changed = tuple(ClassChange(**change) for change in found[_CHANGED])
    return names.result(folder, recorded_summary(record), found[_POLYGONS], changed, up_to_date=True)


@stage("vectorize")
def _vectorized(work: _Work, answer: Summary, photographer: Photographer) -> Outcome:
    """Generalized raster, all formats from one set of polygons, and the pages, which wait for no other process.

    Raises:
        ModelOutputError: the polygons do not hold exactly the pixels of that raster.
    """
    codes = [c.code for c in work.job.scheme.classes if answer.pixels[c.name]]
    raster = open_class_raster(work.stage(work.names.answer), occurring=codes)
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
        outcome = _outlined(work, raster, answer, early)
        begun = [place for place in places if early is not None and early.path == place]

        def write(some: Iterable[Path]) -> None:
            for place in some:
                finished = partial(work.publication.finished, place.name)
                write_polygons(outcome[1], place, **told, early=early, finished=finished)

        write(place for place in places if place not in begun)
        _write_pages(work, outcome, seen)
        write(begun)
    return outcome


def _outlined(work: _Work, raster: ClassRaster, answer: Summary, early: EarlyWriter | None) -> Outcome:
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


def _staged(work: _Work, layer: str) -> Path | None:
    """A score raster of the answer, where it is written."""
    name = work.names.segmented.scores.get(layer)
    return None if name is None else work.stage(name)


def _cut(summary: Summary, area_m2: dict[str, float]) -> Summary:
    """The summary of pixels with the areas of polygons cut at the AOI's boundary; what was cut off is outside."""
    areas = summary.area_m2 | area_m2
    beyond = sum(summary.area_m2.values()) - sum(areas.values())
    return replace(summary, area_m2=areas, outside_m2=summary.outside_m2 + beyond)


def _scores(work: _Work) -> Scores | None:
    """(256,) pixels by winning score, where there is a raster of them."""
    path = _staged(work, "confidence")
    return None if path is None else score_counts(path, work.job.scene.grid)


def _write_pages(work: _Work, outcome: Outcome, seen: _Seen) -> None:
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
