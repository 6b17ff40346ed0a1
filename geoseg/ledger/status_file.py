"""A small file a scene that says what became of it, for those who watch a batch by looking into its folder."""

from __future__ import annotations

import json
from pathlib import Path

from geoseg.ledger.row import Row
from geoseg.model.file import publish_bytes

STATUS = "status"


def write_status(folder: Path, row: Row) -> None:
    """Replace `status/NAME.json` in the batch's folder at once, where it would say something else.

    Raises:
        OutputExistsError, OutputError: the disk refuses.
    """
    path = folder / STATUS / f"{row.name}.json"
    path.parent.mkdir(exist_ok=True)
    data = f"{json.dumps(row.to_json(), indent=1, ensure_ascii=False)}\n".encode()
    if not path.is_file() or path.read_bytes() != data:
        publish_bytes(path, data, what="status")


def drop_status(folder: Path, name: str) -> None:
    """Remove it."""
    (folder / STATUS / f"{name}.json").unlink(missing_ok=True)
