"""The STAC item of a run: what was made, from what, with what."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from geoseg import __version__
from geoseg.io.publish import FileEntry
from geoseg.io.scene import path_name
from geoseg.model.device import Resolved, machine_key
from geoseg.moment import Moment
from geoseg.settings import RunSettings
from geoseg.stac import ItemFile, SceneFacts, scene_item, settings_json
from geoseg.stories.doctor import environment
from geoseg.stories.mosaic_facts import mosaic_json
from geoseg.stories.names import OutputNames
from geoseg.stories.prepare import Job
from geoseg.stories.segment import Summary

_SCORE_TITLES = {
    "confidence": "Winning score, 1…255",
    "ambiguity": "1 − (best − second score), 1…255",
    "probabilities": "Scores of all classes, a band each, 1…255",
}


def run_item(
    files: dict[str, FileEntry],
    job: Job,
    resolved: Resolved,
    settings: RunSettings,
    names: OutputNames,
    summary: Summary,
) -> dict[str, Any]:
    """The STAC item of the run."""
    spec, scene = job.model.spec, job.scene
    facts = SceneFacts(
        scene_id=job.name,
        grid=scene.grid,
        files=tuple(_asset(entry, names) for entry in files.values()),
        scheme=job.scheme,
        model=spec,
        model_sha256=job.model.sha256,
        processed=datetime.now(UTC),
        settings=settings_json(settings),
        software={"geoseg": __version__, **machine_key(resolved)},
        radiometry={
            "source": scene.radiometry,
            "bands": [{"name": b.name, "scale": b.scale, "offset": b.offset} for b in scene.bands],
        },
        acquired=_when(scene.acquired),
        resampling=_resampling(job),
        pixels=summary.pixels,
        areas_ha={name: area / 1e4 for name, area in summary.area_m2.items()},
        warnings=summary.warnings,
        extra={
            "notes": list(scene.remarks),
            "seam": None if summary.seam is None else asdict(summary.seam),
            "seam_pairs": summary.seam_pairs,
            "absent_bands": list(job.fit.absent),
            "sensor": scene.sensor,
            "doctor": environment(),
            "masks": [{"file": path_name(m.path), "rule": m.rule, "reasons": list(m.reasons)} for m in scene.masks],
            **({} if scene.mosaic is None else {"mosaic": mosaic_json(scene.mosaic)}),
        },
    )
    return scene_item(facts) | {"geoseg:summary": asdict(summary)}


def _when(acquired: Moment | None) -> datetime | tuple[datetime, datetime] | None:
    """As STAC wants it: an instant, or first and last."""
    if acquired is None or acquired.first == acquired.last:
        return None if acquired is None else acquired.first
    return acquired.first, acquired.last


def _resampling(job: Job) -> dict[str, Any] | None:
    if not job.plan.resampled:
        return None
    return {
        "from_gsd_m": job.scene.grid.gsd_m,
        "to_gsd_m": job.plan.network_grid.gsd_m,
        "note": "bands bilinear to the model's pixel size, scores bilinear back; the class raster has the input's grid",
    }


def _asset(entry: FileEntry, names: OutputNames) -> ItemFile:
    """File → STAC asset with a key and a title that say what it is."""
    kind, title, roles = _kind(entry.name, names)
    return ItemFile(
        key=kind,
        href=f"./{entry.name}",
        roles=roles,
        title=title,
        sha256=entry.sha256,
        size=entry.size,
        class_raster=entry.name in {names.classes, names.answer},
    )


def file_title(name: str, names: OutputNames) -> str:
    """What one of a run's files is, for people."""
    beside = {".aux.xml": "Class names and attribute table", ".qml": "Style for QGIS"}
    beside |= {".shx": "Index of the Shapefile", ".dbf": "Attributes of the Shapefile"}
    beside |= {".prj": "CRS of the Shapefile", ".cpg": "Encoding of the Shapefile"}
    if name == names.record:
        return "STAC item: model, settings, versions, checksums"
    return next((title for end, title in beside.items() if name.endswith(end)), _kind(name, names)[1])


def _kind(name: str, names: OutputNames) -> tuple[str, str, tuple[str, ...]]:
    """Key, title and roles of a file."""
    layers = {score: layer for layer, score in names.segmented.scores.items()}
    if name in layers:
        return layers[name], _SCORE_TITLES[layers[name]], ("data",)
    if name in names.polygons:
        return f"polygons-{name.rpartition('.')[2]}", "Polygons", ("data",)
    known = {
        names.segmented.tiles: ("tiles", "What each chip read, for --update", ("metadata",)),
        names.answer: ("raw", "Class raster before the minimum mapping unit", ("data",)),
        names.classes: ("classes", "Class raster", ("data",)),  # also the answer where nothing was generalized
        names.instances: (
            "instances",
            "Object of each pixel, 0: none; with the class raster the panoptic pair",
            ("data",),
        ),
        names.zones: ("zones", "Classes by zone", ("data",)),
        names.preview: ("preview", "Image and class map", ("overview",)),
        names.report: ("report", "Page for people: map, areas, scores, provenance", ("overview",)),
    }
    return known.get(name, (name.partition(".")[2], name, ("metadata",)))
