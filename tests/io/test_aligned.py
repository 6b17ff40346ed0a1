"""Class rasters seen on another grid: nearest pixel, whichever window is asked."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from builders import NORTH_UP, write_raster
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.io.aligned import opened_on
from geoseg.io.class_raster import open_class_raster
from geoseg.io.recode import Recoding

CODES = np.random.default_rng(7).integers(1, 200, (60, 50)).astype(np.uint8)
NONE = 255


def nearest(codes: np.ndarray, grid: Grid, other: Grid) -> np.ndarray:
    """The definition: the code of the pixel that holds each center."""
    cols, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    xs, ys = Transformer.from_crs(grid.crs, other.crs, always_xy=True).transform(*(grid.transform @ (cols, rows)))
    cols, rows = (np.floor(at).astype(int) for at in ~other.transform @ (xs, ys))
    there = (cols >= 0) & (cols < other.width) & (rows >= 0) & (rows < other.height)
    out = np.full(grid.shape, NONE, np.uint8)
    out[there] = codes[rows[there], cols[there]]
    return out


def same() -> Recoding:
    return Recoding({code: code for code in range(1, 200)}, NONE, np.uint8)


def degrees() -> Grid:
    return Grid(CRS(4326), Affine(1.13e-4, 0, -74.9998, 0, -0.91e-4, 37.9478), 45, 66)


@pytest.fixture(scope="module", params=["tagged", "untagged", "masked"])
def raster(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("codes") / "codes.tif"
    data = CODES.copy()
    if request.param == "tagged":
        data[10:20, 10:20] = 0
        write_raster(path, data, nodata=0)
    else:
        write_raster(path, data)
    if request.param == "masked":
        import rasterio

        with rasterio.open(path, "r+") as dataset:
            valid = np.full(data.shape, 255, np.uint8)
            valid[10:20, 10:20] = 0
            dataset.write_mask(valid)
    return open_class_raster(path), request.param != "untagged"


@given(st.data())
def test_windows_are_those_of_the_nearest_pixels(raster, data) -> None:
    opened, holed = raster
    grid = degrees()
    codes = CODES.copy()
    if holed:
        codes[10:20, 10:20] = NONE
    expected = nearest(codes, grid, opened.grid)
    assert (expected == NONE).any()
    assert (expected != NONE).mean() > 0.5
    col, row = data.draw(st.integers(0, grid.width - 1)), data.draw(st.integers(0, grid.height - 1))
    window = Window(col, row, data.draw(st.integers(1, grid.width - col)), data.draw(st.integers(1, grid.height - row)))
    with opened_on(opened, grid, same()) as read:
        np.testing.assert_array_equal(read(window), expected[window.slices])
        np.testing.assert_array_equal(read(grid.window), expected)


def test_its_own_grid_is_read_as_it_is(raster) -> None:
    opened, _ = raster
    with opened_on(opened, opened.grid, Recoding({int(CODES[0, 0]): 9}, 77, np.uint16)) as read:
        found = read(Window(0, 0, 5, 3))
    np.testing.assert_array_equal(found, np.where(CODES[:3, :5] == CODES[0, 0], 9, 77))
    assert found.dtype == np.uint16


def test_a_file_that_is_gone_is_told(tmp_path) -> None:
    path = write_raster(tmp_path / "codes.tif", CODES)
    opened = open_class_raster(path)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"), opened_on(opened, opened.grid, same()):
        pass


def test_a_shifted_grid_takes_what_it_covers(tmp_path) -> None:
    opened = open_class_raster(write_raster(tmp_path / "codes.tif", CODES))
    shifted = Grid(opened.grid.crs, NORTH_UP @ Affine.translation(-3, 2), 20, 10)
    with opened_on(opened, shifted, same()) as read:
        found = read(shifted.window)
    assert (found[:, :3] == NONE).all()
    np.testing.assert_array_equal(found[:, 3:], CODES[2:12, :17])
