"""The main job: scene → class raster, polygons, preview, page, STAC item."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from geoseg.io.failpoint import failpoint
from geoseg.io.publish import Publication
from geoseg.io.table import write_zone_table
from geoseg.io.vector import check_path
from geoseg.model.device import Resolved, machine_key, resolve
from geoseg.settings import RunSettings
from geoseg.stories.class_changes import ClassChange
from geoseg.stories.earlier import ANSWER
from geoseg.stories.item import run_item
from geoseg.stories.names import OutputNames, RunResult
from geoseg.stories.past import CALL, Call, Past
from geoseg.stories.photographer import Photographer, early_bytes
from geoseg.stories.prepare import Job, keep_sources, prepare, segment_key, tiles_key
from geoseg.stories.run_answer import Work, answered
from geoseg.stories.run_polygons import vectorized
from geoseg.stories.segment import as_inputs, recorded_summary
from geoseg.stories.stats import asked_zones, table_key, zone_table
from geoseg.stories.update import without_contents
from geoseg.stories.vector_key import check_scored, thing_codes, vector_key
from geoseg.stories.watcher import Silent, Watcher
from geoseg.tiling.cluster import check_schedule

_CHANGED = "geoseg:changed"
_POLYGONS = "geoseg:polygons"


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
        work = Work(job, resolved, settings, names, publication, watcher, call, turn, folder)
        with Photographer(job.scene) as photographer:
            if early_bytes(job.scene, settings.schedule):
                photographer.picture()
            with answered(work) as answer:
                summary, polygons, changed = vectorized(work, answer, photographer)
        if zones is not None and names.zones is not None:
            write_zone_table(zone_table([work.stage(names.classes)], zones), work.stage(names.zones))
        later = {
            CALL: call.to_json(),
            ANSWER: asdict(answer.summary),
            _CHANGED: [asdict(change) for change in changed],
            _POLYGONS: len(polygons),
        }
        publication.commit(lambda files: run_item(files, job, resolved, settings, names, summary) | later)
    return replace(names.result(folder, summary, len(polygons), changed), sources=job.sources)


def _key(job: Job, settings: RunSettings, resolved: Resolved) -> dict[str, Any]:
    vector = vector_key(settings.vector, job.scheme, job.plan.grid, job.scene.aoi_wkb)
    return {
        "segment": segment_key(job, settings, machine_key(resolved)),
        "vector": vector | {"formats": sorted(settings.vector.formats)},
        "zones": _zones_key(settings),
    }


def _zones_key(settings: RunSettings) -> dict[str, Any] | None:
    file, field = settings.vector.zones, settings.vector.zone_field
    return None if file is None or field is None else table_key(file, field)


def _recorded(names: OutputNames, folder: Path) -> RunResult:
    record = folder / names.record
    found = json.loads(record.read_text(encoding="utf-8"))
    changed = tuple(ClassChange(**change) for change in found[_CHANGED])
    return names.result(folder, recorded_summary(record), found[_POLYGONS], changed, up_to_date=True)
