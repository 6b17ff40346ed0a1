"""The law of mosaics: however a scene is cut into files, the map of these is the map of the scene.

Neighbors may overlap, come in any order, and store their reflectance each in its own way.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from builders import NORTH_UP, stencil_model, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_kit import predicted

from geoseg.grid import Window
from geoseg.io import read
from geoseg.io.compose import open_scene
from geoseg.io.overlay import overlaid
from geoseg.settings import ReadSettings

HEIGHT, WIDTH = 96, 110


def image() -> np.ndarray:
    """Noise with holes, of which one reaches the edge."""
    data = np.random.default_rng(3).integers(1, 60, (2, HEIGHT, WIDTH)).astype("uint8")
    data[:, 30:52, 41:70] = 0
    data[0, 80:, 90:] = 0
    return data


def cut_up(draw, window: Window, depth: int) -> list[Window]:
    """Rectangles that partition a window."""
    if depth == 0 or min(window.shape) < 8:
        return [window]
    across = draw(st.booleans())
    place = draw(st.integers(2, (window.height if across else window.width) - 2))
    if across:
        edge = window.row_off + place
        halves = [(window.row_off, edge), (edge, window.row_end)]
        pieces = [Window(window.col_off, top, window.width, end - top) for top, end in halves]
    else:
        edge = window.col_off + place
        halves = [(window.col_off, edge), (edge, window.col_end)]
        pieces = [Window(left, window.row_off, end - left, window.height) for left, end in halves]
    return [part for piece in pieces for part in cut_up(draw, piece, depth - 1)]


@st.composite
def splits(draw) -> list[Window]:
    """Pieces in any order, some of which overlap their neighbors."""
    whole = Window(0, 0, WIDTH, HEIGHT)
    pieces = cut_up(draw, whole, draw(st.integers(1, 3)))
    grown = [piece.pad(draw(st.integers(0, 9))).intersection(whole) for piece in pieces]
    return draw(st.permutations([piece for piece in grown if piece is not None]))


def files(folder: Path, data: np.ndarray, pieces: list[Window], **profile: object) -> list[Path]:
    """A file for each piece, on the scene's lattice."""
    return [
        write_raster(
            folder / f"piece{number}.tif",
            data[(slice(None), *piece.slices)],
            transform=NORTH_UP @ Affine.translation(piece.col_off, piece.row_off),
            **({"nodata": 0} | profile),
        )
        for number, piece in enumerate(pieces)
    ]


def mosaic(paths: list[Path], **how: object):
    return open_scene(paths, ReadSettings(together="mosaic", **how))


@settings(max_examples=8)
@given(
    pieces=splits(),
    tiles=st.tuples(st.integers(20, 120), st.integers(20, 120)),
    blend=st.sampled_from(["trim", "taper"]),
    valid=st.sampled_from(["all", "any"]),
)
def test_any_cut_gives_the_map_of_the_whole(tmp_path_factory, pieces, tiles, blend, valid):
    """Class map, all scores, the seam number; whatever the tiles."""
    folder = tmp_path_factory.mktemp("cut")
    model = stencil_model(folder / "m.safetensors", 3)
    whole = open_scene([write_raster(folder / "whole.tif", image(), nodata=0)], ReadSettings(valid=valid))
    scene = mosaic(files(folder, image(), pieces), valid=valid)
    assert scene.grid == whole.grid
    expected = predicted(whole, model, tile=tiles[0], blend=blend)
    found = predicted(scene, model, tile=tiles[1], blend=blend)
    found.assert_equal(expected)
    assert found.tally.pixels == expected.tally.pixels
    assert (expected.index == model.spec.classes.no_index).any()


@settings(max_examples=12)
@given(pieces=splits(), left=st.integers(-30, 100), top=st.integers(-30, 90), side=st.integers(1, 60))
def test_any_window_of_any_cut_is_that_of_the_whole(tmp_path_factory, pieces, left, top, side):
    """Beyond the edges, too, where pixels are mirrored."""
    folder, window = tmp_path_factory.mktemp("window"), Window(left, top, side, side)
    whole = open_scene([write_raster(folder / "whole.tif", image(), nodata=0)])
    expected, found = whole.read(window), mosaic(files(folder, image(), pieces)).read(window)
    np.testing.assert_array_equal(found.valid, expected.valid)
    np.testing.assert_array_equal(found.present, expected.present)
    np.testing.assert_array_equal(np.where(found.present, found.data, 0), np.where(expected.present, expected.data, 0))


def of_one_file(scene, mosaic, window, look):
    """What a window holds when each chip is read from one file only."""
    largest = max(mosaic.under(window), key=lambda found: found[1].size)[0]
    return overlaid(scene, replace(mosaic, parts=(largest,)), window, look)


HALVES = [Window(0, 0, 57, HEIGHT), Window(57, 0, WIDTH - 57, HEIGHT)]


def test_mutation_chips_of_one_file_each_turn_it_red(tmp_path, monkeypatch):
    """Named mutation: a chip is read from the file in which most of it lies."""
    model = stencil_model(tmp_path / "m.safetensors", 3)
    whole = open_scene([write_raster(tmp_path / "whole.tif", image(), nodata=0)])
    paths, expected = files(tmp_path, image(), HALVES), predicted(whole, model)
    predicted(mosaic(paths), model).assert_equal(expected)
    monkeypatch.setattr(read, "overlaid", of_one_file)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        predicted(mosaic(paths), model).assert_equal(expected)


def test_files_that_store_the_same_reflectance_in_other_numbers(tmp_path):
    """As Sentinel-2 before and after processing baseline 04.00; a window then holds reflectance."""
    model = stencil_model(tmp_path / "m.safetensors", 3, unit="reflectance")
    plain = image().astype("uint16")
    later = np.where(plain > 0, plain + 1000, 0).astype("uint16")
    paths = []
    for piece, data, offset in zip(HALVES, (plain, later), (0.0, -1000 * 0.25), strict=True):
        paths += [path.rename(tmp_path / f"{offset}.tif") for path in files(tmp_path, data, [piece])]
        tag(paths[-1], 0.25, offset)
    whole = tag(write_raster(tmp_path / "whole.tif", plain, nodata=0), 0.25, 0.0)
    scene, expected = mosaic(paths), predicted(open_scene([whole]), model)
    assert (scene.dtype, scene.scale) == (np.float32, (1.0, 1.0))
    predicted(scene, model, tile=40).assert_equal(expected)


def tag(path: Path, scale: float, offset: float) -> Path:
    import rasterio

    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (scale,) * dataset.count, (offset,) * dataset.count
    return path


@pytest.mark.parametrize("zoom", [2.0, 1.3, 0.5])
def test_where_the_network_sees_other_pixels_only_the_seam_may_differ(tmp_path, zoom):
    """Each file is resampled alone, as at the edge of any raster: no gap, and the same for all tiles."""
    model = stencil_model(tmp_path / "m.safetensors", 3)
    whole = open_scene([write_raster(tmp_path / "whole.tif", image(), nodata=0)])
    scene, gsd = mosaic(files(tmp_path, image(), HALVES)), whole.grid.gsd_m * zoom
    found, other = (predicted(scene, model, tile=tile, gsd=gsd) for tile in (33, 200))
    found.assert_equal(other)
    grid = whole.grid.zoom(zoom)
    seen, expected = (each.on_grid(grid).read(grid.window) for each in (scene, whole))
    np.testing.assert_array_equal(seen.valid, expected.valid)
    seam = round(HALVES[0].col_end / zoom)
    far = np.abs(np.arange(grid.width) - seam) > 2
    # Virtual rasters of other origins: halves of a stored number, of which 1.3 makes many, may round another way.
    differ = np.abs(seen.data.astype(int) - expected.data)[:, expected.valid & far]
    assert differ.max() <= (zoom == 1.3)
