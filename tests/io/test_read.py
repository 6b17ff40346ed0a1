"""Windows of a scene: position, mirrored edges, validity."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from builders import NORTH_UP, UTM, position_image, write_raster
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import ConfigError, InputError, UsageError
from geoseg.grid import Window
from geoseg.io.compose import open_scene
from geoseg.io.read import read_chip
from geoseg.settings import ReadSettings


@pytest.fixture(scope="module")
def positions(tmp_path_factory):
    path = write_raster(
        tmp_path_factory.mktemp("read") / "p.tif", position_image(23, 31), tiled=True, blockxsize=16, blockysize=16
    )
    return open_scene([path])


@given(col=st.integers(-40, 60), row=st.integers(-40, 60), width=st.integers(1, 90), height=st.integers(1, 90))
def test_windows_decode_to_their_own_position_mirrored_like_numpy(positions, col, row, width, height):
    chip = read_chip(positions, Window(col, row, width, height))
    padded = np.pad(position_image(23, 31), [(0, 0), (150, 150), (150, 150)], mode="reflect")
    np.testing.assert_array_equal(chip.data, padded[:, row + 150 : row + 150 + height, col + 150 : col + 150 + width])
    rows, cols = np.mgrid[row : row + height, col : col + width]
    np.testing.assert_array_equal(chip.valid, (rows >= 0) & (rows < 23) & (cols >= 0) & (cols < 31))
    assert chip.present.all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 2)])
def test_rasters_of_one_pixel_mirror_too(tmp_path, shape):
    scene = open_scene([write_raster(tmp_path / "one.tif", position_image(*shape))])
    chip = read_chip(scene, Window(-3, -3, 9, 9))
    np.testing.assert_array_equal(
        chip.data, np.pad(position_image(*shape), [(0, 0), (3, 6 - shape[0]), (3, 6 - shape[1])], mode="reflect")
    )
    assert chip.valid.sum() == shape[0] * shape[1]


def scene_of(tmp_path, data, settings=None, **profile):
    return open_scene([write_raster(tmp_path / "v.tif", data, **profile)], settings or ReadSettings())


def valid_of(scene):
    return read_chip(scene, scene.grid.window).valid


def test_nodata_tag(tmp_path):
    data = np.array([[[0, 1], [2, 3]], [[5, 0], [6, 7]]], "uint16")
    np.testing.assert_array_equal(valid_of(scene_of(tmp_path, data, nodata=0)), [[False, False], [True, True]])


def test_any_band_suffices_when_asked(tmp_path):
    data = np.array([[[0, 1], [2, 0]], [[5, 0], [6, 0]]], "uint16")
    scene = scene_of(tmp_path, data, ReadSettings(valid="any"), nodata=0)
    np.testing.assert_array_equal(valid_of(scene), [[True, True], [True, False]])


def test_flag_replaces_the_tag_and_none_switches_it_off(tmp_path):
    data = np.array([[0, 9], [2, 3]], "uint16")
    np.testing.assert_array_equal(
        valid_of(scene_of(tmp_path, data, ReadSettings(nodata="9"), nodata=0)), [[True, False], [True, True]]
    )
    assert valid_of(scene_of(tmp_path, data, ReadSettings(nodata="none"), nodata=0)).all()


@pytest.mark.parametrize("nodata", [None, "nan", -3.4028234663852886e38])
def test_nan_infinity_and_float_nodata(tmp_path, nodata):
    data = np.array([[np.nan, np.inf, -np.inf], [1.0, -3.4028234663852886e38, 2.0]], "float32")
    profile = {} if nodata is None else {"nodata": float(nodata)}
    expected = [[False] * 3, [True, nodata is None or nodata == "nan", True]]
    np.testing.assert_array_equal(valid_of(scene_of(tmp_path, data, **profile)), expected)


def test_alpha_band_is_no_image_and_masks(tmp_path):
    data = np.array([[[1, 2]], [[3, 4]], [[5, 6]], [[255, 0]]], "uint8")
    scene = scene_of(tmp_path, data, photometric="RGB", alpha="yes")
    assert len(scene.bands) == 3
    np.testing.assert_array_equal(valid_of(scene), [[True, False]])


@pytest.mark.parametrize("internal", [True, False])
def test_mask_band_wins_over_the_nodata_tag(tmp_path, internal):
    path = tmp_path / "m.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        write_raster(path, np.array([[0, 1, 2]], "uint8"), nodata=0)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(np.array([[255, 255, 0]], "uint8"))
    assert path.with_suffix(".tif.msk").exists() != internal
    np.testing.assert_array_equal(valid_of(open_scene([path])), [[True, True, False]])


def test_collar_needs_every_band_and_is_found_along_the_border(tmp_path):
    data = np.full((2, 40, 40), 7, "uint8")
    data[0, 5:-5, 5:-5] = np.arange(900).reshape(30, 30) % 200
    data[:, :5] = 255
    data[0, 20, 20] = 255
    scene = scene_of(tmp_path, data, ReadSettings(collar="auto"))
    assert scene.collar == 7
    fixed = scene_of(tmp_path, data, ReadSettings(collar="255"))
    assert not valid_of(fixed)[:5].any()
    assert valid_of(fixed)[5:].all()


def test_bands_by_number_description_and_file(tmp_path):
    a = write_raster(tmp_path / "a.tif", np.stack([np.full((2, 2), i, "uint8") for i in (1, 2)]), names=["B02", "B03"])
    b = write_raster(tmp_path / "b.tif", np.full((2, 2), 9, "uint8"))
    scene = open_scene([a, b], ReadSettings(bands=("x=2", "y=b02", "z=b.tif", f"w={a}:1")))
    assert scene.names == ("x", "y", "z", "w")
    assert read_chip(scene, scene.grid.window).data[:, 0, 0].tolist() == [2, 1, 9, 1]


@pytest.mark.parametrize(
    ("request_", "error", "words"),
    [
        ("red", UsageError, "NAME=NUMBER"),
        ("red=3", InputError, "bands 1…2"),
        ("red=B99", InputError, "described bands: B02, B03"),
        ("red=a.tif", UsageError, "has 2 bands; write red=a.tif:NUMBER"),
    ],
)
def test_band_requests_that_fail_say_what_is_there(tmp_path, request_, error, words):
    a = write_raster(tmp_path / "a.tif", np.zeros((2, 2, 2), "uint8"), names=["B02", "B03"])
    with pytest.raises(error, match=words):
        open_scene([a], ReadSettings(bands=(request_,)))


def test_same_name_twice_is_an_error(tmp_path):
    a = write_raster(tmp_path / "a.tif", np.zeros((2, 2, 2), "uint8"), names=["red", "Red"])
    with pytest.raises(ConfigError, match="'red' occurs twice"):
        open_scene([a])


def test_stack_brings_coarse_bands_onto_the_fine_grid(tmp_path):
    """20 m pixels that start one fine pixel west and north; a plane in x stays that plane under bilinear."""
    fine = write_raster(tmp_path / "fine.tif", np.zeros((40, 40), "float32"))
    place = NORTH_UP @ Affine.translation(-1, -1) @ Affine.scale(2)
    centres = np.arange(25) * 2 + 1 - 1  # in fine pixel coordinates
    coarse = write_raster(tmp_path / "coarse.tif", np.tile(centres, (25, 1)).astype("float32"), transform=place)
    scene = open_scene([fine, coarse], ReadSettings(bands=("a=fine.tif", "b=coarse.tif")))
    chip = read_chip(scene, Window(5, 5, 20, 20))
    np.testing.assert_allclose(chip.data[1], np.tile(np.arange(5, 25) + 0.5, (20, 1)), atol=1e-4)
    assert any("coarse.tif (20 m) resampled bilinearly" in note for note in scene.remarks)


def test_warped_windows_do_not_depend_on_the_window(tmp_path):
    rng = np.random.default_rng(0)
    fine = write_raster(tmp_path / "fine.tif", np.zeros((60, 60), "uint16"))
    coarse = write_raster(
        tmp_path / "coarse.tif",
        rng.integers(0, 4000, (31, 31)).astype("uint16"),
        transform=NORTH_UP @ Affine.translation(-1, -1) @ Affine.scale(2),
    )
    scene = open_scene([fine, coarse], ReadSettings(bands=("a=fine.tif", "b=coarse.tif")))
    whole = read_chip(scene, scene.grid.window)
    for window in scene.grid.window.split(17):
        np.testing.assert_array_equal(read_chip(scene, window).data, whole.data[:, *window.slices])


def test_stack_marks_what_the_other_file_does_not_cover(tmp_path):
    fine = write_raster(tmp_path / "fine.tif", np.ones((40, 40), "uint16"))
    part = write_raster(tmp_path / "part.tif", np.ones((10, 10), "uint16"), transform=NORTH_UP @ Affine.scale(2))
    scene = open_scene([fine, part], ReadSettings(bands=("a=fine.tif", "b=part.tif")))
    valid = valid_of(scene)
    assert valid[:20, :20].all()
    assert not valid[21:].any()
    assert not valid[:, 21:].any()


def test_stack_refuses_half_pixel_shifts_and_other_crs(tmp_path):
    a = write_raster(tmp_path / "a.tif", np.ones((4, 4), "uint8"))
    b = write_raster(tmp_path / "b.tif", np.ones((4, 4), "uint8"), transform=NORTH_UP @ Affine.translation(0.5, 0))
    with pytest.raises(InputError, match=r"shifted by 0\.50 of a pixel"):
        open_scene([a, b])
    c = write_raster(tmp_path / "c.tif", np.ones((4, 4), "uint8"), crs="EPSG:32617")
    with pytest.raises(InputError, match="need one CRS"):
        open_scene([a, c])


def test_radiometry_flags_before_tags(tmp_path):
    path = write_raster(tmp_path / "r.tif", np.ones((2, 4, 4), "uint16"))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (0.5, 0.25)
        dataset.offsets = (1.0, 2.0)
    tagged = open_scene([path])
    assert (tagged.scale, tagged.offset, tagged.radiometry) == ((0.5, 0.25), (1.0, 2.0), "file")
    flagged = open_scene([path], ReadSettings(scale=(0.1,)))
    assert (flagged.scale, flagged.offset, flagged.radiometry) == ((0.1, 0.1), (0.0, 0.0), "flags")
    with pytest.raises(UsageError, match="3 values for 2 bands"):
        open_scene([path], ReadSettings(scale=(1.0, 2.0, 3.0)))


def test_dask_array_is_lazy_and_equal(tmp_path):
    data = position_image(50, 70)
    data[:, 3, 4] = 0
    path = write_raster(tmp_path / "d.tif", data, nodata=0)
    lazy = open_scene([path], ReadSettings(scale=(0.5,))).to_dask(chunk=32)
    path_was_read = lazy.compute(scheduler="sync")
    assert lazy.shape == (2, 50, 70)
    expected = data.astype("float32") * 0.5
    expected[:, (data == 0).any(axis=0)] = np.nan
    np.testing.assert_array_equal(path_was_read, expected)


def test_crs_of_the_users_word(tmp_path):
    path = write_raster(tmp_path / "n.tif", np.ones((3, 3), "uint8"), crs=None)
    with pytest.raises(InputError, match="--assume-crs"):
        open_scene([path])
    scene = open_scene([path], ReadSettings(assume_crs=UTM))
    assert scene.grid.crs.to_epsg() == 32618
    with pytest.raises(InputError, match="not a CRS"):
        open_scene([path], ReadSettings(assume_crs="EPSG:nowhere"))
