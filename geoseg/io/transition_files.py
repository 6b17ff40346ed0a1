"""Changes as rows of vector files and as a table: what was there at the first date and at the second."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa

from geoseg.classes import ClassScheme
from geoseg.io import posix
from geoseg.io.polygon_rows import StoredPolygons
from geoseg.transitions import PairCodes, Transition, TransitionTable

PAIR_FIELDS = (
    pa.field("from_id", pa.int32(), nullable=False),
    pa.field("from_name", pa.string(), nullable=False),
    pa.field("to_id", pa.int32(), nullable=False),
    pa.field("to_name", pa.string(), nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class TransitionPolygons(StoredPolygons):
    """Stored polygons whose classes are pairs, with four columns more: code and name at both dates."""

    codes: PairCodes

    @classmethod
    def of(cls, polygons: StoredPolygons, codes: PairCodes) -> TransitionPolygons:
        """The same rows, each with its pair; the scheme, hence a style's legend, is of pairs that have rows.

        Args:
            polygons: their `class_id` is a pair's code.
            codes: of pairs.
        """
        own = {field.name: getattr(polygons, field.name) for field in fields(StoredPolygons)}
        own["schema"] = pa.schema([*polygons.schema, *PAIR_FIELDS])
        if (drawn := np.flatnonzero(polygons.totals.count)).size:  # no scheme is empty
            own["scheme"] = ClassScheme(tuple(polygons.scheme.classes[index] for index in drawn.tolist()))
            own["totals"] = polygons.totals.of_classes(drawn)
        return cls(**own, codes=codes)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in `schema`, read anew."""
        for batch in super().batches():
            found, which = np.unique(batch["class_id"].to_numpy(), return_inverse=True)
            pairs = [self.codes.pair(code) for code in found.tolist()]
            columns = []
            for place in (0, 1):
                ids = np.array([pair[place].code for pair in pairs], np.int32)
                names = pa.array([pair[place].name for pair in pairs], pa.string())
                columns += [pa.array(ids[which]), names.take(pa.array(which))]
            yield pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=self.schema)


def write_transitions(table: TransitionTable, path: Path) -> None:
    """Write the cells of a transition matrix as CSV, one a line: UTF-8, comma, point, all digits.

    Columns: those of `Transition`, the area in hectares; empty where a date is unobserved or has no scores.

    Raises:
        OutputExistsError: the file cannot be created.
        OutputError: the disk refuses.
    """
    head = [field.name.replace("area_m2", "area_ha") for field in fields(Transition)]
    with posix.disk_errors("table", path), path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for row in table.rows:
            values = {field.name: getattr(row, field.name) for field in fields(row)}
            writer.writerow((values | {"area_m2": row.area_m2 / 1e4}).values())
