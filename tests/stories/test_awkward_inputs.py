"""Whole commands on inputs that are far away, change meanwhile, or are more files than a process may open."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import rasterio
from builders import argmax_model, write_raster
from cli_kit import geoseg, names_in, start
from loopback import ranged, site
from vrt_kit import SIDE, mosaic

from geoseg.io import handles, ranges, scratch
from geoseg.io.ranges import Patience


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(ranges, "PATIENCE", Patience(tries=3, first_wait_s=0.0, longest_wait_s=0.0, silence_s=5.0))
    monkeypatch.setattr(ranges, "_pieces", ranges._Pieces())
    yield
    handles.close_all()


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    data = np.random.default_rng(0).integers(1, 200, (2, 150, 140)).astype("uint8")
    data[:, 20:40, 30:70] = 0
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    return write_raster(tmp_path_factory.mktemp("scene") / "scene.tif", data, nodata=0, names=["b1", "b2"], **tiles)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return argmax_model(tmp_path_factory.mktemp("model") / "argmax.safetensors", 2).path


def failed(*args: object) -> tuple[int, str]:
    done = geoseg(*args, "-q")
    assert len(done.err.strip().splitlines()) == 1, done.err
    return done.code, done.last


def contents(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin1") for path in folder.rglob("*") if path.is_file())


def test_a_raster_on_a_server_gives_the_same_files_and_keeps_its_secret(scene, model, tmp_path) -> None:
    here = geoseg("run", scene, "-o", tmp_path / "here", "-m", model, "-q")
    assert here.code == 0, here.err
    with site({"/scene.tif?sig=CANARY": ranged(scene.read_bytes())}) as server:
        address = f"{server.url}/scene.tif?sig=CANARY"
        call = ("run", address, "-o", tmp_path / "there", "-m", model, "--bands", f"b1={address}:1,b2=2")
        there, again = geoseg(*call, "--json"), geoseg(*call)
        told = geoseg("info", address, "--json")
    assert there.code == 0, there.err
    assert "up to date" in again.err + again.out
    for name in ("scene.classes.tif", "scene.preview.png"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    for text in (contents(tmp_path / "there"), there.out, there.err, again.err, again.out, told.out, told.err):
        assert "CANARY" not in text
    assert json.loads(told.out)["files"][0]["path"] == address.partition("?")[0]


def test_a_server_that_fails_in_the_middle_ends_with_75(scene, model, tmp_path) -> None:
    with site({"/scene.tif": ranged(scene.read_bytes(), lambda n: "short" if n > 3 else None)}) as server:
        code, line = failed("segment", f"{server.url}/scene.tif", "-o", tmp_path / "out.tif", "-m", model)
    assert code == 75
    assert "run again" in line
    assert "out.tif" not in names_in(tmp_path)


@pytest.mark.parametrize(("status", "code"), [("404", 66), ("403", 77), ("503", 75), ("429", 75)])
def test_69_what_servers_say(status, code, scene, model, tmp_path) -> None:
    with site({"/scene.tif": ranged(scene.read_bytes(), lambda _: status)}) as server:
        found, line = failed("segment", f"{server.url}/scene.tif", "-o", tmp_path / "out.tif", "-m", model)
    assert (found, status in line) == (code, True)


@pytest.mark.parametrize("command", ["segment", "run"])
def test_a_file_that_changes_meanwhile_is_noticed(command, scene, model, tmp_path, monkeypatch) -> None:
    from geoseg.stories import rasters

    copy = tmp_path / "copy.tif"
    copy.write_bytes(scene.read_bytes())
    add = rasters.Tally.add

    def then_change(tally: object, result: object) -> None:
        with rasterio.open(copy, "r+") as dataset:
            dataset.write(np.full((16, 16), 7, "uint8"), 1, window=rasterio.windows.Window(0, 0, 16, 16))
        add(tally, result)

    monkeypatch.setattr(rasters.Tally, "add", then_change)
    output = tmp_path / "out" / ("out.tif" if command == "segment" else "")
    code, line = failed(command, copy, "-o", output, "-m", model)
    assert code == 65
    assert "copy.tif changed during the run" in line
    assert list((tmp_path / "out").rglob("*")) == []  # tiles of two files are no tiles


def test_20_one_strip_gives_the_same_bytes(scene, model, tmp_path, monkeypatch) -> None:
    with rasterio.open(scene) as dataset:
        strip = write_raster(
            tmp_path / "scene.tif", dataset.read(), nodata=0, names=["b1", "b2"], blockysize=150, compress="deflate"
        )
    monkeypatch.setattr(scratch, "LARGE_BLOCK_BYTES", 1000)
    monkeypatch.setattr(scratch, "SIDE", 64)
    for path, name in ((scene, "tiles"), (strip, "strip")):
        done = geoseg("segment", path, "-o", tmp_path / name / "o.tif", "-m", model)
        assert done.code == 0, done.err
        assert ("copied once into tiles" in done.err) == (name == "strip")
    assert (tmp_path / "tiles" / "o.tif").read_bytes() == (tmp_path / "strip" / "o.tif").read_bytes()
    assert names_in(tmp_path / "strip") == names_in(tmp_path / "tiles")


def test_more_sources_than_files_may_be_open(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("GDAL_MAX_DATASET_POOL_SIZE", raising=False)  # commands in this process have set it
    path = mosaic(tmp_path, 9, 8)
    model = argmax_model(tmp_path / "one.safetensors", 1).path

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    process = start("segment", path, "-o", tmp_path / "o.tif", "-m", model, "--tile", "64", preexec_fn=few_files)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    with rasterio.open(tmp_path / "o.tif") as dataset:
        assert (dataset.read(1) == 10).all()
        assert dataset.shape == (8 * SIDE, 9 * SIDE)
