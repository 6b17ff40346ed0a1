"""An even look at a scene, and fingerprints that follow what is read."""

import os
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from builders import NORTH_UP, position_image, write_raster
from hypothesis import given
from hypothesis import strategies as st
from rasterio.shutil import copy
from shapely import MultiPolygon, box, to_wkb

from geoseg.errors import InputError, InputMissingError
from geoseg.grid import Window
from geoseg.io import sample as module
from geoseg.io.compose import open_scene
from geoseg.io.read import read_chip
from geoseg.io.sample import aoi_window, fingerprint, sample_pixels


@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_pixels_are_real_ones_of_the_whole_raster(tmp_path_factory, height, width):
    """Bands hold row and column, so every sampled pixel says where it was taken."""
    path = write_raster(tmp_path_factory.mktemp("sample") / "p.tif", position_image(height, width))
    rows, cols = sample_pixels(open_scene([path]))
    assert (rows.min(), cols.min(), rows.max(), cols.max()) == (0, 0, height - 1, width - 1)
    if max(height, width) <= 128:
        assert rows.size == height * width


def test_large_rasters_are_seen_in_25_places(tmp_path):
    rows, cols = sample_pixels(open_scene([write_raster(tmp_path / "p.tif", position_image(3200, 4000))]))
    assert rows.size == 25 * 128 * 128
    assert len(np.unique(rows // 128 * 1000 + cols // 128)) >= 25
    assert np.median(rows) == pytest.approx(1600, abs=128)
    assert np.median(cols) == pytest.approx(2000, abs=128)


def test_small_rasters_are_seen_in_fewer_places_each_in_one_block(tmp_path):
    """Named mutation: windows stay where they are, and each takes up to four blocks to be decoded."""
    rows, cols = sample_pixels(open_scene([write_raster(tmp_path / "p.tif", position_image(2048, 2700))]))
    assert rows.size == 3 * 4 * 128 * 128
    for seen, first in ((rows, (0, 896, 1920)), (cols, (0, 857, 1664, 2572))):
        assert set(np.unique(seen)) == {n for start in first for n in range(start, start + 128)}


@given(first=st.integers(0, 400), size=st.integers(1, 3000))
def test_windows_of_a_first_look_stay_in_their_frame(first, size):
    """Named mutation: a window is moved to a block's end wherever that lies."""
    for window in module._first_look(Window(first, 0, size, 90)):
        assert first <= window.col_off <= window.col_end <= first + size


def test_a_narrow_strip_of_valid_pixels_is_seen(tmp_path):
    """Named mutation: the windows of the second look are moved, too, and no longer cover what they covered."""
    data = np.zeros((1, 1000, 1000), "uint8")
    data[:, 260:370] = 7
    pixels = sample_pixels(open_scene([write_raster(tmp_path / "p.tif", data, nodata=0)]))
    assert pixels.size >= 110_000  # where two windows meet, they overlap
    assert (pixels == 7).all()


def test_invalid_pixels_are_left_out(tmp_path):
    data = np.array([[[0, 1], [2, 3]], [[5, 0], [6, 7]]], "uint16")
    pixels = sample_pixels(open_scene([write_raster(tmp_path / "n.tif", data, nodata=0)]))
    assert pixels.tolist() == [[2, 3], [6, 7]]


def test_a_scene_without_a_valid_pixel_gives_none(tmp_path):
    scene = open_scene([write_raster(tmp_path / "n.tif", np.zeros((3, 9, 9), "uint8"), nodata=0)])
    assert sample_pixels(scene).shape == (3, 0)


def with_aoi(scene, *windows):
    """A scene whose AOI is made of windows (left, top, right, bottom) in pixels."""
    corners = [box(left, top, right, bottom) for left, top, right, bottom in windows]
    transform = scene.grid.transform
    area = shapely.transform(MultiPolygon(corners), lambda xy: np.column_stack(transform @ tuple(xy.T)))
    return replace(scene, aoi_wkb=to_wkb(area))


ROTATED = NORTH_UP @ Affine.rotation(30)


@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED, Affine(10, 0, 5e5, 0, 10, 4.2e6)])
def test_the_window_of_an_area_of_interest(tmp_path, transform):
    scene = open_scene([write_raster(tmp_path / "p.tif", position_image(60, 80), transform=transform)])
    assert aoi_window(scene) == Window(0, 0, 80, 60)
    around = aoi_window(with_aoi(scene, (10.25, 20.5, 12.75, 30.5)))
    assert around == Window.from_edges(left=10, top=20, right=13, bottom=31)
    clipped = aoi_window(with_aoi(scene, (70.5, -40, 900, 5.5), (300, 20, 310, 900)))
    assert clipped == Window.from_edges(left=70, top=0, right=80, bottom=6)
    assert aoi_window(with_aoi(scene, (90, 0, 99, 60))) is None
    assert sample_pixels(with_aoi(scene, (90, 0, 99, 60))).shape == (2, 0)


def test_a_small_area_of_interest_is_seen_whole_and_nothing_else_is_read(tmp_path, monkeypatch):
    """30 × 40 pixels of 4000 × 4000, between the windows of any coarse lattice."""
    scene = open_scene([write_raster(tmp_path / "p.tif", position_image(4000, 4000))])
    read = []
    monkeypatch.setattr(module, "read_chip", lambda scene, window: read.append(window) or read_chip(scene, window))
    rows, cols = sample_pixels(with_aoi(scene, (1300, 1500, 1330, 1540)))
    assert rows.size == 30 * 40
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (1500, 1539, 1300, 1329)
    assert read == [Window(1300, 1500, 30, 40)]


def test_a_second_look_finds_what_the_first_missed(tmp_path):
    """300 × 300 valid pixels between the first look's windows, in an otherwise empty scene."""
    data = np.zeros((1, 3000, 3000), "uint8")
    data[:, 200:500, 200:500] = 7
    pixels = sample_pixels(open_scene([write_raster(tmp_path / "p.tif", data, nodata=0)]))
    assert pixels.size > 0
    assert (pixels == 7).all()


@pytest.fixture
def raster(tmp_path):
    return write_raster(tmp_path / "a.tif", np.arange(100, dtype="uint8").reshape(10, 10))


def test_copies_have_the_same_fingerprint(raster):
    before = fingerprint(str(raster))
    assert before["name"] == "a.tif"
    assert before["bytes"] == raster.stat().st_size
    raster.write_bytes(raster.read_bytes())
    os.utime(raster, (0, 0))
    assert fingerprint(str(raster)) == before


def test_one_changed_byte_is_seen(raster):
    before = fingerprint(str(raster))
    raw = bytearray(raster.read_bytes())
    raw[-1] ^= 1
    raster.write_bytes(raw)
    assert fingerprint(str(raster)) != before


@pytest.mark.parametrize("suffix", [".msk", ".aux.xml"])
def test_sidecars_that_change_what_is_read_count(raster, suffix):
    before = fingerprint(str(raster))
    sidecar = raster.with_name(raster.name + suffix)
    sidecar.write_text("one")
    second = fingerprint(str(raster))
    sidecar.write_text("two")
    assert len({before["blake2b"], second["blake2b"], fingerprint(str(raster))["blake2b"]}) == 3


def write_named(raster):
    """GDAL repeats descriptions in the sidecar."""
    return write_raster(raster, np.arange(200, dtype="uint8").reshape(2, 10, 10), names=["red", "nir"])


def look_at(raster):
    """What `gdalinfo -stats` and QGIS do: statistics and a histogram, kept beside the file."""
    with rasterio.open(raster) as dataset:
        dataset.statistics(1, approx=False, clear_cache=False)  # `stats` leaves no sidecar
    sidecar = raster.with_name(f"{raster.name}.aux.xml")
    assert "STATISTICS_MEAN" in sidecar.read_text()
    histogram = "<Histograms><HistItem><HistMin>0</HistMin><HistCounts>1|2</HistCounts></HistItem></Histograms>"
    sidecar.write_text(sidecar.read_text().replace("</PAMRasterBand>", f"{histogram}</PAMRasterBand>", 1))


@pytest.mark.filterwarnings("ignore::rasterio.errors.RasterioDeprecationWarning")
def test_a_look_at_a_raster_changes_nothing(raster):
    write_named(raster)
    before = fingerprint(str(raster))
    look_at(raster)
    assert fingerprint(str(raster)) == before


@pytest.mark.filterwarnings("ignore::rasterio.errors.RasterioDeprecationWarning")
def test_a_look_keeps_what_else_the_sidecar_says(raster):
    write_named(raster)
    sidecar = raster.with_name(f"{raster.name}.aux.xml")
    without = fingerprint(str(raster))
    seen = []
    for nodata in (3, 4):
        sidecar.write_text(
            f'<PAMDataset><PAMRasterBand band="1"><NoDataValue>{nodata:.14E}</NoDataValue></PAMRasterBand></PAMDataset>'
        )
        seen.append(fingerprint(str(raster)))
        look_at(raster)
        assert fingerprint(str(raster)) == seen[-1]
    assert len({without["blake2b"], *(each["blake2b"] for each in seen)}) == 3


def test_the_sources_of_a_vrt_count(raster, tmp_path):
    vrt = tmp_path / "a.vrt"
    with rasterio.open(raster) as dataset:
        copy(dataset, vrt, driver="VRT")
    before = fingerprint(str(vrt))
    write_raster(raster, np.zeros((10, 10), "uint8"))
    assert fingerprint(str(vrt)) != before


def test_a_large_file_is_seen_in_pieces(tmp_path):
    """12 MiB: the size, the first and the last byte count, and not every byte is read."""
    path = tmp_path / "large.bin"
    raw = bytearray(12 * 2**20)
    path.write_bytes(raw)
    digests = {fingerprint(str(path))["blake2b"]}
    for change in (0, -1):
        raw[change] = 1
        path.write_bytes(raw)
        digests.add(fingerprint(str(path))["blake2b"])
    path.write_bytes(raw + b"\0")
    digests.add(fingerprint(str(path))["blake2b"])
    assert len(digests) == 4


def test_what_is_not_there(tmp_path):
    with pytest.raises((InputError, InputMissingError)):
        fingerprint(str(tmp_path / "none.tif"))
