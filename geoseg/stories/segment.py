"""Raster → class raster: the whole command, and the stages that `run` shares with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import UsageError
from geoseg.io.class_raster import scene_name
from geoseg.io.failpoint import failpoint
from geoseg.io.publish import FileEntry, Publication
from geoseg.model.device import machine_key, resolve
from geoseg.model.spec import ModelSpec
from geoseg.settings import RunSettings
from geoseg.stories.mosaic_facts import describe_radiometry
from geoseg.stories.prepare import Job, check_unchanged, keep_sources, prepare, segment_key, tiles_key
from geoseg.stories.raster_names import RasterNames
from geoseg.stories.rasters import predicted
from geoseg.stories.understood import tell_understood
from geoseg.stories.update import finished_pixels, without_contents
from geoseg.stories.watcher import Silent, Watcher
from geoseg.tiling.cluster import check_schedule
from geoseg.tiling.seam import Seam, possible_pairs, sampled_pairs
from geoseg.tiling.tally import Tally


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
    seam: Seam | None
    """How much neighboring chips disagree, by a sample; None: no two valid ones to compare, or none sampled."""
    seam_pairs: int | None = None
    """Pairs of chips in the sample; 0: not sampled, None: there are no two chips with something in common."""
    warnings: tuple[str, ...]
    """What the user should know before trusting the result."""


@dataclass(frozen=True, kw_only=True)
class SegmentResult:
    """What `segment` made (or found already made)."""

    classes: Path
    confidence: Path | None
    ambiguity: Path | None
    probabilities: Path | None
    summary: Summary
    up_to_date: bool = False

    @classmethod
    def of(cls, classes: Path, names: RasterNames, summary: Summary, *, up_to_date: bool = False) -> SegmentResult:
        """The result with these files."""
        return cls(
            classes=classes,
            confidence=names.score("confidence", classes.parent),
            ambiguity=names.score("ambiguity", classes.parent),
            probabilities=names.score("probabilities", classes.parent),
            summary=summary,
            up_to_date=up_to_date,
        )


def segment(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    settings: RunSettings | None = None,
    watcher: Watcher | None = None,
) -> SegmentResult:
    """Classify every pixel of a scene.

    Writes `output` (a COG), its `.aux.xml` and `.qml`, the score rasters asked for (`NAME.confidence.tif`,
    `NAME.ambiguity.tif`, `NAME.probabilities.tif`), `NAME.tiles.parquet`, and last the commit record
    `<output name>.json`. With `settings.output.update` a finished output is brought up to date with changed inputs.

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
    failpoint("open")
    resolved = resolve(settings.predict, job.model.spec)
    names = RasterNames.of(output.name, scene_name(output), settings.layers)
    key = segment_key(job, settings, machine_key(resolved))
    record = f"{output.name}.json"
    keep_sources(job, output.parent, [*names.all, record])
    with Publication(
        output.parent,
        record,
        key,
        overwrite=settings.output.overwrite,
        break_lock=settings.output.break_lock,
        restart=settings.output.restart,
        names=names.all,
        tiles_key=tiles_key(job, key),
        update_by=without_contents if settings.output.update else None,
    ) as publication:
        if publication.up_to_date:
            summary = recorded_summary(output.parent / record)
            return SegmentResult.of(output, names, summary, up_to_date=True)
        announce(job, watcher)
        finished = None
        if settings.output.update:
            finished = finished_pixels(output.parent / record, publication.key, names, job.plan, watcher)
        with predicted(job, resolved, settings, publication, names, watcher, finished) as pixels:
            pixels.write_classes()
        summary = summarize(pixels.tally, job)
        check_unchanged(job, key, publication)
        publication.commit(lambda files: segment_record(files, summary))
    return SegmentResult.of(output, names, summary)


def as_inputs(inputs: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """One path or several → a list."""
    return [inputs] if isinstance(inputs, str | Path) else list(inputs)


def announce(job: Job, watcher: Watcher) -> None:
    """Say, before the work, what was understood: what was applied to the numbers, what was assumed."""
    for text in (_describe_model(job.model.spec, job.fit.absent), *describe_radiometry(job.scene), *job.scene.remarks):
        watcher.note(text)
    tell_understood(job)
    for text in job.fit.warnings:
        watcher.warn(text)


def _describe_model(spec: ModelSpec, absent: Sequence[str]) -> str:
    return f"model {spec.name} {spec.version}, {describe_accuracy(spec, absent)}"


def describe_accuracy(spec: ModelSpec, absent: Sequence[str] = ()) -> str:
    """What its makers measured on data that it was not trained on.

    Args:
        spec: of the model.
        absent: optional bands that an image lacks: where that was measured, too, it is what counts.
    """
    without = spec.metrics.get("_".join(["held_out_without", *absent])) if absent else None
    held_out = without or spec.metrics.get("held_out", {})
    accuracy = held_out.get("overall_accuracy")
    seen = "not measured" if accuracy is None else f"{accuracy:.2f}, mean IoU {held_out['mean_iou']:.2f}"
    missing = f"without {', '.join(absent)} " if without else ""
    return f"held-out accuracy {missing}{seen}"


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
        seam=tally.seam,
        seam_pairs=sum(1 for _ in sampled_pairs(job.plan)) if possible_pairs(job.plan) else None,
        warnings=(*job.fit.warnings, *tally.events, *(demo if job.model.spec.demonstration else ())),
    )


def segment_record(files: dict[str, FileEntry], summary: Summary) -> dict[str, Any]:
    """Commit record of `segment`."""
    return {"geoseg:files": [asdict(entry) for entry in files.values()], "geoseg:summary": asdict(summary)}


def recorded_summary(record: Path) -> Summary:
    """The summary of a commit record on disk."""
    return summary_from(json.loads(record.read_text(encoding="utf-8"))["geoseg:summary"])


def summary_from(plain: dict[str, Any]) -> Summary:
    """A summary as JSON holds it."""
    seam = plain["seam"]
    return Summary(**plain | {"warnings": tuple(plain["warnings"]), "seam": None if seam is None else Seam(**seam)})
