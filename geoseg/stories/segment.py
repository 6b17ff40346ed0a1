"""Raster → class raster: the whole command, and the stages that `run` shares with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from geoseg import __version__
from geoseg.errors import UsageError
from geoseg.io.archive import check_archives
from geoseg.io.class_raster import scene_name
from geoseg.io.cog import write_class_cog, write_score_cog
from geoseg.io.publish import FileEntry, Publication
from geoseg.io.read import touches_aoi
from geoseg.io.scene import Scene
from geoseg.io.spool import RasterSpool
from geoseg.model.device import Resolved, machine_key, resolve
from geoseg.model.spec import ModelSpec
from geoseg.settings import RunSettings, ScheduleSettings
from geoseg.stories.prepare import Job, keep_sources, prepare, segment_key
from geoseg.tiling.cluster import check_schedule
from geoseg.tiling.schedule import map_tiles
from geoseg.tiling.tally import Tally
from geoseg.tiling.worker import TileJob


class Watcher(Protocol):
    """Told how far a run is; the command line draws a bar."""

    def start(self, tiles: int, pixels: int) -> None:
        """Work begins: so many tiles, so many pixels."""

    def advance(self, pixels: int) -> None:
        """A tile of so many pixels is done."""

    def note(self, text: str) -> None:
        """What was assumed or applied."""

    def warn(self, text: str) -> None:
        """Something that the user should know before trusting the result."""


class Silent:
    """A watcher that says nothing."""

    def start(self, tiles: int, pixels: int) -> None:
        """Ignore."""

    def advance(self, pixels: int) -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""

    def warn(self, text: str) -> None:
        """Ignore."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What became of the pixels."""

    pixels: dict[str, int]
    """By class name."""
    area_m2: dict[str, float]
    """Ground square meters by class name."""
    masked_px: dict[str, int]
    """By reason (cloud, shadow, …): pixels that hold data and were masked."""
    masked_m2: dict[str, float]
    nodata_px: int
    nodata_m2: float
    outside_px: int
    """Outside the area of interest."""
    outside_m2: float
    area_model: str
    chips: int
    """Chips sent through the network."""
    warnings: tuple[str, ...]
    """What the user should know before trusting the result."""


@dataclass(frozen=True, kw_only=True)
class SegmentResult:
    """What `segment` made (or found already made)."""

    classes: Path
    confidence: Path | None
    summary: Summary
    up_to_date: bool = False


def segment(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    settings: RunSettings | None = None,
    watcher: Watcher | None = None,
) -> SegmentResult:
    """Classify every pixel of a scene.

    Writes `output` (a COG), its `.aux.xml` and `.qml`, with `confidence` also `NAME.confidence.tif`, and
    last the commit record `<output name>.json`.

    Args:
        inputs: raster, or with `settings.read.together = "stack"` several of one scene.
        output: class raster to write, `.tif`.
        settings: everything else.
        watcher: told about progress.

    Raises:
        GeosegError: see `geoseg.errors`; the exit codes of the command line are theirs.
    """
    settings, watcher, output = settings or RunSettings(), watcher or Silent(), Path(output)
    if output.suffix.lower() not in {".tif", ".tiff"}:
        raise UsageError(f"-o {output}: a class raster is a GeoTIFF; let the name end in .tif.")
    check_schedule(settings.schedule)
    job = prepare(as_inputs(inputs), settings)
    resolved = resolve(settings.predict)
    names = raster_names(output.name, f"{scene_name(output)}.confidence.tif", confidence=settings.predict.confidence)
    confidence = output.parent / names[-1] if settings.predict.confidence else None
    key = segment_key(job, settings, machine_key(resolved))
    record = f"{output.name}.json"
    keep_sources(job, output.parent, [*names, record])
    with Publication(
        output.parent,
        record,
        key,
        overwrite=settings.output.overwrite,
        break_lock=settings.output.break_lock,
        names=names,
    ) as publication:
        if publication.up_to_date:
            summary = recorded_summary(output.parent / record)
            return SegmentResult(classes=output, confidence=confidence, summary=summary, up_to_date=True)
        announce(job, watcher)
        tally = write_rasters(job, resolved, settings, publication.stage, names, watcher)
        summary = summarize(tally, job)
        publication.commit(lambda files: segment_record(files, summary))
    return SegmentResult(classes=output, confidence=confidence, summary=summary)


def as_inputs(inputs: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """One path or several → a list."""
    return [inputs] if isinstance(inputs, str | Path) else list(inputs)


def raster_names(classes: str, scores: str, *, confidence: bool) -> list[str]:
    """Final names of the class raster, its sidecars and, last, the confidence raster."""
    names = [classes, f"{classes}.aux.xml", str(Path(classes).with_suffix(".qml"))]
    return [*names, scores] if confidence else names


def announce(job: Job, watcher: Watcher) -> None:
    """Say, before the work, what was understood: what was applied to the numbers, what was assumed."""
    for text in (_describe_model(job.model.spec), *describe_radiometry(job.scene), *job.scene.remarks):
        watcher.note(text)
    for text in job.fit.warnings:
        watcher.warn(text)


def _describe_model(spec: ModelSpec) -> str:
    held_out = spec.metrics.get("held_out", {})
    accuracy = held_out.get("overall_accuracy")
    seen = "not measured" if accuracy is None else f"{accuracy:.2f}, mean IoU {held_out['mean_iou']:.2f}"
    return f"model {spec.name} {spec.version}, held-out accuracy {seen}"


def describe_radiometry(scene: Scene) -> list[str]:
    """How stored numbers become reflectance, and who said so; equal bands share a line."""
    if scene.radiometry == "none":
        return ["numbers are used as stored: neither flags nor file give scale or offset"]
    by_formula: dict[str, list[str]] = {}
    for band in scene.bands:
        by_formula.setdefault(f"DN·{band.scale:g} {band.offset:+g}", []).append(band.name)
    return [f"reflectance = {formula} ({scene.radiometry}): {', '.join(n)}" for formula, n in by_formula.items()]


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
        scores = None
        if settings.predict.confidence:
            scores = stack.enter_context(RasterSpool(place.with_suffix(".scores"), grid, "uint8", 0))
        _predict(job, resolved, settings.schedule, codes, scores, tally, watcher)
        tags = raster_tags(job)
        write_class_cog(codes, place, scheme=scheme, tags=tags)
        if scores is not None:
            write_score_cog(scores, stage(names[-1]), tags=tags)
    return tally


def _predict(
    job: Job,
    resolved: Resolved,
    schedule: ScheduleSettings,
    codes: RasterSpool,
    scores: RasterSpool | None,
    tally: Tally,
    watcher: Watcher,
) -> None:
    """Tiles in any order into the spools; the only writer is this coordinator."""
    scheme = job.scheme
    tiles = job.plan if job.scene.aoi is None else [t for t in job.plan if touches_aoi(job.scene, t.core)]
    work = TileJob(job.scene, job.plan, job.model, resolved, confidence=scores is not None, merge=job.merge)
    if schedule.workers is None and schedule.scheduler is None:
        work.warm_up()
    watcher.start(len(tiles), sum(tile.core.size for tile in tiles))
    for result in map_tiles(work, tiles, schedule):
        codes.write(result.map.window, scheme.code_of_index[result.map.index])
        if scores is not None and result.map.confidence is not None:
            scores.write(result.map.window, result.map.confidence)
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


def summarize(tally: Tally, job: Job) -> Summary:
    """The tally as plain numbers, with everything that deserves a warning."""
    demo = (f"{job.model.spec.name} is a demonstration model: {job.model.spec.purpose}",)
    return Summary(
        pixels=tally.pixels,
        area_m2=tally.areas_m2,
        masked_px=tally.masked_px,
        masked_m2=tally.masked_m2,
        nodata_px=tally.nodata_px,
        nodata_m2=tally.nodata_m2,
        outside_px=tally.outside_px,
        outside_m2=tally.outside_m2,
        area_model=tally.model.name,
        chips=tally.chips,
        warnings=(*job.fit.warnings, *tally.events, *(demo if job.model.spec.demonstration else ())),
    )


def segment_record(files: dict[str, FileEntry], summary: Summary) -> dict[str, Any]:
    """Commit record of `segment`."""
    return {"geoseg:files": [asdict(entry) for entry in files.values()], "geoseg:summary": asdict(summary)}


def recorded_summary(record: Path) -> Summary:
    """The summary of a commit record on disk."""
    raw = json.loads(record.read_text(encoding="utf-8"))["geoseg:summary"]
    return Summary(**{**raw, "warnings": tuple(raw["warnings"])})
