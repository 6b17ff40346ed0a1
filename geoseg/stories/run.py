"""The main job: scene → class raster, polygons, preview, STAC item."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geoseg.errors import InputError, ModelOutputError
from geoseg.grid import Window
from geoseg.io.class_raster import open_class_raster
from geoseg.io.overview import picture_window, small_classes, small_image
from geoseg.io.publish import Publication
from geoseg.io.scene import Scene
from geoseg.io.table import write_zone_table
from geoseg.io.vector import about_of, check_path, write_polygons
from geoseg.model.device import machine_key, resolve
from geoseg.picture import render_preview, stretch
from geoseg.polygons.table import Polygons
from geoseg.settings import RunSettings
from geoseg.stories.item import run_item
from geoseg.stories.names import OutputNames, RunResult
from geoseg.stories.prepare import Job, keep_sources, prepare, segment_key
from geoseg.stories.segment import (
    Silent,
    Summary,
    Watcher,
    announce,
    as_inputs,
    recorded_summary,
    summarize,
    write_rasters,
)
from geoseg.stories.stats import asked_zones, table_key, zone_table
from geoseg.stories.vectorize import layer_name, polygons_of, vector_key
from geoseg.tiling.cluster import check_schedule

TRUE_COLOR = ("red", "green", "blue")
PREVIEW_PX = 1024


def run(
    inputs: str | Path | Sequence[str | Path],
    folder: str | Path,
    settings: RunSettings | None = None,
    watcher: Watcher | None = None,
) -> RunResult:
    """Segment a scene and vectorize the result.

    Writes into `folder`: `NAME.classes.tif` (+ `.aux.xml`, `.qml`), `NAME.polygons.*` in the formats of
    `settings.vector.formats`, `NAME.preview.png`, with `confidence` `NAME.confidence.tif`, with zones `NAME.zones.csv`,
    and last `NAME.json`, a STAC item. NAME is the product's, else the first input's stem.

    Args:
        inputs: raster or product, or with `settings.read.together = "stack"` several rasters of one scene.
        folder: output folder, made when missing.
        settings: everything else.
        watcher: told about progress.

    Raises:
        GeosegError: see `geoseg.errors`; the exit codes of the command line are theirs.
    """
    settings, watcher, folder = settings or RunSettings(), watcher or Silent(), Path(folder)
    check_schedule(settings.schedule)
    zones = asked_zones(settings.vector)
    job = prepare(as_inputs(inputs), settings)
    resolved = resolve(settings.predict)
    names = OutputNames.of(job.name, settings)
    check_path(folder / names.record)
    keep_sources(job, folder, [*names.all, names.record])
    key = {
        "segment": segment_key(job, settings, machine_key(resolved)),
        "vector": vector_key(settings.vector, job.scheme) | {"formats": sorted(settings.vector.formats)},
        "zones": _zones_key(settings),
    }
    with Publication(
        folder,
        names.record,
        key,
        overwrite=settings.output.overwrite,
        break_lock=settings.output.break_lock,
        names=names.all,
    ) as publication:
        if publication.up_to_date:
            return _recorded(names, folder)
        announce(job, watcher)
        tally = write_rasters(job, resolved, settings, publication.stage, names.rasters, watcher)
        summary = summarize(tally, job)
        polygons = _write_polygons(summary, names, settings, publication.stage)
        summary = _measured(summary, polygons, settings)
        if zones is not None and names.zones is not None:
            write_zone_table(zone_table([publication.stage(names.rasters[0])], zones), publication.stage(names.zones))
        _write_preview(job, summary, names, publication.stage, watcher)
        publication.commit(lambda files: run_item(files, job, resolved, settings, names, summary, len(polygons)))
    return names.result(folder, summary, len(polygons))


def _zones_key(settings: RunSettings) -> dict[str, Any] | None:
    file, field = settings.vector.zones, settings.vector.zone_field
    return None if file is None or field is None else table_key(file, field)


def _recorded(names: OutputNames, folder: Path) -> RunResult:
    record = folder / names.record
    count = json.loads(record.read_text(encoding="utf-8"))["geoseg:polygons"]
    return names.result(folder, recorded_summary(record), count, up_to_date=True)


def _write_polygons(
    summary: Summary, names: OutputNames, settings: RunSettings, stage: Callable[[str], Path]
) -> Polygons:
    """All formats from one set of polygons, which must hold exactly the pixels that were classified.

    Raises:
        ModelOutputError: they do not.
    """
    raster = open_class_raster(stage(names.rasters[0]))
    confidence = stage(names.rasters[-1]) if names.confidence else None
    polygons = polygons_of(raster, confidence, settings.vector)
    for code, name in zip(raster.scheme.codes, raster.scheme.names, strict=True):
        found = int(polygons.n_pixels[polygons.class_id == code].sum())
        if found not in {summary.pixels[name], 0} or (
            found == 0 < summary.pixels[name] and not settings.vector.skip_classes
        ):
            raise ModelOutputError(
                f"self-check: polygons of {name!r} cover {found} pixels, the class raster {summary.pixels[name]}."
            )
    for name in names.polygons:
        write_polygons(polygons, stage(name), layer=layer_name(raster), about=about_of(raster.tags))
    return polygons


def _measured(summary: Summary, polygons: Polygons, settings: RunSettings) -> Summary:
    """Areas as the polygons' geometries have them; classes without polygons keep the raster's."""
    if settings.vector.skip_classes:
        return summary
    return replace(summary, area_m2=polygons.area_m2_by_class)


def _write_preview(
    job: Job, summary: Summary, names: OutputNames, stage: Callable[[str], Path], watcher: Watcher
) -> None:
    scheme = job.scheme
    window = picture_window(job.scene)
    shown = job.scene.grid.crop(window)
    codes = small_classes(stage(names.rasters[0]), PREVIEW_PX, window)
    # The class raster has one code for all of them.
    reasons = {"outside the AOI": summary.outside_px, "no data": summary.nodata_px, **summary.masked_px}
    page = render_preview(
        _true_color(job.scene, window, watcher),
        codes,
        scheme,
        nodata=scheme.nodata,
        metres_per_pixel=shown.gsd_m * shown.width / codes.shape[1],
        title=job.name,
        areas_ha={name: area / 1e4 for name, area in summary.area_m2.items()},
        empty=" / ".join(reason for reason, pixels in reasons.items() if pixels),
    )
    page.save(stage(names.preview))


def _true_color(scene: Scene, window: Window, watcher: Watcher) -> Any:
    """The left panel; None without the bands, or where the file cannot be read: the map itself is sound."""
    if not set(TRUE_COLOR) <= set(scene.names):
        return None
    try:
        return stretch(*small_image(scene.select(TRUE_COLOR), PREVIEW_PX, window))
    except InputError as error:
        watcher.warn(f"the preview comes without its true-color panel: {error}")
        return None
