"""A finished run's own answer, for a run that asks the model the same question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.errors import InputError
from geoseg.io.record import read_record, recorded, verify_record
from geoseg.stories.raster_names import RasterNames
from geoseg.stories.segment import Summary, summary_from

ANSWER = "geoseg:answer"
"""Item of the record: the summary of the model's answer, before any minimum mapping unit."""


@dataclass(frozen=True)
class EarlierAnswer:
    """What the model answered, on disk."""

    files: tuple[Path, ...]
    """Class raster, its sidecars and the score rasters, in the order of `RasterNames.all`."""
    summary: Summary


def earlier_answer(record: Path, segment_key: dict[str, Any]) -> EarlierAnswer | None:
    """The model's answer of a finished run, if it stands there unharmed and was made from the same.

    Args:
        record: where that run's record would be, NAME.json.
        segment_key: what the answer depends on, as plain JSON.
    """
    if not record.is_file():
        return None
    try:
        document = read_record(record)
        key, files = recorded(document)
    except InputError:  # somebody's own JSON file
        return None
    if key.get("segment") != segment_key or ANSWER not in document or verify_record(record):
        return None
    raw, classes = f"{record.stem}.raw.tif", f"{record.stem}.classes.tif"
    names = RasterNames.of(raw if raw in files else classes, record.stem, segment_key["scores"]).all
    if not set(names) <= files.keys():
        return None
    return EarlierAnswer(tuple(record.with_name(name) for name in names), summary_from(document[ANSWER]))
