"""`--update`: a finished run whose inputs have changed since, and what of it still holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.io.record import key_differences, read_record, recorded, shown, verify_record
from geoseg.io.tiles_table import read_tiles
from geoseg.stories.raster_names import RasterNames
from geoseg.stories.watcher import Watcher
from geoseg.tiling.plan import TilePlan
from geoseg.tiling.reads import SceneReads

_SEGMENT = "segment"
_ALL = "all chips are predicted"


@dataclass(frozen=True)
class FinishedPixels:
    """Rasters of a finished run, unharmed, and what its chips read."""

    reads: SceneReads
    classes: Path
    """The model's answer, before any minimum mapping unit."""
    scores: Mapping[str, Path]
    """Score layer → raster."""


def without_contents(key: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's key must be equal for its pixels to hold wherever equal numbers were read.

    Left out are the files themselves, their names and the date; what their bands mean stays.

    Args:
        key: of `run` or `segment`, plain JSON; that of anything else comes back whole.
    """
    part = key.get(_SEGMENT)
    if isinstance(part, dict):
        return {**key, _SEGMENT: without_contents(part)}
    kept = {name: value for name, value in key.items() if name not in {"input", "taken", "scenes"}}
    return kept | {name: _without(key[name], place) for name, place in (("bands", 1), ("masks", 0)) if name in key}


def _without(rows: Any, place: int) -> Any:
    """A list of lists less one place of each."""
    if not isinstance(rows, list):
        return rows
    return [[*row[:place], *row[place + 1 :]] if isinstance(row, list) else row for row in rows]


def finished_pixels(
    record: Path, segment_key: Mapping[str, Any], names: RasterNames, plan: TilePlan, watcher: Watcher
) -> FinishedPixels | None:
    """What a finished run can give to one of its inputs' successors; None: nothing, and the watcher is told why.

    Args:
        record: where that run's record would be.
        segment_key: what the new pixels depend on, plain JSON.
        names: of the new rasters.
        plan: of the new run.
        watcher: told what is in the way.
    """
    if not record.is_file():
        return None
    try:
        key, files = recorded(read_record(record))
    except InputError:  # somebody's own JSON file
        return None
    part = key.get(_SEGMENT)
    before = part if isinstance(part, dict) else key
    differences = key_differences(without_contents(before), without_contents(segment_key))
    if differences:
        watcher.note(f"update: the finished run was made with other settings ({shown(differences)}): {_ALL}")
        return None
    # With a minimum mapping unit the model's answer has a name of its own, then or now.
    stem = record.name.removesuffix(".json")
    answers = (f"{stem}.raw.tif", names.classes, f"{stem}.classes.tif")
    classes = next((name for name in answers if name in files), names.classes)
    needed = {classes, *names.scores.values(), names.tiles}
    problems = [f"{name} is not among its files." for name in sorted(needed - files.keys())]
    problems = problems or verify_record(record, needed)
    try:
        reads = None if problems else read_tiles(record.with_name(names.tiles), (plan.rows.count, plan.cols.count))
    except InputError as error:
        reads, problems = None, [str(error)]
    if reads is None:
        watcher.warn(f"update: the finished run is of no use, {_ALL}: {problems[0]}")
        return None
    scores = {layer: record.with_name(name) for layer, name in names.scores.items()}
    return FinishedPixels(reads, record.with_name(classes), scores)
