"""A run whose GeoPackage is written by a process of its own, as it is for large scenes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from cli_kit import geoseg, names_in, polygons_in

from geoseg import RunSettings, run
from geoseg.io import early
from geoseg.io.early import EarlyWriter
from geoseg.io.record import verify_record
from geoseg.settings import PredictSettings, VectorSettings
from geoseg.stories import rasters
from geoseg.stories import run_polygons as story

DIES = """
import os, signal
from geoseg.io import early, polygon_rows
from geoseg.cli import main
early.LEAST_PX, polygon_rows.BATCH_ROWS = 0, 50
grown = early.EarlyWriter.grown
def then_die(self, *facts):
    grown(self, *facts)
    print(self._child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
early.EarlyWriter.grown = then_die
main()
"""


def settings(model: Path, *formats: str) -> RunSettings:
    return RunSettings(predict=PredictSettings(model=str(model)), vector=VectorSettings(formats=formats or (".gpkg",)))


def test_outputs_are_those_of_one_process(piece, model, tmp_path, monkeypatch) -> None:
    """Named mutation: pages, or the class raster, wait for the process that writes."""
    done, pages, rasters_after = [], [], []
    finished, write_pages, write_cog = EarlyWriter.finished, story._write_pages, rasters.write_class_cog

    def seen_cog(*args, **options) -> None:
        rasters_after.append(len(done))
        write_cog(*args, **options)

    def seen_pages(work, outcome, seen) -> None:
        pages.append((len(done), work.stage("piece.polygons.fgb").exists()))
        write_pages(work, outcome, seen)

    monkeypatch.setattr(EarlyWriter, "finished", lambda self: done.append(finished(self)) or done[-1])
    monkeypatch.setattr(story, "_write_pages", seen_pages)
    monkeypatch.setattr(rasters, "write_class_cog", seen_cog)
    found = {}
    for name, least in (("early", 0), ("late", 1 << 40)):
        monkeypatch.setattr(early, "LEAST_PX", least)
        found[name] = run(piece, tmp_path / name, settings(model, ".gpkg", ".fgb"))
    assert done == [True]
    assert rasters_after == [0, 1]
    assert pages == [(0, True), (1, True)]  # what this process writes is there, what the other writes not yet
    assert names_in(tmp_path / "early") == names_in(tmp_path / "late")
    assert verify_record(found["early"].record) == []
    tables = [polygons_in(tmp_path / name / "piece.polygons.gpkg") for name in found]
    assert tables[0].equals(tables[1])
    assert len(tables[0]) == found["early"].n_polygons
    flat = [(tmp_path / name / "piece.polygons.fgb").read_bytes() for name in found]
    assert flat[0] == flat[1]


@pytest.mark.slow
def test_a_killed_run_leaves_no_writer_and_is_taken_up(piece, model, tmp_path) -> None:
    place = partial(Path, tmp_path)
    command = [sys.executable, "-c", DIES, "run", str(piece), "-m", str(model), "-o", str(place("killed"))]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    writer = int(killed.stdout.split()[-1])
    with suppress(psutil.NoSuchProcess):
        gone, _ = psutil.wait_procs([psutil.Process(writer)], timeout=30)
        assert gone
    for name in ("killed", "whole"):
        assert geoseg("run", piece, "-m", model, "-o", place(name)).code == 0
    killed_table, table = (polygons_in(place(name) / "piece.polygons.gpkg") for name in ("killed", "whole"))
    assert killed_table.equals(table)
