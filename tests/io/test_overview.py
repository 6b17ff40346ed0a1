"""Small pictures: proportions, averages, and what is not shown."""

import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from uuid import uuid4

import numpy as np
import pytest
import rasterio
from builders import position_image, scheme, write_raster
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from shapely import box, to_wkb

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io import overview
from geoseg.io.compose import open_scene
from geoseg.io.overview import picture_window, small_classes, small_image, small_shape
from geoseg.settings import ReadSettings


@given(height=st.integers(1, 100_000), width=st.integers(1, 100_000), longest=st.integers(1, 2000))
def test_shapes_keep_their_proportions(height, width, longest):
    rows, cols = small_shape(height, width, longest)
    assert 1 <= max(rows, cols) <= longest or (rows, cols) == (height, width)
    factor = max(1.0, max(height, width) / longest)
    assert rows == pytest.approx(height / factor, abs=0.5 + 1e-6) or rows == 1
    assert cols == pytest.approx(width / factor, abs=0.5 + 1e-6) or cols == 1


def blocks(values, side):
    """Each value as a square of side × side pixels."""
    return np.kron(np.asarray(values), np.ones((side, side))).astype("uint16")


def test_pixels_are_averaged_and_scaled(tmp_path):
    values = np.array([[10, 20], [30, 40]])
    data = blocks(values, 8)
    data[::2] += 2
    settings = ReadSettings(scale=(0.1,), offset=(1.0,))
    image, valid = small_image(open_scene([write_raster(tmp_path / "b.tif", data)], settings), longest=2)
    np.testing.assert_allclose(image[0], (values + 1) * 0.1 + 1, rtol=1e-6)
    assert valid.all()


def test_small_rasters_are_shown_as_they_are(tmp_path):
    data = np.arange(40, dtype="uint8").reshape(2, 4, 5)
    image, valid = small_image(open_scene([write_raster(tmp_path / "s.tif", data)]))
    np.testing.assert_array_equal(image, data)
    assert valid.shape == (4, 5)


def test_nodata_does_not_darken_its_neighbors(tmp_path):
    data = blocks([[10, 0], [30, 40]], 8)
    data[0, 0] = 0
    image, valid = small_image(open_scene([write_raster(tmp_path / "n.tif", data, nodata=0)]), longest=2)
    assert valid.tolist() == [[True, False], [True, True]]
    assert image[0][valid].tolist() == [10, 30, 40]


@given(
    height=st.integers(40, 90),
    longest=st.integers(3, 60),
    strip=st.integers(1, 40),
    dtype=st.sampled_from(["uint8", "int16", "float32"]),
    masked=st.sampled_from(["by nothing", 0, 200, "mask", "alpha"]),  # as numbers no means of the others
    overviews=st.booleans(),
    seed=st.integers(0, 9),
)
def test_strips_and_comparisons_give_what_gdal_gives_at_once(
    tmp_path, monkeypatch, height, longest, strip, dtype, masked, overviews, seed
):
    """To one unit of the numbers stored: at edges within a pixel GDAL rounds another way now and then."""
    random = np.random.default_rng(seed)
    data = random.choice([0, 3, 9, 14, 200], (2 if masked == "alpha" else 1, height, 70)).astype(dtype)
    holes = np.kron(random.integers(0, 2, (height // 5 + 1, 14)), np.ones((5, 5)))[:height] > 0
    options = {"nodata": masked} if isinstance(masked, int) else {}
    if masked == "alpha":
        data[1] = holes * 255
        options |= {"photometric": "minisblack", "alpha": "yes"}
    path = write_raster(tmp_path / f"{uuid4()}.tif", data, blockxsize=16, blockysize=16, tiled=True, **options)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "r+") as dataset:
        if masked == "mask":
            dataset.write_mask(holes)
        if overviews:
            dataset.build_overviews([2, 4], Resampling.average)
    scene = open_scene([path])
    monkeypatch.setattr(overview, "STRIP_PX", strip)
    image, valid = small_image(scene, longest)
    with rasterio.open(path) as dataset:
        expected = dataset.read(1, out_shape=valid.shape, resampling=Resampling.average, masked=True)
    np.testing.assert_array_equal(valid, ~np.ma.getmaskarray(expected))
    assert np.abs(image[0][valid] - expected.data[valid]).max(initial=0) <= 1


def test_a_picture_that_nobody_wants_any_more_is_not_finished(tmp_path, monkeypatch):
    scene, stop = open_scene([write_raster(tmp_path / "s.tif", position_image(64, 64)[0])]), threading.Event()
    monkeypatch.setattr(overview, "STRIP_PX", 1)
    asked = []
    strips = overview._strips

    def watched(*args):
        for strip in strips(*args):
            asked.append(strip)
            stop.set()
            yield strip

    monkeypatch.setattr(overview, "_strips", watched)
    with pytest.raises(CancelledError):
        small_image(scene, 32, stop=stop)
    assert len(asked) == 1


def test_collars_and_nan_are_not_shown(tmp_path):
    data = np.stack([blocks([[255, 20], [30, 255]], 4), blocks([[255, 21], [31, 7]], 4)])
    scene = open_scene([write_raster(tmp_path / "c.tif", data)], ReadSettings(collar="255"))
    assert small_image(scene, longest=2)[1].tolist() == [[False, True], [True, True]]
    holes = np.where(data == 255, np.nan, data).astype("float32")
    assert small_image(open_scene([write_raster(tmp_path / "f.tif", holes)]), longest=2)[1].tolist() == [
        [False, True],
        [True, False],
    ]


def test_classes_stay_classes(tmp_path):
    """No code between two codes ever appears."""
    codes = np.random.default_rng(0).choice([*scheme(3).codes, 255], (200, 300)).astype("uint8")
    small = small_classes(write_raster(tmp_path / "k.tif", codes), longest=50)
    assert small.shape == (33, 50)
    assert set(np.unique(small)) == {10, 20, 30, 255}


def test_a_window_is_shown_alone(tmp_path):
    data = position_image(40, 60)
    window = Window(20, 10, 8, 4)
    image, valid = small_image(open_scene([write_raster(tmp_path / "p.tif", data)]), 1024, window)
    np.testing.assert_array_equal(image, data[:, *window.slices])
    assert valid.shape == (4, 8)
    np.testing.assert_array_equal(small_classes(tmp_path / "p.tif", 1024, window), data[0][window.slices])


def test_a_picture_shows_a_little_around_the_area_of_interest(tmp_path):
    scene = open_scene([write_raster(tmp_path / "p.tif", position_image(200, 300))])
    assert picture_window(scene) == Window(0, 0, 300, 200)
    left, top = scene.grid.transform @ (250, 100)
    right, bottom = scene.grid.transform @ (350, 140)
    aoi = to_wkb(box(left, bottom, right, top))
    assert picture_window(replace(scene, aoi_wkb=aoi)) == Window.from_edges(left=247, top=97, right=300, bottom=143)


def test_a_damaged_file_is_told_in_one_line(tmp_path):
    profile = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"}
    path = write_raster(tmp_path / "scene.tif", position_image(64, 64), **profile)
    with rasterio.open(path) as dataset:
        start = int(dataset.get_tag_item("BLOCK_OFFSET_3_3", "TIFF", bidx=1))
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 8)
    scene = open_scene([path])
    assert small_image(scene, 10, Window(0, 0, 24, 20))[1].all()
    with pytest.raises(InputError, match=r"scene\.tif cannot be decoded for a picture \(.*copy it again") as caught:
        small_image(scene, 1024)
    assert "\n" not in str(caught.value)
