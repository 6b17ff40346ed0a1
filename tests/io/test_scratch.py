"""Files of huge blocks are copied once, number for number, and read from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from builders import NORTH_UP, write_raster
from rasterio.enums import ColorInterp

from geoseg.errors import InputError, OutputError
from geoseg.grid import Window
from geoseg.io import scratch
from geoseg.io.compose import open_scene
from geoseg.io.read import read_chip
from geoseg.io.sample import sample_pixels
from geoseg.io.scratch import has_large_blocks, retiled

WINDOWS = (Window(120, 333, 64, 64), Window(0, 0, 301, 407), Window(-9, -9, 300, 310))


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch) -> None:
    monkeypatch.setattr(scratch, "LARGE_BLOCK_BYTES", 1000)
    monkeypatch.setattr(scratch, "_BAND_BYTES", 1)  # one row of tiles at a time


def striped(path: Path, *, bands: int = 3, mask: bool = False, **profile: object) -> Path:
    data = np.random.default_rng(3).integers(1, 4000, (bands, 407, 301)).astype("uint16")
    data[:, 50:90, 20:200] = 0
    write_raster(path, data, blockysize=407, compress="deflate", **profile)
    if mask:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "r+") as dataset:
            dataset.write_mask((data[0] > 2000).astype("uint8") * 255)
    return path


def with_alpha(path: Path) -> Path:
    with rasterio.open(striped(path, bands=4), "r+") as dataset:
        dataset.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.undefined, ColorInterp.alpha]
        dataset.write((dataset.read(1) > 1000).astype("uint16") * 65535, 4)
    return path


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("make", [striped, lambda path, **p: striped(path, mask=True, **p)], ids=["nodata", "mask"])
def test_the_copy_reads_the_same(make, interleave, tmp_path) -> None:
    scene = open_scene([make(tmp_path / "a.tif", interleave=interleave, nodata=0)])
    assert_same(scene, tmp_path)


def test_alpha_and_another_grid(tmp_path) -> None:
    scene = open_scene([with_alpha(tmp_path / "a.tif")])
    assert scene.bands[0].validity.alpha == 4
    assert_same(scene, tmp_path)
    finer = replace(scene.grid, transform=NORTH_UP @ Affine.scale(0.7), width=400, height=500)
    (tmp_path / "again").mkdir()
    assert_same(scene.on_grid(finer), tmp_path / "again")


def assert_same(scene, folder: Path) -> None:
    copied, notes = retiled(scene, folder)
    assert copied.paths == (str(folder / "source0.tif"),)
    assert notes == ("a.tif is stored in huge blocks: copied once into tiles, for this run",)
    with rasterio.open(copied.paths[0]) as dataset:
        assert dataset.block_shapes[0] == (256, 256)
    for window in WINDOWS:
        ours, theirs = read_chip(copied, window), read_chip(scene, window)
        np.testing.assert_array_equal(ours.data, theirs.data)
        np.testing.assert_array_equal(ours.present, theirs.present)
        np.testing.assert_array_equal(ours.valid, theirs.valid)
        assert theirs.valid.any()
    assert not theirs.valid.all()


@pytest.mark.parametrize(
    "profile",
    [
        {"tiled": True, "blockxsize": 64, "blockysize": 64},
        {"blockysize": 1},
        {"driver": "PNG"},
    ],
    ids=["tiles", "rows", "PNG"],
)
def test_other_files_stay_where_they_are(profile, tmp_path) -> None:
    data = np.ones((1, 300, 300), "uint8")
    scene = open_scene([write_raster(tmp_path / "a.tif", data, **profile)])
    assert retiled(scene, tmp_path) == (scene, ())
    assert not has_large_blocks(scene)


def test_copying_takes_a_block_and_some_rows_or_nothing(tmp_path) -> None:
    strip = 407 * 301 * 3 * 2
    path = striped(tmp_path / "a.tif", interleave="pixel")
    assert scratch.copying_bytes(open_scene([path])) == 2 * strip + 3
    tiled = write_raster(tmp_path / "t.tif", np.ones((1, 64, 64), "uint8"), tiled=True, blockxsize=16, blockysize=16)
    assert scratch.copying_bytes(open_scene([tiled])) == 0


def test_each_strip_is_decoded_about_once(tmp_path, monkeypatch) -> None:
    """Seen from GDAL's side: rows are asked for once, from the top down."""
    scene = open_scene([striped(tmp_path / "a.tif", nodata=0, interleave="pixel")])
    asked = []
    decoded = scratch._decoded

    def noted(path, spot, read):
        asked.append(spot)
        return decoded(path, spot, read)

    monkeypatch.setattr(scratch, "_decoded", noted)
    retiled(scene, tmp_path)
    assert [(spot.row_off, spot.height) for spot in asked] == [(0, 256), (256, 151)]


def test_the_first_look_reads_few_windows(tmp_path, monkeypatch) -> None:
    scene = open_scene([striped(tmp_path / "a.tif", nodata=0)])
    found = sample_pixels(scene)
    monkeypatch.setattr(scratch, "LARGE_BLOCK_BYTES", 10**9)
    usual = sample_pixels(scene)
    assert 0 < found.shape[1] < usual.shape[1]


def test_no_room_is_told_before_anything_is_written(tmp_path, monkeypatch) -> None:
    scene = open_scene([striped(tmp_path / "a.tif", nodata=0)])
    monkeypatch.setattr(scratch.posix, "free_bytes", lambda _: 1000)
    with pytest.raises(OutputError, match=r"a tiled copy of .*a\.tif needs 735042 bytes in .*, 1000 are free"):
        retiled(scene, tmp_path)
    assert not (tmp_path / "source0.tif").exists()


def test_a_damaged_strip_is_the_inputs_fault(tmp_path) -> None:
    path = striped(tmp_path / "a.tif", nodata=0)
    scene = open_scene([path])
    raw = bytearray(path.read_bytes())
    raw[408 : 408 + 4000] = bytes(4000)  # GDAL 3.10 decodes damage in the middle of a strip to other numbers
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.tif cannot be decoded in rows 0…255 .*damaged, copy it again"):
        retiled(scene, tmp_path)
