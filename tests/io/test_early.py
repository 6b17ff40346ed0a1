"""A GeoPackage written by a process of its own while its polygons are still being found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from polygon_kit import table_of
from pyproj import CRS

from geoseg.classes import ClassScheme, LandClass
from geoseg.grid import Grid
from geoseg.io import polygon_rows
from geoseg.io.early import EarlyWriter, early_writer, pays
from geoseg.io.early_child import Growing
from geoseg.io.polygon_rows import StoredPolygons, store_polygons
from geoseg.io.sidecars import SQLITE
from geoseg.io.vector import count_features, layer_of, write_polygons
from geoseg.polygons.table import Polygons

SCHEME = ClassScheme((LandClass(1, "Wald & <Flur>", (0, 128, 0)), LandClass(2, "Wasser", (0, 0, 255))))
GRID = Grid(CRS.from_epsg(32618), Affine(10, 0, 500_000, 0, -10, 4_000_000), 40, 40)
WHEN = datetime(2020, 2, 29, 12, tzinfo=UTC)
TOLD = {"layer": "land", "about": {"LICENSE": "CC0 „frei“"}, "written": WHEN}
CHILD = [sys.executable, "-P", "-m", "geoseg.io.early_child"]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Polygons:
    """1,600 polygons, in 16 batches."""
    monkeypatch.setattr(polygon_rows, "BATCH_ROWS", 100)
    return table_of((np.indices((40, 40)).sum(0) % 2 + 1).astype(np.uint8), GRID, SCHEME)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[EarlyWriter]:
    with EarlyWriter(tmp_path / "early.gpkg", partial(layer_of, **TOLD)) as found:
        yield found


def at_once(stored: StoredPolygons, place: Path) -> bytes:
    write_polygons(stored, place, **TOLD)
    return place.read_bytes()


def test_the_file_has_the_bytes_that_it_would_have_later(table, writer, tmp_path) -> None:
    stored = store_polygons([table], tmp_path / "rows", writer.grown)
    assert writer.finished()
    assert count_features(writer.path) == len(stored) == 1600
    write_polygons(stored, writer.path, **TOLD, early=writer)
    assert writer.path.read_bytes() == at_once(stored, tmp_path / "later.gpkg")


def test_nothing_is_read_before_it_stands(tmp_path) -> None:
    """Named mutation: `Growing` does not wait and reads half a message."""
    place = tmp_path / "rows"
    with place.open("wb", buffering=0) as file, place.open("rb", buffering=0) as seen:
        ends = iter([2, 5])

        def told() -> str:
            end = next(ends, None)
            if end is None:
                return "end\n"
            file.write(bytes(range(file.tell(), end)))
            return f"{end}\n"

        growing = Growing(seen, told)
        assert growing.read(4) == bytes(range(4))
        assert growing.read(4) == bytes([4])
        assert growing.read(4) == b""


@pytest.mark.parametrize("told", ["nothing", "half"])
def test_a_writer_that_dies_is_done_without(table, writer, tmp_path, told) -> None:
    """Named mutation: `finished` believes a child whatever its exit code."""
    calls = 0

    def grown(*facts: object) -> None:
        nonlocal calls
        calls += 1
        if calls == (1 if told == "nothing" else 8):
            writer._child.kill()
            writer._child.wait()
        writer.grown(*facts)

    stored = store_polygons([table], tmp_path / "rows", grown)
    for end in (*SQLITE, ".tmp_rtree_land.db"):  # as SQLite and GDAL may leave them
        writer.path.with_name(writer.path.name + end).touch()
    write_polygons(stored, writer.path, **TOLD, early=writer)
    assert writer.path.read_bytes() == at_once(stored, tmp_path / "later.gpkg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["early.gpkg", "later.gpkg", "rows"]


def test_without_a_process_polygons_are_written_all_the_same(table, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with EarlyWriter(tmp_path / "early.gpkg", partial(layer_of, **TOLD)) as writer:
        stored = store_polygons([table], tmp_path / "rows", writer.grown)
        write_polygons(stored, writer.path, **TOLD, early=writer)
    assert count_features(writer.path) == 1600


FULL = """
import resource, sys
from functools import partial
from pathlib import Path
import test_early
from geoseg.io.vector import layer_of, write_polygons
folder = Path(sys.argv[1])
codes = (test_early.np.indices((40, 40)).sum(0) % 2 + 1).astype("uint8")
table = test_early.table_of(codes, test_early.GRID, test_early.SCHEME)
stored = test_early.store_polygons([table], folder / "rows")
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
with test_early.EarlyWriter(folder / "o.gpkg", partial(layer_of, **test_early.TOLD)) as writer:
    writer.grown(table, stored.path, stored.path.stat().st_size)
    write_polygons(stored, writer.path, **test_early.TOLD, early=writer)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of file sizes are POSIX's")
def test_a_full_disk_is_told_by_the_second_attempt(tmp_path) -> None:
    places = os.pathsep.join(sys.path)
    run = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": places})
    assert done.stderr.splitlines()[-1].startswith(f"geoseg.errors.OutputError: writing {tmp_path / 'o.gpkg'} failed: ")


def test_an_orphan_ends(table, tmp_path) -> None:
    """Named mutation: a child that hears no more believes that all is there, and finishes half a file."""
    rows, place, ends = tmp_path / "rows", tmp_path / "o.gpkg", []
    store_polygons([table], rows, lambda *facts: ends.append(facts[2]))
    first = {"path": str(place), "rows": str(rows), "layer": asdict(layer_of(table, **TOLD))}
    half = [json.dumps(first), str(ends[3])]
    for told in ("", "\n".join([*half, ""]), "\n".join([*half, str(ends[-1]), "end", ""])):
        done = subprocess.run(CHILD, input=told, text=True, check=False, capture_output=True)
        assert (done.returncode, done.stderr) == (3, "")


@pytest.mark.parametrize("harm", ["path", "words", "here"])
def test_odd_surroundings_are_no_reason_to_fail(table, tmp_path, monkeypatch, harm) -> None:
    """Named mutation: without `-P`, what lies in the current folder is imported."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    if harm == "path":
        monkeypatch.setattr(sys, "path", [*sys.path, Path("notebook")])
    elif harm == "words":
        monkeypatch.setattr(sys, "executable", str(here / "python"))
        (here / "python").write_bytes(b"#!/bin/sh\nprintf '\\377\\n' >&2; exit 5\n")
        (here / "python").chmod(0o755)
    else:
        (here / "json.py").write_text("raise SystemExit(0)")
    with EarlyWriter(tmp_path / "early.gpkg", partial(layer_of, **TOLD)) as writer:
        stored = store_polygons([table], tmp_path / "rows", writer.grown)
        write_polygons(stored, writer.path, **TOLD, early=writer)
    assert count_features(writer.path) == 1600


def test_no_process_outlives_what_went_wrong(tmp_path) -> None:
    writer = EarlyWriter(tmp_path / "o.gpkg", partial(layer_of, **TOLD))
    with pytest.raises(ZeroDivisionError), writer:
        _ = 1 / 0
    assert writer._child is not None
    assert writer._child.returncode is not None


@pytest.mark.parametrize(
    ("side", "dissolve", "bound", "expected"),
    [
        (1 << 13, False, None, True),
        (1 << 12, False, None, False),
        (1 << 13, True, None, False),
        (1 << 13, False, "4GB", False),
    ],
)
def test_it_pays_for_large_rasters_of_single_polygons_without_a_bound(side, dissolve, bound, expected) -> None:
    grid = Grid(GRID.crs, GRID.transform, side, side)
    assert pays(grid, dissolve=dissolve, max_memory=bound) is expected


@pytest.mark.parametrize(
    ("names", "wanted", "which"),
    [(["o.shp", "o.gpkg"], True, "o.gpkg"), (["o.gpkg"], False, None), (["o.parquet"], True, None)],
)
def test_only_geopackages_are_written_early(tmp_path, names, wanted, which) -> None:
    with early_writer([tmp_path / name for name in names], partial(layer_of, **TOLD), wanted=wanted) as found:
        assert (None if found is None else found.path.name) == which
