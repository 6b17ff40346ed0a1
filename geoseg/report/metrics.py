"""A batch's figures for Prometheus, as its node exporter reads them from a file (`--collector.textfile.directory`).

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}


def exposition(document: Mapping[str, Any]) -> str:
    """The report of a batch as metrics.

    Args:
        document: as `geoseg.stories.batch_report.document_of` gives it.
    """
    own = {"batch": document["batch"]}
    scenes = document["scenes"]
    lines = [
        *_metric(
            "geoseg_batch_scenes", "Scenes by state.", ((own | {"state": s}, n) for s, n in document["counts"].items())
        ),
        *_metric("geoseg_batch_megapixels", "Pixels of all scenes that are done.", [(own, document["mpx"])]),
        *_metric("geoseg_batch_polygons", "Polygons of all scenes that are done.", [(own, document["polygons"])]),
        *_metric(
            "geoseg_batch_seconds", "Time that the scenes took.", [(own, sum(s.get("seconds", 0.0) for s in scenes))]
        ),
        *_metric(
            "geoseg_batch_class_hectares",
            "Ground area by class.",
            ((own | {"class": name}, area) for name, area in document["area_ha"].items()),
        ),
        *_metric(
            "geoseg_batch_scene_exit_code",
            "Exit code of scenes that failed.",
            ((own | {"scene": s["name"]}, s["exit_code"]) for s in scenes if s["state"] == "failed"),
        ),
    ]
    if document["ended"] is not None:
        when = datetime.fromisoformat(document["ended"]).timestamp()
        lines += _metric("geoseg_batch_last_scene_timestamp_seconds", "When the last scene ended.", [(own, when)])
    return "\n".join(lines) + "\n"


def _metric(name: str, what: str, values: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    rows = [f"{name}{{{_labels(labels)}}} {value!r}" for labels, value in values]
    return [f"# HELP {name} {what}", f"# TYPE {name} gauge", *rows]


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{"".join(_ESCAPES.get(c, c) for c in value)}"' for name, value in labels.items())
