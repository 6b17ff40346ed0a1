"""What a comparison of two maps tells: plain values for machines, a table for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geoseg.accuracy.boundary import boundary_ious
from geoseg.accuracy.calibration import brier
from geoseg.accuracy.confusion import CONTRADICTORY
from geoseg.accuracy.figures import figures, mean_of
from geoseg.console import aligned
from geoseg.errors import InputError
from geoseg.footprint import footprint, meets_boxes
from geoseg.io.class_raster import scene_name
from geoseg.io.record import read_record
from geoseg.stories.evaluate_maps import Comparison

_COLUMNS = ("users_accuracy", "producers_accuracy", "f1", "iou", "boundary_iou")
_HEADS = ("class", "reference px", "map px", "user's", "producer's", "F1", "IoU", "boundary IoU")


def report_of(comparison: Comparison, prediction: Path, reference: Path) -> dict[str, Any]:
    """All figures of a comparison as plain JSON; a ratio without pixels is null.

    Args:
        comparison: what was counted.
        prediction: the map.
        reference: what it was compared with.
    """
    tally, scheme = comparison.tally, comparison.matched.scheme
    found = figures(tally.matrix, scheme.names)
    for row, c in zip(found["classes"].values(), scheme.classes, strict=True):
        row["code"] = c.code
    out = {
        "prediction": str(prediction),
        "reference": str(reference),
        "kind": comparison.kind,
        **found,
        "confusion": {"rows": "reference", "columns": "map", "counts": tally.matrix.tolist()},
        "boundary": _boundary(comparison, found["classes"]),
        "calibration": _calibration(comparison),
        "not_counted": {
            "map_without_class": tally.unmapped,
            "contradictory_reference": tally.uncounted(CONTRADICTORY),
        },
    }
    return out | {"warnings": _warnings(comparison, prediction), "notes": _notes(comparison)}


def table_of(report: dict[str, Any]) -> str:
    """Figures by class, then those of the whole map."""
    columns = [key for key in _COLUMNS if key != "boundary_iou" or report["boundary"] is not None]
    rows = [
        (name, f"{row['pixels']:,}", f"{row['map_pixels']:,}", *(_share(row[key]) for key in columns))
        for name, row in report["classes"].items()
        if row["pixels"] or row["map_pixels"]
    ]
    means = {key: report["boundary"]["mean_iou"] if key == "boundary_iou" else report[f"mean_{key}"] for key in columns}
    rows.append(("mean", "", "", *(_share(value) for value in means.values())))
    lines = [aligned(_HEADS[: 3 + len(columns)], rows), ""]
    lines.append(
        f"overall accuracy {_share(report['overall_accuracy'])}, kappa {_share(report['kappa'])}, "
        f"mean IoU {_share(report['mean_iou'])}, weighted by area {_share(report['weighted_iou'])}, "
        f"of {report['pixels']:,} pixels"
    )
    if report["boundary"] is not None:
        lines.append(f"boundary IoU within {report['boundary']['distance_px']} pixels of an outline")
    calibration = report["calibration"]
    if calibration is not None:
        score = "" if calibration["brier"] is None else f", Brier score {_share(calibration['brier'])}"
        lines.append(f"expected calibration error {_share(calibration['ece'])}{score}")
    return "\n".join([*lines, *report["notes"]])


def _boundary(comparison: Comparison, rows: dict[str, Any]) -> dict[str, Any] | None:
    tally = comparison.tally
    if not tally.distance_px or _without_outlines(comparison):
        return None
    ious = boundary_ious(tally.boundary)
    for row, iou in zip(rows.values(), ious, strict=True):
        row["boundary_iou"] = iou
    distance_m = tally.distance_px * comparison.map.grid.gsd_m
    return {"distance_px": tally.distance_px, "distance_m": distance_m, "mean_iou": mean_of(ious)}


def _without_outlines(comparison: Comparison) -> bool:
    """Whether the reference shows nowhere two classes side by side, as single polygons here and there do."""
    _, reference, _ = comparison.tally.boundary
    return not reference.any()


def _calibration(comparison: Comparison) -> dict[str, Any] | None:
    tally = comparison.tally
    if comparison.scores is None and tally.layer_of is None:
        return None
    told = tally.reliability.to_json() if comparison.scores is not None else {"pixels": 0, "ece": None, "bins": []}
    return {"scores": comparison.scores and str(comparison.scores), **told, "brier": brier(tally.squares)}


def _notes(comparison: Comparison) -> list[str]:
    """What was assumed."""
    notes = []
    if not comparison.aligned:
        notes.append("the reference was brought onto the map's grid by nearest neighbor")
    if comparison.kind == "polygons":
        notes.append("a pixel has the class of the reference polygon that its center lies in")
    if comparison.tally.distance_px and _without_outlines(comparison):
        notes.append("no boundary IoU: the reference has no outline between two classes")
    contradictory = comparison.tally.uncounted(CONTRADICTORY)
    if contradictory:
        notes.append(f"{contradictory:,} pixels do not count: reference polygons of different classes overlap there")
    if comparison.tally.unmapped:
        notes.append(f"{comparison.tally.unmapped:,} reference pixels do not count: the map has no class there")
    return notes


def _warnings(comparison: Comparison, prediction: Path) -> list[str]:
    """What should be known before the figures are believed."""
    found = [*comparison.matched.warnings, *_of_training(comparison, prediction)]
    raw = prediction.with_name(f"{scene_name(prediction)}.raw.tif")
    if comparison.scores is not None and raw.is_file() and raw != prediction:
        found.append(f"the confidence is that of {raw.name}, before the minimum mapping unit: evaluate that one")
    merged = len(set(comparison.map.code_of.values())) < len(comparison.map.code_of)
    if comparison.scores is not None and merged:
        found.append("the confidence is that of the classes before the legend merged them, and too low for these")
    return found


def _of_training(comparison: Comparison, prediction: Path) -> list[str]:
    """A warning when the reference lies where the map's model was trained."""
    training, counted = training_of(prediction), comparison.tally.counted
    if not training or counted is None:
        return []
    place = footprint(comparison.map.grid.crop(counted))
    if place is None or not meets_boxes(place, training["training_footprints"]):
        return []
    west, south, east, north = place.bounds
    where = f"longitude {west:.3f}…{east:.3f}, latitude {south:.3f}…{north:.3f}"
    trained = f"the model {training['name']} was trained"
    return [f"the reference ({where}) lies where {trained}: the figures do not tell how good it is elsewhere"]


def training_of(prediction: Path) -> dict[str, Any]:
    """What the STAC item beside a map says of its model's training: `name`, `training_footprints`; else empty."""
    record = prediction.with_name(f"{scene_name(prediction)}.json")
    if not record.is_file():
        return {}
    try:
        model = read_record(record)["properties"]["geoseg:model"]
    except (InputError, KeyError, TypeError):  # somebody's own JSON file
        return {}
    if not isinstance(model, dict) or not model.get("training_footprints"):
        return {}
    return {key: model.get(key) for key in ("name", "training_footprints")}


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
