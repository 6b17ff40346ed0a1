"""Several dates of one place: whose bands are whose, and that each date stays what it is alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from builders import NORTH_UP, write_raster
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from geoseg.errors import InputError, UsageError
from geoseg.grid import Window
from geoseg.io import compose, dates
from geoseg.io.compose import open_scene
from geoseg.io.scene import Scene
from geoseg.settings import ReadSettings

DATES = ReadSettings(together="dates")
NAMES = ("red", "nir")


def image(seed: int, height: int = 20, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 4000, (2, height, width)).astype("uint16")


def shifted(col: int, row: int, pixel: float = 1.0) -> Affine:
    return NORTH_UP @ Affine.translation(col, row) @ Affine.scale(pixel)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three dates: on one grid, some pixels further, with pixels of 20 m."""
    folder = tmp_path_factory.mktemp("dates")
    places = [NORTH_UP, shifted(3, -2), shifted(0, 0, 2.0)]
    return [
        write_raster(folder / f"{n}.tif", image(n), names=NAMES, transform=place, nodata=0)
        for n, place in enumerate(places)
    ]


def assert_each_is_as_alone(scene: Scene, files: list[Path], window: Window) -> None:
    """Law: band X of the n-th date holds what that file alone gives on the scene's grid, and where."""
    for number, path in enumerate(files, start=1):
        alone = open_scene(path).on_grid(scene.grid)
        mine = scene.select([f"{name}@{number}" for name in NAMES])
        found, expected = mine.read(window), alone.read(window)
        np.testing.assert_array_equal(found.data, expected.data)
        np.testing.assert_array_equal(found.valid, expected.valid)


@settings(max_examples=15)
@given(
    order=st.permutations([0, 1, 2]),
    count=st.integers(2, 3),
    corner=st.tuples(st.integers(0, 15), st.integers(0, 15)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 5)),
)
def test_each_date_is_what_it_is_alone(files, order, count, corner, size) -> None:
    """Mutation: the second date takes the first one's files."""
    chosen = [files[n] for n in order[:count]]
    scene = open_scene(chosen, DATES)
    assert scene.names == tuple(f"{name}@{n}" for n in range(1, count + 1) for name in NAMES)
    assert scene.grid == open_scene(chosen[0]).grid
    assert_each_is_as_alone(scene, chosen, Window(*corner, *size))


def test_dates_that_are_mixed_up_turn_it_red(files, monkeypatch) -> None:
    joined = dates.joined
    monkeypatch.setattr(compose, "joined", lambda scenes: joined([scenes[0]] * len(scenes)))
    with pytest.raises(AssertionError):
        assert_each_is_as_alone(open_scene(files[:2], DATES), files[:2], Window(0, 0, 9, 9))


def test_a_pixel_counts_where_all_dates_have_it(files) -> None:
    valid = open_scene(files[:2], DATES).read(Window(0, 0, 24, 20)).valid
    expected = np.zeros((20, 24), bool)
    expected[:18, 3:] = True
    np.testing.assert_array_equal(valid, expected)


def test_bands_by_number_mean_each_date(tmp_path) -> None:
    paths = [write_raster(tmp_path / f"{n}.tif", image(n)) for n in range(2)]
    scene = open_scene(paths, replace(DATES, bands=("nir=2", "red=1"), scale=(0.0001,)))
    assert scene.names == ("nir@1", "red@1", "nir@2", "red@2")
    assert [Path(band.path).name for band in scene.bands] == ["0.tif", "0.tif", "1.tif", "1.tif"]
    assert (set(scene.scale), scene.radiometry) == ({0.0001}, "flags")


def test_the_long_form_is_the_same(files) -> None:
    """`--stack` with every band named by its file."""
    words = ("red@1=0.tif:1", "nir@1=0.tif:2", "red@2=1.tif:1", "nir@2=1.tif:2")
    long = open_scene(files[:2], ReadSettings(together="stack", bands=words))
    window = Window(0, 0, 24, 20)
    short = open_scene(files[:2], DATES)
    assert long.names == short.names
    np.testing.assert_array_equal(long.read(window).data, short.read(window).data)
    np.testing.assert_array_equal(long.read(window).valid, short.read(window).valid)


def test_each_date_is_told_and_the_span_of_all(tmp_path) -> None:
    paths = [write_raster(tmp_path / f"{n}.tif", image(n), names=NAMES) for n in range(2)]
    assert open_scene(paths, DATES).acquired is None
    asked = open_scene(paths, replace(DATES, datetime="2021-06-17/2021-09-25")).acquired
    assert asked is not None
    assert (asked.first, asked.last.day) == (datetime(2021, 6, 17, tzinfo=UTC), 25)
    notes = open_scene(files_with_times(tmp_path), DATES)
    assert notes.acquired is not None
    assert notes.acquired.text == "2021-06-17T00:00:00Z/2021-09-25T23:59:59Z"
    assert "date 1: red, nir" in notes.notes
    assert any(note.startswith("date 2: taken 2021-06-17") for note in notes.notes)


def files_with_times(folder: Path) -> list[Path]:
    import rasterio

    out = []
    for n, day in enumerate(("2021:09:25", "2021:06:17")):
        out.append(write_raster(folder / f"dated{n}.tif", image(n), names=NAMES))
        with rasterio.open(out[-1], "r+") as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=f"{day} 10:00:00")
    return out


def test_one_mask_for_all_dates_counts_once(files, tmp_path) -> None:
    mask = np.zeros((20, 24), "uint8")
    mask[4, 5] = 1
    layer = write_raster(tmp_path / "mask.tif", mask)
    scene = open_scene(files[:2], replace(DATES, mask=(f"{layer}:nonzero",)))
    assert len(scene.masks) == 1
    chip = scene.read(Window(0, 0, 24, 20))
    assert not chip.valid[4, 5]
    assert chip.valid[4, 6]


def test_what_cannot_be_dates_of_one_place(files, tmp_path) -> None:
    half = write_raster(tmp_path / "half.tif", image(1), names=NAMES, transform=NORTH_UP @ Affine.translation(0.5, 0))
    with pytest.raises(InputError, match=r"shifted by 0\.50 of a pixel"):
        open_scene([files[0], half], DATES)
    elsewhere = write_raster(tmp_path / "zone.tif", image(1), names=NAMES, crs="EPSG:32619")
    with pytest.raises(InputError, match="pass --grid"):
        open_scene([files[0], elsewhere], DATES)
    with pytest.raises(UsageError, match="--collar 0: dates end in different places; pass --nodata 0"):
        open_scene(files[:2], replace(DATES, collar="0"))


def test_a_grid_of_the_users_takes_dates_of_two_zones(files, tmp_path) -> None:
    x, y = Transformer.from_crs(32618, 32619).transform(500_000, 4_200_000)
    place = Affine(10, 0, x - 50, 0, -10, y + 50)
    elsewhere = write_raster(tmp_path / "zone.tif", image(1), names=NAMES, crs="EPSG:32619", transform=place)
    scene = open_scene([files[0], elsewhere], replace(DATES, grid=str(files[0])))
    assert scene.grid.same_as(open_scene(files[0]).grid)
    assert [band.warped for band in scene.bands] == [False, False, True, True]
    assert scene.read(Window(8, 8, 4, 4)).valid.all()
