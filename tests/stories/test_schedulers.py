"""Law 2 at the command line: whatever computes the tiles, the same files, byte for byte."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import rasterio
from builders import unet_model, write_raster
from cli_kit import codes_of, geoseg, names_in

from geoseg.errors import DeviceError

PATIENCE_S = 60


@pytest.fixture(scope="module")
def scene(sample, tmp_path_factory) -> Path:
    """Four bands of the sample as bytes, with a hole, larger than a tile of 512 and no multiple of anything."""
    with rasterio.open(sample) as image:
        data = (image.read([1, 2, 3, 4], window=((100, 723), (200, 811))) // 16).clip(1, 255).astype("uint8")
        data[:, 300:340, 200:330] = 0
        path = tmp_path_factory.mktemp("scene") / "scene.tif"
        # Without a photometric word GDAL takes the fourth byte band for transparency.
        profile = {"nodata": 0, "crs": image.crs, "photometric": "minisblack"}
        return write_raster(path, data, names=["b1", "b2", "b3", "b4"], **profile)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return unet_model(tmp_path_factory.mktemp("model") / "unet.safetensors", classes=4).path


@pytest.fixture(scope="module")
def reference(scene, model, tmp_path_factory) -> dict[str, bytes]:
    return segmented(scene, model, tmp_path_factory.mktemp("reference"), "--tile", "2048", "--batch-size", "1")


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """A scheduler and a worker of two threads, started by hand; gives the scheduler's address."""
    from distributed import Client

    note = folder / "scheduler.json"
    common = ["--scheduler-file", str(note), "--host", "127.0.0.1", "--no-dashboard"]
    with ExitStack() as stack:

        def start(tool: str, *more: str) -> subprocess.Popen[bytes]:
            call = [sys.executable, "-m", f"distributed.cli.{tool}", *common, *more]
            with (folder / f"{tool}.log").open("wb") as log:
                process = subprocess.Popen(call, stdout=log, stderr=log, env=os.environ)
            stack.callback(process.wait, PATIENCE_S)
            stack.callback(process.terminate)
            return process

        start("dask_scheduler", "--port", "0")
        start("dask_worker", "--nthreads", "2", "--no-nanny")  # waits for the scheduler's note by itself
        address = _address(note)
        with Client(address, timeout=PATIENCE_S) as client:
            client.wait_for_workers(1, timeout=PATIENCE_S)
        yield address


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    with cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


def _address(note: Path) -> str:
    """The scheduler's address, once its note is there and whole."""
    for _ in range(PATIENCE_S * 20):
        try:
            return json.loads(note.read_text())["address"]
        except (FileNotFoundError, ValueError):
            time.sleep(0.05)
    pytest.fail(f"no scheduler within {PATIENCE_S} s: {(note.parent / 'dask_scheduler.log').read_text()}")


def children() -> set[psutil.Process]:
    """Processes below this one, without Python's resource tracker, which serves and outlives all others."""
    below = psutil.Process().children(recursive=True)
    return {process for process in below if "resource_tracker" not in " ".join(process.cmdline())}


def segmented(scene: Path, model: Path, folder: Path, *flags: str) -> dict[str, bytes]:
    """File name → bytes of what `segment` made, without the record (it holds no pixels)."""
    output = folder / "scene.classes.tif"
    done = geoseg("segment", scene, "-o", output, "-m", model, "--confidence", "-q", *flags)
    assert done.code == 0, done.err
    return {name: (folder / name).read_bytes() for name in names_in(folder) if not name.endswith(".json")}


def test_the_reference_is_worth_comparing_with(reference, scene, model, tmp_path) -> None:
    (tmp_path / "scene.classes.tif").write_bytes(reference["scene.classes.tif"])
    codes = codes_of(tmp_path / "scene.classes.tif")
    values, counts = np.unique(codes, return_counts=True)
    assert len(values) >= 4
    assert counts.min() > 100
    assert (codes[300:340, 200:330] == 255).all()


@pytest.mark.parametrize(
    ("tile", "batch", "where"),
    [
        (64, 1, []),
        (512, 3, []),
        (2048, 8, []),
        pytest.param(512, 8, ["--workers", "1"], marks=pytest.mark.slow),
        (64, 3, ["--workers", "2"]),
        pytest.param(64, 8, "scheduler", marks=pytest.mark.slow),
        (512, 1, "scheduler"),
    ],
    ids=str,
)
def test_the_same_bytes(scene, model, reference, tmp_path, request, tile, batch, where) -> None:
    if where == "scheduler":
        where = ["--scheduler", request.getfixturevalue("address")]
    before = children()
    found = segmented(scene, model, tmp_path, "--tile", str(tile), "--batch-size", str(batch), *where)
    assert found.keys() == reference.keys()
    assert [name for name in found if found[name] != reference[name]] == []
    _, alive = psutil.wait_procs(children() - before, timeout=PATIENCE_S)
    assert alive == []  # worker processes end with the command that started them


def test_the_order_in_which_tiles_finish_is_not_the_plans(scene, model, reference, tmp_path, monkeypatch) -> None:
    """Last tile first: the coordinator must not rely on any order."""
    from geoseg.stories import rasters as story
    from geoseg.tiling.schedule import map_tiles

    def backwards(work, tiles, schedule, **more):
        return map_tiles(work, list(tiles)[::-1], schedule, **more)

    monkeypatch.setattr(story, "map_tiles", backwards)
    assert segmented(scene, model, tmp_path, "--tile", "100") == reference


def failed(*args: object) -> tuple[int, str]:
    """Exit code and message of a command that ends with one line."""
    done = geoseg(*args, "-q")
    assert len(done.err.strip().splitlines()) == 1, done.err
    return done.code, done.last


@pytest.mark.parametrize("where", [[], pytest.param(["--workers", "1"], marks=pytest.mark.slow)], ids=str)
def test_a_block_damaged_on_a_worker_is_one_line(model, tmp_path, monkeypatch, where) -> None:
    from geoseg.stories import segment as story

    noise = np.random.default_rng(0).integers(1, 255, (4, 256, 256), np.uint8)
    profile = {"names": ["b1", "b2", "b3", "b4"], "photometric": "minisblack", "compress": "deflate"}
    path = write_raster(tmp_path / "damaged.tif", noise, **profile, tiled=True, blockxsize=64, blockysize=64)
    prepare = story.prepare

    def prepare_then_damage(*args: object) -> object:
        """What looks at the file before any work would find it first."""
        job = prepare(*args)
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2 : len(raw) // 2 + 4000] = b"\xff" * 4000
        path.write_bytes(raw)
        return job

    monkeypatch.setattr(story, "prepare", prepare_then_damage)
    code, line = failed("segment", path, "-o", tmp_path / "out.tif", "-m", model, "--tile", "64", *where)
    assert code == 65
    assert "damaged.tif cannot be decoded at columns" in line
    assert "out.tif" not in names_in(tmp_path)


def test_a_relative_path_means_the_callers_folder(scene, model, reference, tmp_path, address, monkeypatch) -> None:
    monkeypatch.chdir(scene.parent)
    assert segmented(Path(scene.name), model, tmp_path, "--scheduler", address) == reference


def elsewhere(monkeypatch) -> None:
    """Make this process another one than that which made the job, as a worker is."""
    from geoseg.tiling import process

    monkeypatch.setattr(process, "process_name", lambda: "node7:41")
    monkeypatch.setattr(process, "_loaded", {})


@pytest.fixture
def job(scene, model, tmp_path):
    from geoseg.model.device import Resolved
    from geoseg.settings import PredictSettings, RunSettings
    from geoseg.stories.prepare import prepare
    from geoseg.tiling.worker import TileJob

    copy, weights = tmp_path / "copy.tif", tmp_path / "copy.safetensors"
    shutil.copy(scene, copy)
    shutil.copy(model, weights)
    ready = prepare([copy], RunSettings(predict=PredictSettings(model=str(weights))))
    return TileJob(ready.scene, ready.plan, ready.model, Resolved("cpu", "fp32", 1))


@pytest.mark.parametrize("name", ["copy.tif", "copy.safetensors"])
def test_a_worker_that_cannot_see_a_file_names_it(job, tmp_path, monkeypatch, name) -> None:
    elsewhere(monkeypatch)
    (tmp_path / name).unlink()
    with pytest.raises(DeviceError, match=str(tmp_path / name)) as caught:
        job(job.plan[0])
    assert caught.value.exit_code == 69


def test_a_worker_of_another_kind_is_refused(job, monkeypatch) -> None:
    """Law 2: the key says which instruction set and which libraries; a worker with others would change bytes."""
    from geoseg.tiling import process

    elsewhere(monkeypatch)
    here = process.machine_key(job.resolved)
    monkeypatch.setattr(process, "machine_key", lambda _: here | {"processor": "ABACUS"})
    with pytest.raises(
        DeviceError, match=re.escape(f"node7:41 has processor ABACUS, this run needs {here['processor']} ")
    ):
        job(job.plan[0])
    monkeypatch.setattr(process, "machine_key", lambda _: here)
    assert job(job.plan[0]).chips > 0


def test_a_worker_without_the_device_is_refused(job, monkeypatch) -> None:
    elsewhere(monkeypatch)
    object.__setattr__(job, "resolved", replace(job.resolved, device="cuda:99"))
    with pytest.raises(DeviceError, match="worker node7:41: --device cuda:99"):
        job(job.plan[0])


@pytest.mark.parametrize("command", ["segment", "run"])
def test_a_refused_port_is_told_before_the_lock(scene, model, tmp_path, command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    output = tmp_path / "new" / ("out.tif" if command == "segment" else "")
    code, line = failed(command, scene, "-o", output, "-m", model, "--scheduler", f"tcp://127.0.0.1:{port}")
    assert code == 69
    assert f"--scheduler tcp://127.0.0.1:{port}: no Dask scheduler answers there" in line
    assert names_in(tmp_path) == set()


def test_a_scheduler_lost_in_the_middle_is_one_line(scene, model, tmp_path, monkeypatch) -> None:
    from geoseg.stories import segment as story

    before = children()
    with cluster(tmp_path) as address:
        (scheduler,) = (p for p in children() - before if "distributed.cli.dask_scheduler" in p.cmdline())
        advance = story.Tally.add

        def kill_after_the_first(tally: object, result: object) -> None:
            if scheduler.is_running():
                scheduler.kill()
            advance(tally, result)

        monkeypatch.setattr(story.Tally, "add", kill_after_the_first)
        code, line = failed(
            "segment", scene, "-o", tmp_path / "out.tif", "-m", model, "--tile", "64", "--scheduler", address
        )
    assert code == 75
    assert "run again" in line
