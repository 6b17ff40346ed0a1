"""Rows that are read while others are still being stored."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import numpy as np
import pyarrow as pa
import pytest
from affine import Affine
from polygon_kit import table_of
from pyproj import CRS

from geoseg.classes import ClassScheme, LandClass
from geoseg.grid import Grid
from geoseg.io import polygon_rows
from geoseg.io.growing import AbandonedError, GrowingPolygons
from geoseg.io.polygon_rows import AnyPolygons, store_polygons
from geoseg.io.vector import write_polygons
from geoseg.polygons.table import Polygons
from geoseg.settings import VECTOR_SUFFIXES

SCHEME = ClassScheme((LandClass(0, "water", (0, 0, 255)), LandClass(1, "land", (0, 128, 0))))
GRID = Grid(CRS.from_epsg(32618), Affine(10, 0, 500_000, 0, -10, 4_000_000), 4, 4)
CODES = np.array([[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1], [1, 1, 0, 1]], np.uint8)
SOON = 60.0
"""Seconds after which a thread that should have been woken is given up."""


def table() -> Polygons:
    return table_of(CODES, GRID, SCHEME)


def test_rows_come_before_the_last_is_stored(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(polygon_rows, "BATCH_ROWS", len(table()))
    seen = Event()

    def tables() -> Iterator[Polygons]:
        yield table()
        yield table()
        assert seen.wait(SOON), "nobody has read the first batch"
        yield table()

    def read(growing: GrowingPolygons) -> list[int]:
        found = []
        for batch in growing.batches():
            seen.set()
            found.append(batch.num_rows)
        return [*found, len(growing)]

    with ThreadPoolExecutor(1) as pool:
        reading = []
        stored = store_polygons(tables(), tmp_path / "rows", lambda growing: reading.append(pool.submit(read, growing)))
        assert reading[0].result() == [len(table())] * 3 + [len(stored)]


@pytest.mark.parametrize("suffix", VECTOR_SUFFIXES)
@pytest.mark.parametrize("n_tables", [1, 3])
def test_every_format_has_the_same_bytes(suffix: str, n_tables: int, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(polygon_rows, "BATCH_ROWS", 2)
    moment = datetime(2026, 2, 3, tzinfo=UTC)

    def write(polygons: AnyPolygons, folder: str) -> bytes:
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / f"map{suffix}"
        write_polygons(polygons, path, layer="map", written=moment)
        return path.read_bytes()

    with ThreadPoolExecutor(1) as pool:
        writing = []
        tables = (table() for _ in range(n_tables))
        follow = lambda growing: writing.append(pool.submit(write, growing, "meanwhile"))  # noqa: E731
        stored = store_polygons(tables, tmp_path / "rows", follow)
        assert writing[0].result() == write(stored, "afterwards")


def test_without_polygons_the_layer_is_empty(tmp_path: Path) -> None:
    empty = table_of(np.full((4, 4), 255, np.uint8), GRID, SCHEME)
    followed: list[GrowingPolygons] = []
    store_polygons([empty], tmp_path / "rows", followed.append)
    assert [batch.num_rows for batch in followed[0].batches() if batch.num_rows] == []
    write_polygons(followed[0], tmp_path / "map.gpkg", layer="map")
    assert len(followed[0]) == 0


def test_who_follows_learns_that_storing_failed(monkeypatch, tmp_path: Path) -> None:
    """The error itself is told by the thread that stored; the other one must not wait for ever."""
    monkeypatch.setattr(polygon_rows, "BATCH_ROWS", len(table()))

    def tables() -> Iterator[Polygons]:
        yield from (table(), table())
        raise KeyError("bug")

    def read(growing: GrowingPolygons) -> list[pa.RecordBatch]:
        return list(growing.batches())

    with ThreadPoolExecutor(2) as pool:
        reading = []

        def follow(growing: GrowingPolygons) -> None:
            reading.extend((pool.submit(read, growing), pool.submit(len, growing)))

        with pytest.raises(KeyError, match="bug"):
            store_polygons(tables(), tmp_path / "rows", follow)
        for future in reading:
            with pytest.raises(AbandonedError):
                future.result()
