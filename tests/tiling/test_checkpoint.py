"""Results on disk and back; what a chip read, told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import stencil_model, write_raster

from geoseg.arrays import Chip
from geoseg.errors import OutputError, OutputExistsError
from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.io.tile_file import TileFolder
from geoseg.model.device import Resolved
from geoseg.tiling.checkpoint import WAITING, Checkpoints, resumed_plan
from geoseg.tiling.plan import plan_tiles
from geoseg.tiling.reads import digest
from geoseg.tiling.result import TileResult
from geoseg.tiling.worker import TileJob

SIDE = 90


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    data = np.random.default_rng(5).integers(1, 99, (2, SIDE, SIDE)).astype("uint8")
    data[:, 40:60, 10:70] = 0
    return data


@pytest.fixture(scope="module")
def job(image, tmp_path_factory) -> TileJob:
    return job_for(image, tmp_path_factory.mktemp("checkpoint"))


def job_for(image: np.ndarray, folder: Path, tile: int = 40) -> TileJob:
    path = write_raster(folder / "image.tif", image, nodata=0, names=["b1", "b2"])
    model = stencil_model(folder / "model.safetensors", 2, chip=32, margin=6)
    scene = open_scene([path])
    plan = plan_tiles(scene.grid, chip=32, margin=6, stride=1, tile=tile)
    layers = ("confidence", "probabilities")
    return TileJob(scene, plan, model, Resolved("cpu", "fp32", 4), layers=layers)


def plain(result: TileResult) -> object:
    arrays = {"classes": result.map.index, **result.map.scores}
    arrays |= {
        name: getattr(result, name) for name in ("outside_by_row", "masked_by_row", "seam", "seam_digests", "digests")
    }
    values = {name: (array.dtype, array.tolist()) for name, array in arrays.items()}
    return result.number, result.map.window, values, result.chips, result.events


def test_results_come_back(job, tmp_path) -> None:
    folder = TileFolder(tmp_path / "tiles", "key")
    results = [replace(job(tile), events=(f"tile {tile.number}",)) for tile in job.plan]
    assert len(results) > WAITING
    with Checkpoints(folder, job.plan) as checkpoints:
        assert list(checkpoints.restored()) == []
        for result in reversed(results):
            checkpoints.keep(result)
    with Checkpoints(folder, job.plan) as checkpoints:
        assert [plain(r) for r in checkpoints.restored()] == [plain(r) for r in results]
    other_key = TileFolder(tmp_path / "tiles", "another key")
    with Checkpoints(other_key, job.plan) as checkpoints:
        assert list(checkpoints.restored()) == []


def test_tiles_of_another_plan_are_none(job, tmp_path) -> None:
    """Their numbers mean other pixels."""
    folder = TileFolder(tmp_path / "tiles", "key")
    with Checkpoints(folder, job.plan) as checkpoints:
        for tile in job.plan[:3]:
            checkpoints.keep(job(tile))
    smaller = replace(job.plan, cells_per_side=1)
    with Checkpoints(folder, smaller) as checkpoints:
        assert list(checkpoints.restored()) == []
    assert resumed_plan(smaller, folder, asked=False) == job.plan
    with pytest.raises(OutputExistsError, match=r"has tiles of 40 pixels, --tile makes them 20: leave --tile out"):
        resumed_plan(smaller, folder, asked=True)
    assert resumed_plan(job.plan, folder, asked=True) == job.plan
    assert resumed_plan(smaller, TileFolder(tmp_path / "none", "key"), asked=True) == smaller


def test_a_failure_to_write_ends_the_run(job, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    folder = TileFolder(tmp_path / "file" / "tiles", "key")
    result = job(job.plan[0])

    def keep_many() -> None:
        with Checkpoints(folder, job.plan) as checkpoints:
            for _ in range(WAITING + 1):
                checkpoints.keep(result)

    def keep_one() -> None:
        with Checkpoints(folder, job.plan) as checkpoints:
            checkpoints.keep(result)

    for attempt in (keep_many, keep_one):
        with pytest.raises((OutputError, OutputExistsError), match="tile file"):
            attempt()


def test_what_is_finished_is_kept_when_the_run_fails(job, tmp_path) -> None:
    folder = TileFolder(tmp_path / "tiles", "key")

    def fail() -> None:
        with Checkpoints(folder, job.plan) as checkpoints:
            checkpoints.keep(job(job.plan[0]))
            checkpoints.keep(job(job.plan[4]))
            raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        fail()
    assert folder.numbers() == [0, 4]


def digests_of(job: TileJob) -> dict[Window, bytes]:
    """Read window → digest, of all chips of a plan."""
    return {
        cell.read: found.tobytes()
        for tile in job.plan
        for cell, found in zip(tile.cells, job(tile).digests, strict=True)
    }


def test_digests_change_where_the_read_window_does_and_nowhere_else(image, job, tmp_path) -> None:
    """The same for every tile size."""
    row, col = 23, 61
    changed = image.copy()
    changed[1, row, col] ^= 1
    before, after = digests_of(job), digests_of(job_for(changed, tmp_path, tile=20))
    assert before.keys() == after.keys()
    # Beyond the edges the image is mirrored; this pixel is too far from them to be seen there.
    touched = {w for w in before if w.row_off <= row < w.row_end and w.col_off <= col < w.col_end}
    assert 2 <= len(touched) < len(before) / 2
    assert {window for window in before if before[window] != after[window]} == touched


@pytest.mark.parametrize("part", ["data", "present", "valid", "masked", "type"])
def test_every_part_of_a_chip_counts(part) -> None:
    shape = (1, 4, 4)
    chip = Chip(np.ones(shape, "uint8"), np.ones(shape, bool), np.ones(shape[1:], bool), Window(0, 0, 4, 4))
    ways = {
        "data": {"data": np.full(shape, 2, "uint8")},
        "present": {"present": np.zeros(shape, bool)},
        "valid": {"valid": np.zeros(shape[1:], bool)},
        "masked": {"masked": np.zeros(shape[1:], "uint8")},
        "type": {"data": np.ones(shape, "int8")},
    }
    assert digest(chip).shape == (16,)
    assert digest(chip).tobytes() == digest(replace(chip)).tobytes()
    assert digest(chip).tobytes() != digest(replace(chip, **ways[part])).tobytes()
