"""The intermediate raster: any order of cores gives the same pixels; a full disk is one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS

from geoseg.errors import OutputError
from geoseg.grid import Grid, Window
from geoseg.io import posix
from geoseg.io.spool import RasterSpool, row_bands


def grid_of(width: int, height: int) -> Grid:
    return Grid(CRS.from_epsg(32618), Affine(10, 0, 5e5, 0, -10, 4e6), width, height)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    core=st.integers(1, 17),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    bands=st.sampled_from([1, 3]),
    seed=st.randoms(use_true_random=False),
)
def test_cores_in_any_order_make_the_raster_and_the_rest_is_nodata(tmp_path, size, core, dtype, bands, seed) -> None:
    """Mutation: an offset computed with the core's instead of the grid's width turns it red."""
    grid = grid_of(*size)
    fill = np.iinfo(dtype).max
    truth = np.arange(bands * grid.width * grid.height).reshape(bands, *grid.shape).astype(dtype)
    cores = list(grid.window.split(core))
    seed.shuffle(cores)
    skipped = cores.pop() if len(cores) > 1 else None
    if skipped:
        truth[:, *skipped.slices] = fill
    with RasterSpool(tmp_path / "s", grid, dtype, fill, bands=bands) as spool:
        for window in cores:
            part = truth[:, *window.slices]
            spool.write(window, part if bands > 1 else part[0])
        for band, plane in enumerate(truth):
            assert np.array_equal(spool.read(grid.window, band), plane)
            assert all(np.array_equal(spool.read(w, band), plane[w.slices]) for w in grid.window.split(7))
    assert not (tmp_path / "s").exists()


def test_the_fill_spans_several_buffers(tmp_path) -> None:
    grid = grid_of(3000, 3001)
    with RasterSpool(tmp_path / "s", grid, np.uint8, 255) as spool:
        assert spool.path.stat().st_size == spool.size_bytes == 9_003_000
        assert (spool.read(grid.window) == 255).all()


def test_pixels_that_do_not_fit_are_refused(tmp_path) -> None:
    with RasterSpool(tmp_path / "s", grid_of(4, 4), np.uint8, 255) as spool:
        with pytest.raises(ValueError, match="not inside the grid"):
            spool.write(Window(3, 0, 2, 1), np.zeros((1, 2), np.uint8))
        with pytest.raises(ValueError, match="does not fit"):
            spool.write(Window(0, 0, 2, 1), np.zeros((2, 1), np.uint8))
        with pytest.raises(ValueError, match="does not fit"):
            spool.write(Window(0, 0, 1, 1), np.zeros((1, 1), np.uint16))


def test_row_bands_partition_the_grid() -> None:
    grid = grid_of(20_000, 1_000)
    seen = np.zeros(grid.height, int)
    for band in row_bands(grid):
        assert (band.col_off, band.width) == (0, grid.width)
        assert band.size <= 2**23
        seen[band.row_off : band.row_end] += 1
    assert (seen == 1).all()


def test_too_little_space_is_told_before_any_work(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(posix, "free_bytes", lambda _: 19_999)
    with pytest.raises(OutputError, match=r"20000 bytes, 19999 are free") as caught:
        RasterSpool(tmp_path / "s", grid_of(100, 100), np.uint8, 255).__enter__()
    assert str(tmp_path / "s") in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_ends_with_the_path_and_the_bytes_needed(tmp_path) -> None:
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_spool import RasterSpool, grid_of
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    RasterSpool(__import__("pathlib").Path({str(tmp_path / "s")!r}), grid_of(300, 300), "uint8", 255).__enter__()
except OSError as error:
    print(type(error).__name__, error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.startswith("OutputError")
    assert f"{tmp_path / 's'}: File too large; it needs 90000 bytes" in told
    assert not list(tmp_path.iterdir())
