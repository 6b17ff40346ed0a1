"""Blocks that a file does not store are known to be empty without reading."""

import numpy as np
import pytest
import rasterio
from builders import argmax_model
from hypothesis import given
from hypothesis import strategies as st
from prediction_kit import predicted
from rasterio.windows import Window as RasterioWindow

from geoseg.grid import Window
from geoseg.io import sparse
from geoseg.io.compose import open_scene
from geoseg.io.read import read_chip
from geoseg.io.sparse import stores_nothing
from geoseg.settings import ReadSettings
from geoseg.tiling import worker

BLOCK, SIDE = 16, 100
BLOCKS = -(-SIDE // BLOCK)


def write(path, stored, *, nodata=0, sparse_ok=True, bands=2, interleave="band"):
    """Ones in the blocks (band, row, col) where `stored`; the others are left out, or filled with zeros."""
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": bands, "dtype": "uint8", "nodata": nodata}
    profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "crs": "EPSG:32618"}
    profile |= {"transform": rasterio.Affine(10, 0, 4e5, 0, -10, 4.2e6), "interleave": interleave}
    with rasterio.open(path, "w", **profile, sparse_ok=sparse_ok) as file:
        file.descriptions = [f"b{n + 1}" for n in range(bands)]
        for band, row, col in np.argwhere(stored):
            high, wide = min(BLOCK, SIDE - row * BLOCK), min(BLOCK, SIDE - col * BLOCK)
            window = RasterioWindow(col * BLOCK, row * BLOCK, wide, high)
            file.write(np.ones((high, wide), "uint8"), int(band) + 1, window=window)
    return path


@st.composite
def maps(draw):
    rows, cols = (st.lists(st.booleans(), min_size=BLOCKS, max_size=BLOCKS) for _ in range(2))
    return np.stack([np.outer(draw(rows), draw(cols)) for _ in range(2)])


@given(
    stored=maps(),
    rule=st.sampled_from(["all", "any"]),
    interleave=st.sampled_from(["band", "pixel"]),
    corner=st.tuples(st.integers(-20, SIDE - 1), st.integers(-20, SIDE - 1)),
    size=st.tuples(st.integers(21, 60), st.integers(21, 60)),
)
def test_it_says_so_where_reading_finds_nothing(tmp_path_factory, stored, rule, interleave, corner, size):
    path = write(tmp_path_factory.mktemp("sparse") / "s.tif", stored, interleave=interleave)
    scene = open_scene([path], ReadSettings(valid=rule))
    window = Window(*corner, *size)
    inner = window.intersection(scene.grid.window)
    (left, right), (top, bottom) = ((edge // BLOCK for edge in pair) for pair in _edges(inner))
    under = stored[:, top : bottom + 1, left : right + 1]
    if interleave == "pixel":  # a block holds all bands
        under = under.any(axis=0, keepdims=True)
    bands_without = ~under.any(axis=(1, 2))
    told = stores_nothing(scene, window)
    assert told == (bands_without.any() if rule == "all" else bands_without.all())
    assert not (told and read_chip(scene, window).valid.any())


def _edges(window):
    return (window.col_off, window.col_end - 1), (window.row_off, window.row_end - 1)


@pytest.mark.parametrize(
    ("why", "nodata", "settings"),
    [
        ("zeros are data where nothing else is said", None, {}),
        ("the user takes zeros for data", 0, {"nodata": "none"}),
        ("the user's nodata is not what missing blocks read as", 0, {"nodata": "7"}),
    ],
)
def test_missing_blocks_that_count_are_read(tmp_path, why, nodata, settings):
    path = write(tmp_path / "s.tif", np.zeros((2, BLOCKS, BLOCKS), bool), nodata=nodata)
    scene = open_scene([path], ReadSettings(**settings))
    assert not stores_nothing(scene, scene.grid.window), why
    assert read_chip(scene, scene.grid.window).valid.all()


def test_the_map_is_that_of_a_full_file_and_what_is_missing_is_not_read(tmp_path, monkeypatch):
    stored = np.zeros((2, BLOCKS, BLOCKS), bool)
    stored[:, 3, 2] = True
    model = argmax_model(tmp_path / "m.safetensors", 2, chip=16)
    full = predicted(open_scene([write(tmp_path / "full.tif", stored, sparse_ok=False)]), model, tile=32)
    read = []

    def counted(scene, window, inner=read_chip):
        read.append(window)
        return inner(scene, window)

    monkeypatch.setattr(worker, "read_chip", counted)
    predicted(open_scene([write(tmp_path / "sparse.tif", stored)]), model, tile=32).assert_equal(full)
    assert 0 < len(read) <= 30  # of 169 chips and some pairs at seams

    # Mutation: everything is said to be missing.
    monkeypatch.setattr(sparse, "_is_stored", lambda *_: False)
    with pytest.raises(AssertionError):
        predicted(open_scene([tmp_path / "sparse.tif"]), model, tile=32).assert_equal(full)
