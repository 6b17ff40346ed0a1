"""Polygon tables of class maps drawn in tests, and vector files of them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from geoseg.classes import ClassScheme
from geoseg.grid import Grid
from geoseg.ground import area_model
from geoseg.io import vector
from geoseg.io.polygon_rows import store_polygons
from geoseg.polygons.assemble import MapFacts, assemble
from geoseg.polygons.coverage import trace_array
from geoseg.polygons.table import Polygons


def table_of(
    codes: np.ndarray,
    grid: Grid,
    scheme: ClassScheme,
    *,
    score: int | None = None,
    scene_id: str = "",
    img_date: date | None = None,
) -> Polygons:
    """All polygons in one table; 255 is nodata, every pixel has the same score of 255 or none has."""
    batch = trace_array(codes, 255)
    rows = replace(batch.components, score_sum=batch.components.n_pixels * (score or 0))
    facts = MapFacts(grid, scheme, area_model(grid), score is not None, scene_id, img_date)
    return assemble(replace(batch, components=rows), facts)


def write_polygons(table: Polygons, path: Path, **options: Any) -> None:
    """A table straight to a vector file."""
    with tempfile.TemporaryDirectory() as folder:
        vector.write_polygons(store_polygons([table], Path(folder) / "rows"), path, **options)
