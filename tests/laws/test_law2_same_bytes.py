"""Law 2: tile size, batch size, workers and order do not change a byte."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from builders import border_model, stencil_model, unet_model, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.io.compose import open_scene
from geoseg.io.read import read_chip
from geoseg.model.device import Resolved
from geoseg.settings import ReadSettings, ScheduleSettings
from geoseg.tiling import plan as plan_module
from geoseg.tiling.plan import plan_tiles
from geoseg.tiling.schedule import map_tiles
from geoseg.tiling.worker import TileJob


def class_map(scene, model, *, tile, batch=4, schedule=None, gsd=None, shuffle=None):
    """The whole map, through the scheduler, in pixels."""
    spec = model.spec
    plan = plan_tiles(scene.grid, chip=spec.chip, margin=spec.margin, stride=spec.stride, tile=tile, network_gsd_m=gsd)
    job = TileJob(scene, plan, model, Resolved("cpu", "fp32", batch), layers=("confidence",))
    tiles = list(plan)
    if shuffle is not None:
        np.random.default_rng(shuffle).shuffle(tiles)
    index = np.full(scene.grid.shape, 77, spec.classes.index_dtype)
    confidence = np.full(scene.grid.shape, 77, "uint8")
    for result in map_tiles(job, tiles, schedule):
        index[result.map.window.slices] = result.map.index
        confidence[result.map.window.slices] = result.map.scores["confidence"]
    return index, confidence


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("law2")
    rng = np.random.default_rng(1)
    data = rng.integers(1, 200, (4, 333, 401)).astype("uint8")
    data[:, 100:140, 200:260] = 0
    path = write_raster(folder / "noise.tif", data, nodata=0, names=["b1", "b2", "b3", "b4"])
    return open_scene([path])


@pytest.fixture(scope="module")
def unet(tmp_path_factory):
    return unet_model(tmp_path_factory.mktemp("law2") / "unet.safetensors")


@pytest.fixture(scope="module")
def reference(noise, unet):
    return class_map(noise, unet, tile=1)


@pytest.mark.parametrize(
    "case",
    [
        {"tile": 64, "batch": 1},
        {"tile": 128, "batch": 3},
        {"tile": 200, "batch": 8},
        {"tile": 10_000, "batch": 5},
        {"tile": 100, "shuffle": 0},
        {"tile": 100, "shuffle": 1},
        pytest.param({"tile": 128, "schedule": ScheduleSettings(workers=2)}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_real_network_gives_the_same_bytes(noise, unet, reference, case):
    for ours, expected in zip(class_map(noise, unet, **case), reference, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert np.unique(reference[0]).size > 2


class DyingJob(TileJob):
    """A job whose second tile kills its worker in the middle of the work, once."""

    def __call__(self, tile):
        mark = Path(os.environ["DIED_ONCE"])
        if tile.number == 1 and not mark.exists():
            read_chip(self.seen, tile.cells[0].read)
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(tile)


@pytest.mark.slow  # `tests/tiling/test_clusters.py` kills workers without a network
def test_a_worker_killed_in_the_middle_changes_no_byte(noise, unet, reference, tmp_path, monkeypatch):
    monkeypatch.setenv("DIED_ONCE", str(tmp_path / "died"))
    monkeypatch.setitem(globals(), "TileJob", DyingJob)
    for ours, expected in zip(
        class_map(noise, unet, tile=128, schedule=ScheduleSettings(workers=2)), reference, strict=True
    ):
        np.testing.assert_array_equal(ours, expected)
    assert (tmp_path / "died").exists()


def test_mutation_chips_anchored_to_the_tile_turn_it_red(noise, unet, reference, monkeypatch):
    """Named mutation: chips that start where the tile does, and not where the lattice of the raster says."""
    original = plan_module.Axis.read

    def read(self, cell):
        start, end = original(self, cell)
        return start - 16 * (cell % 2), end + 16 * (cell % 2)

    monkeypatch.setattr(plan_module.Axis, "read", read)
    index, _ = class_map(noise, unet, tile=64)
    assert (index != reference[0]).any()


@settings(max_examples=15)
@given(tile=st.integers(1, 90), zoom=st.sampled_from([2.0, 0.5, 1.3]), batch=st.integers(1, 5))
def test_resampled_scores_do_not_depend_on_tiles(tmp_path_factory, tile, zoom, batch):
    folder = tmp_path_factory.mktemp("zoom")
    rng = np.random.default_rng(3)
    scene = open_scene([write_raster(folder / "z.tif", rng.integers(1, 99, (2, 61, 67)).astype("uint8"))])
    model = stencil_model(folder / "m.safetensors", 2)
    gsd = scene.grid.gsd_m * zoom
    one = class_map(scene, model, tile=1000, gsd=gsd)
    other = class_map(scene, model, tile=tile, batch=batch, gsd=gsd)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])


def test_settings_of_reading_do_not_leak_between_tiles(tmp_path):
    """A pixel masked in one tile never dims its neighbours' validity."""
    data = np.ones((1, 90, 90), "uint8")
    data[0, 45, 45] = 0
    scene = open_scene([write_raster(tmp_path / "one.tif", data)], ReadSettings(nodata="0"))
    model = border_model(tmp_path / "m.safetensors", 2)
    index, confidence = class_map(scene, model, tile=24)
    assert (index == 255).sum() == 1
    assert index[45, 45] == 255
    assert (confidence == 0).sum() == 1
