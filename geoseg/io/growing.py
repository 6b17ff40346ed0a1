"""Rows that are read while others are still being stored: a file is written by one thread as another finds polygons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from threading import Condition
from typing import Literal

import pyarrow as pa
from pyproj import CRS

from geoseg.classes import ClassScheme
from geoseg.ground import AreaModelName
from geoseg.polygons.table import Totals


class AbandonedError(Exception):
    """The rows will not become complete; why is told by whoever was storing them."""


class Growth:
    """How much of a file is there, told by the thread that writes it to those that read it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._batches = 0
        self._totals: Totals | None = None
        self._abandoned = False

    def add(self) -> None:
        """One more record batch is in the file."""
        with self._changed:
            self._batches += 1
            self._changed.notify_all()

    def end(self, totals: Totals) -> None:
        """All of them are."""
        with self._changed:
            self._totals = totals
            self._changed.notify_all()

    def close(self) -> None:
        """No more will come; if these are not all, storing them has failed."""
        with self._changed:
            self._abandoned = self._totals is None
            self._changed.notify_all()

    def has(self, batches: int) -> bool:
        """Wait until so many are there, or all that there will be.

        Raises:
            AbandonedError: there will not be all.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._totals is not None or self._batches >= batches)
            if self._abandoned:
                raise AbandonedError
            return self._batches >= batches

    def totals(self) -> Totals:
        """Wait for all; their sums.

        Raises:
            AbandonedError: there will not be all.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or self._totals is not None)
            if self._totals is None:
                raise AbandonedError
            return self._totals


@dataclass(frozen=True)
class GrowingPolygons:
    """What becomes `geoseg.io.polygon_rows.StoredPolygons`; sums and length wait until all is stored."""

    path: Path
    scheme: ClassScheme
    crs: CRS
    area_model: AreaModelName
    scene_id: str
    img_date: date | None
    schema: pa.Schema
    growth: Growth = field(default_factory=Growth)
    geometry_type: Literal["Polygon"] = "Polygon"

    @property
    def totals(self) -> Totals:
        """Sums over all rows."""
        return self.growth.totals()

    def __len__(self) -> int:
        return int(self.totals.count.sum())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in `schema`, each batch once it is there.

        Raises:
            AbandonedError: storing them has failed.
        """
        if not self.growth.has(1):  # Arrow writes a stream's head with its first batch
            return
        n = 0
        with pa.OSFile(str(self.path)) as source, pa.ipc.open_stream(source) as reader:
            while self.growth.has(n + 1):
                n += 1
                yield reader.read_next_batch()
