"""The page of a run: what was made, how, from what, and what to know before trusting it.

It holds no time, no folder and nothing of workers and tiles, so that it is the same whenever the result is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg import __version__
from geoseg.errors import InputError, without_secrets
from geoseg.io.posix import disk_errors
from geoseg.io.record import read_record, recorded
from geoseg.io.sample import fingerprint
from geoseg.io.scene import path_name
from geoseg.model.device import Resolved, machine_key
from geoseg.model.licenses import commercial_use_of
from geoseg.model.spec import ModelSpec
from geoseg.report.scene import FactGroup, ScenePage, scene_page
from geoseg.settings import RunSettings
from geoseg.stories.class_changes import ClassChange
from geoseg.stories.item import file_title
from geoseg.stories.mosaic_facts import describe_radiometry
from geoseg.stories.names import OutputNames
from geoseg.stories.pictures import Look
from geoseg.stories.prepare import Job
from geoseg.stories.segment import Summary, describe_accuracy

MOST_CHANGES = 20
_FOLDERS = re.compile(r"[^\s=,]*[/\\](?=[^/\\])")
_ABOUT_RESULT = ("read", "predict", "vector")
"""Groups of settings on which the result depends."""
_AS_RESOLVED = {"model", "device", "precision", "backend", "batch_size"}
"""What was found or chosen in the end counts, and stands with model and software: `auto` and its outcome are alike."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a run made, before it is published."""

    job: Job
    resolved: Resolved
    settings: RunSettings
    names: OutputNames
    summary: Summary
    """Of the raster that the polygons outline."""
    polygons: dict[str, int]
    """Class name → number."""
    changed: tuple[ClassChange, ...]
    look: Look
    scores: NDArray[np.int64] | None
    """(256,) pixels by winning score; None: no confidence raster."""


def write_report(place: Path, made: Made, classes: Path, folder: Path) -> None:
    """Write the page.

    Args:
        place: where.
        made: what it tells.
        classes: class raster, perhaps not yet in its folder.
        folder: where the run's files will stand, and where an assessment of the same map may.

    Raises:
        OutputError: the disk refuses.
    """
    job, names, summary, look = made.job, made.names, made.summary, made.look
    spec = job.model.spec
    accuracy, page_of_it = _assessed(job.name, classes, folder)
    apart = {**summary.masked_m2, "no data": summary.nodata_m2, "outside the AOI": summary.outside_m2}
    page = ScenePage(
        title=job.name,
        lead=_lead(job),
        scheme=job.scheme,
        areas_ha={name: area / 1e4 for name, area in summary.area_m2.items()},
        pixels=summary.pixels,
        polygons=made.polygons,
        apart_ha={name: area / 1e4 for name, area in apart.items() if area > 0},
        image=look.image,
        codes=look.codes,
        empty=look.empty,
        width_m=look.width_m,
        scores=made.scores,
        seam=None if summary.seam is None else summary.seam.at_seam,
        changes=[(one.before, one.after, one.area_m2 / 1e4) for one in made.changed[:MOST_CHANGES]],
        accuracy=accuracy,
        accuracy_file=page_of_it,
        model_accuracy=f"Of {spec.name} {spec.version}: {describe_accuracy(spec, job.fit.absent)}.",
        classes_file=names.classes,
        facts=(
            FactGroup("Input", tuple(_input(job))),
            FactGroup("Model", tuple(_model(spec, job.model.sha256))),
            FactGroup("Settings", (*_settings(made.settings), *_seam(summary))),
            FactGroup("Software", tuple({"geoseg": __version__, **machine_key(made.resolved)}.items())),
        ),
        warnings=summary.warnings,
        files=tuple((name, file_title(name, names)) for name in (*names.all, names.record) if name != names.report),
    )
    with disk_errors("report", place):
        place.write_text(scene_page(page), encoding="utf-8")


def _lead(job: Job) -> str:
    grid, when = job.scene.grid, job.scene.acquired
    taken = "taken at an unknown time" if when is None else f"taken {when.text.replace('/', ' to ')}"
    size = f"{grid.width:,} × {grid.height:,} pixels of {grid.gsd_m:.3g} m"
    return f"Land classes by the model {job.model.spec.name}; {taken}; {size}"


def _input(job: Job) -> Iterator[tuple[str, str]]:
    scene, grid = job.scene, job.scene.grid
    yield "files", ", ".join(path_name(path) for path in scene.paths)
    if scene.sensor is not None:
        yield "sensor", scene.sensor
    authority = grid.crs.to_authority(min_confidence=100)
    yield "CRS", grid.crs.name + ("" if authority is None else f" ({':'.join(authority)})")
    for line in describe_radiometry(scene):
        yield "numbers", line
    if job.fit.absent:
        yield "absent bands", ", ".join(job.fit.absent)
    for mask in scene.masks:
        yield "mask", f"{path_name(str(mask.path))}: {', '.join(mask.reasons)} ({mask.rule})"
    if job.plan.resampled:
        network = job.plan.network_grid.gsd_m
        yield "pixel size", f"{grid.gsd_m:.3g} m, for the network {network:.3g} m; scores brought back bilinearly"
    for note in scene.remarks:
        yield "note", note


def _model(spec: ModelSpec, sha256: str) -> Iterator[tuple[str, str]]:
    use = commercial_use_of(spec)
    yield "name", f"{spec.name} {spec.version}{', a demonstration model' if spec.demonstration else ''}"
    if spec.purpose:
        yield "purpose", spec.purpose
    yield "license", f"{spec.license}; commercial use: {use.answer} ({use.reason})"
    yield "attribution", spec.attribution
    yield "SHA-256", sha256


def _settings(settings: RunSettings) -> Iterator[tuple[str, str]]:
    """Those that are not as by default; of files their names."""
    for group in _ABOUT_RESULT:
        given = getattr(settings, group)
        usual = type(given)()
        for one in fields(given):
            value = getattr(given, one.name)
            if one.name not in _AS_RESOLVED and value != getattr(usual, one.name):
                yield one.name.replace("_", " "), _plain(value)
    yield "all others", "as by default"


def _seam(summary: Summary) -> Iterator[tuple[str, str]]:
    """A number that is not there, and is not 0."""
    if summary.seam_pairs == 0:
        yield "seam disagreement", "not sampled"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(_plain, value))
    return _FOLDERS.sub("", without_secrets(str(value)))


def _assessed(name: str, classes: Path, folder: Path) -> tuple[str | None, str | None]:
    """Figures of `geoseg evaluate` in the same folder, and its page, if they are of exactly this map."""
    record = folder / f"{name}.accuracy.json"
    if not record.is_file():
        return None, None
    try:
        document = read_record(record)
        key, files = recorded(document)
        inputs: Sequence[Any] = key["inputs"]
        if inputs[0] != fingerprint(str(classes)):
            return None, None
        page = f"{name}.accuracy.html"
        return str(document["geoseg:table"]), page if page in files else None
    except (InputError, KeyError, IndexError, TypeError):  # somebody's own JSON file
        return None, None
