"""What a batch leaves for people and machines to read: a page, a document, metrics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geoseg import __version__
from geoseg.ledger.row import Row
from geoseg.ledger.store import Ledger
from geoseg.model.file import publish_bytes
from geoseg.report.metrics import exposition

PAGE, DOCUMENT, METRICS = "report.html", "report.json", "metrics.prom"
ORDER = ("failed", "waiting", "running", "skipped", "done")
"""What needs eyes first."""


def write_report(folder: Path, ledger: Ledger, metrics: Path | None = None) -> None:
    """Write `report.json`, `report.html` and the metrics, each at once, where they would say something else.

    Args:
        folder: of the batch.
        ledger: its scenes; those that the manifest lists count.
        metrics: file for them; None: `metrics.prom` in the folder.

    Raises:
        OutputExistsError, OutputError: the disk refuses.
    """
    rows = [row for row in ledger.rows().values() if row.listed]
    document = document_of(rows, folder)
    text = json.dumps(document, indent=1, ensure_ascii=False)
    fresh = _replace(folder / DOCUMENT, f"{text}\n")
    _replace(metrics or folder / METRICS, exposition(document))
    if fresh or not (folder / PAGE).is_file():
        from geoseg.report.batch import batch_page  # jinja2 takes as long as looking at a hundred scenes

        _replace(folder / PAGE, batch_page(document, ledger.pictures()))


def document_of(rows: Sequence[Row], folder: Path) -> dict[str, Any]:
    """The report as plain JSON; says the same as long as nothing happens."""
    counts: Counter[str] = Counter(row.state for row in rows)
    area: Counter[str] = Counter()
    for row in rows:
        area.update(row.facts.get("area_ha", {}))
    return {
        "batch": folder.resolve().name,
        "geoseg": __version__,
        "ended": max((str(row.facts["ended"]) for row in rows if "ended" in row.facts), default=None),
        "counts": {state: counts[state] for state in ORDER},
        "mpx": sum(row.facts.get("mpx", 0.0) for row in rows),
        "polygons": sum(row.facts.get("polygons", 0) for row in rows),
        "area_ha": dict(area),
        "scenes": [row.to_json() for row in rows],
    }


def _replace(path: Path, text: str) -> bool:
    """Write a file unless it holds the same; True when it was written."""
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return False
    publish_bytes(path, data, what="report")
    return True
