"""`--dry-run` of `run` and `segment`: tiles, chips, time, memory and disk, told without a trace on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from builders import write_raster
from cli_kit import BANDS, cut, geoseg, names_in, reflectance_model
from shapely import box

from geoseg.grid import Window
from geoseg.model.device import Resolved
from geoseg.settings import PredictSettings, ReadSettings, RunSettings, ScheduleSettings
from geoseg.stories import probe as probes
from geoseg.stories.dry_run import plan
from geoseg.stories.prepare import Job, prepare
from geoseg.stories.probe import amount, probe
from geoseg.tiling.crew import Crew

CPU = Resolved("cpu", "fp32", 4)


def dry(*args) -> dict:
    done = geoseg("run", *args, "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_a_dry_run_does_nothing_but_tell(sample, model, tmp_path) -> None:
    out = tmp_path / "out"
    told = dry(sample, "-o", out, "-m", model, "--tile", "100")
    # Chips of 32 pixels with a margin of 4 step by 24: 43 cells a side; four fit into a tile of 100.
    assert (told["chips"], told["tiles"]) == (43**2, 11**2)
    assert (told["chip"], told["margin"], told["network_grid"]) == (32, 4, told["grid"])
    assert told["disk_bytes"] >= 2 * 1024**2
    parts = told["memory_parts_bytes"]
    assert set(parts) == {"base", "picture", "forwards", "chips", "tiles", "rasters", "polygons"}
    assert min(parts.values()) > 0
    assert told["memory_bytes"] >= parts["base"] + max(parts["polygons"], parts["forwards"] + parts["tiles"])
    assert told["fits"] == (told["memory_bytes"] <= told["memory_room_bytes"])
    assert told["seconds"] > 0
    assert told["threads"] >= 1
    text = geoseg("run", sample, "-o", out, "-m", model, "--dry-run", "--tile", "100").out
    for part in ("tiles    121", "time     about ", "memory   at most ", " polygons (noise", "chips timed)"):
        assert part in text
    assert names_in(tmp_path) == set()


def test_segment_makes_no_polygons(sample, model, tmp_path) -> None:
    done = geoseg("segment", sample, "-o", tmp_path / "o.tif", "-m", model, "--dry-run", "--json")
    assert json.loads(done.out)["memory_parts_bytes"]["polygons"] == 0
    assert "polygons" not in geoseg("segment", sample, "-o", tmp_path / "o.tif", "-m", model, "--dry-run").out
    assert names_in(tmp_path) == set()


def test_a_dry_run_says_when_the_network_sees_other_pixels(sample, tmp_path) -> None:
    model = reflectance_model(tmp_path / "m.safetensors", gsd_m=(20.0, 30.0))
    told = dry(sample, "-o", "out", "-m", model)
    assert told["grid"]["size"] == [1024, 1024]
    assert told["network_grid"]["size"] == [513, 513]  # a pixel of 10 m on the map is 10.004 m of ground here


def test_dry_runs_of_each_are_one_json_document(sample, model, tmp_path) -> None:
    told = dry(sample, cut(sample, tmp_path / "piece.tif"), "--each", "-o", tmp_path, "-m", model)
    assert [scene["grid"]["size"] for scene in told["scenes"]] == [[1024, 1024], [171, 150]]


def test_without_a_valid_pixel_the_time_is_unknown(model, tmp_path) -> None:
    empty = write_raster(tmp_path / "empty.tif", np.zeros((6, 400, 500), "uint16"), names=BANDS, nodata=0)
    told = dry(empty, "-o", tmp_path / "out", "-m", model)
    assert (told["seconds"], told["chips"]) == (None, 17 * 21)
    text = geoseg("run", empty, "-o", tmp_path / "out", "-m", model, "--dry-run").out
    assert "time     unknown: no valid pixel was met" in text


def test_workers_divide_the_time_and_each_has_its_libraries(sample, model, tmp_path) -> None:
    alone, three = (dry(sample, "-o", tmp_path, "-m", model, *flags) for flags in ([], ["--workers", "3"]))
    assert three["threads"] == 3
    assert three["memory_parts_bytes"]["base"] > 3 * alone["memory_parts_bytes"]["base"]
    text = geoseg("run", sample, "-o", tmp_path, "-m", model, "--workers", "3", "--dry-run").out
    assert "by 3 at a time, the workers each as fast as this machine" in text


def job_of(raster: Path, model: Path, *, aoi: Path | None = None, **predict) -> Job:
    read = ReadSettings(scale=(1e-4,), aoi=aoi)
    return prepare([raster], RunSettings(read=read, predict=PredictSettings(model=str(model), **predict)))


def rectangle(path: Path, raster: Path, window: Window) -> Path:
    with rasterio.open(raster) as dataset:
        (x0, y0), (x1, y1) = (
            dataset.transform @ corner
            for corner in ((window.col_off, window.row_off), (window.col_end, window.row_end))
        )
        gpd.GeoDataFrame(geometry=[box(x0, y1, x1, y0)], crs=dataset.crs).to_file(path)
    return path


@pytest.mark.parametrize(("blend", "cells"), [("trim", 2 * 3), ("taper", 3 * 3)])
def test_only_chips_that_touch_the_aoi_count(sample, model, tmp_path, blend, cells) -> None:
    """Cells of 24 pixels: columns 48…71 and 72…95, rows 24…47 to 72…95. Tapered ones reach 2 pixels farther."""
    where = rectangle(tmp_path / "aoi.gpkg", sample, Window(60, 30, 34, 60))
    job = job_of(sample, model, aoi=where, blend=blend)
    job = replace(job, plan=replace(job.plan, cells_per_side=100))
    assert amount(job).chips == cells
    assert amount(job).px == cells * 32**2
    told = dry(sample, "-o", tmp_path / "out", "-m", model, "--aoi", where)
    assert (told["chips"], told["seconds"] > 0) == (6, True)


@pytest.mark.parametrize("blend", ["trim", "taper"])
def test_without_an_aoi_every_chip_counts(sample, model, blend) -> None:
    job = job_of(sample, model, blend=blend)
    found = amount(job)
    cells = [cell for tile in job.plan for cell in job.plan.reaching(tile)]
    assert (found.chips, found.px) == (len(cells), sum(cell.read.size for cell in cells))


def test_the_probe_looks_all_over_the_scene_for_valid_pixels(sample, model, tmp_path) -> None:
    """Only a fifth of the raster has data; all chips timed have."""
    data = np.zeros((6, 600, 600), "uint16")
    data[:, :, 240:360] = np.random.default_rng(0).integers(100, 3000, (6, 600, 120))
    raster = write_raster(tmp_path / "stripe.tif", data, names=BANDS, nodata=0)
    found = probe(replace(job_of(raster, model), crew=Crew(3, 3)), CPU, RunSettings())
    assert found is not None
    assert 1 <= found.chips <= 5
    assert found.px_seconds > 0


def test_the_probe_does_what_threads_do(sample, model, monkeypatch) -> None:
    """One chip loads all, one is alone, then two a thread, one of them timed; none compared at a seam, none twice."""
    seen = []

    class Noted(probes.TileJob):
        def __call__(self, tile):
            seen.append(tile.cells)
            return super().__call__(tile)

    monkeypatch.setattr(probes, "TileJob", Noted)
    found = probe(replace(job_of(sample, model), crew=Crew(4, 4)), CPU, RunSettings())
    assert found is not None
    assert (len(seen), len(set(seen)), {len(cells) for cells in seen}) == (10, 10, {1})
    assert 4 <= found.chips <= 7  # a quick thread may take more than its two


def test_a_raster_of_one_chip_is_enough(sample, model, tmp_path) -> None:
    piece = cut(sample, tmp_path / "p.tif", width=20, height=20)
    found = probe(replace(job_of(piece, model), crew=Crew(2, 2)), CPU, RunSettings())
    assert found is not None
    assert found.chips in {2, 3}


def test_batches_of_a_gpu_are_filled(sample, model, monkeypatch) -> None:
    """Kernels see whole batches there: 16 chips are 4 × 4 cells."""
    sizes = []
    monkeypatch.setattr(probes, "TileJob", lambda _, plan, *__, **___: sizes.append(plan.cells_per_side) or Empty())
    assert probe(job_of(sample, model), Resolved("cuda:0", "fp16", 16), RunSettings()) is None
    assert sizes == [4]


class Empty:
    """Work that finds nothing."""

    def __call__(self, _tile):
        return self

    chips = 0


def test_minutes_follow_the_plan(sample, model) -> None:
    job = job_of(sample, model)
    seen = probes.Probe(chips=3, px_seconds=1e-3, thread_bytes=None)
    work = amount(job)
    one = work.seconds(seen, job.plan, 1)
    # 16 sampled pairs of chips, of 1849 chips, are predicted besides.
    assert one == pytest.approx(work.px * 1e-3 * (1 + 32 / 1849))
    assert work.seconds(seen, job.plan, 4) == pytest.approx(one / 4)


def test_what_is_larger_on_this_machine_counts(sample, model, monkeypatch) -> None:
    """A forward pass that was seen to take more than was counted raises the bound; one that took less does not."""
    settings = RunSettings(read=ReadSettings(scale=(1e-4,)), predict=PredictSettings(model=str(model)))
    forwards = []
    for size in (None, 0, 10**9):
        monkeypatch.setattr("geoseg.stories.probe._peak", lambda *_, size=size: size)
        forwards.append(plan([sample], settings).cost.forwards)
    assert forwards[0] == forwards[1]
    assert forwards[2] >= 10**9


def test_a_scheduler_elsewhere_takes_no_memory_here(sample, model) -> None:
    """Nobody is asked: a dry run does not connect."""
    schedule = ScheduleSettings(scheduler="tcp://127.0.0.1:1")
    settings = RunSettings(
        read=ReadSettings(scale=(1e-4,)), predict=PredictSettings(model=str(model)), schedule=schedule
    )
    found = plan([sample], settings, polygons=False).cost
    assert (found.forwards, found.chips) == (0, 0)
