"""Which band is which: every form of a request, and every way in which it can be ambiguous."""

import numpy as np
import pytest
import rasterio
from builders import write_raster
from rasterio.enums import ColorInterp

from geoseg.errors import ConfigError, InputError, UsageError
from geoseg.io.bands import resolve_bands
from geoseg.io.compose import open_scene
from geoseg.io.raster import describe
from geoseg.settings import ReadSettings


@pytest.fixture
def files(tmp_path):
    """a.tif with B02 and an unnamed band, b.tif with one unnamed band, other/b.tif of the same name."""
    (tmp_path / "other").mkdir()
    two, one = np.zeros((2, 3, 3), "uint8"), np.zeros((3, 3), "uint8")
    paths = [
        write_raster(tmp_path / "a.tif", two, names=["B02", ""]),
        write_raster(tmp_path / "b.tif", one),
        write_raster(tmp_path / "other" / "b.tif", one, names=["SCL"]),
    ]
    return [describe(str(path)) for path in paths]


def places(files, *requests):
    """Name → (position of the file among the inputs, band number)."""
    return {name: (files.index(file), index) for name, (file, index) in resolve_bands(files, requests).items()}


def test_without_requests_bands_have_their_own_names(files):
    assert places(files[:1]) == {"b02": (0, 1), "b2": (0, 2)}
    assert places(files[:2]) == {"b02": (0, 1), "a:b2": (0, 2), "b:b1": (1, 1)}


def test_every_form_of_a_request(files):
    found = places(files[:2], "nir=2", "blue=B02", "also=b02", "swir=b.tif", "same=b.tif:1", f"path={files[1].path}")
    assert found == {"nir": (0, 2), "blue": (0, 1), "also": (0, 1), "swir": (1, 1), "same": (1, 1), "path": (1, 1)}
    assert list(found)[:2] == ["nir", "blue"]


def test_spaces_do_not_matter(files):
    assert places(files[:1], " nir = 2 ") == {"nir": (0, 2)}


def test_a_whole_path_tells_files_of_one_name_apart(files):
    assert places(files, f"x={files[2].path}:1", f"y={files[1].path}") == {"x": (2, 1), "y": (1, 1)}


def test_alpha_is_no_band(tmp_path):
    colors = [ColorInterp.red, ColorInterp.alpha]
    path = write_raster(tmp_path / "alpha.tif", np.zeros((2, 3, 3), "uint8"))
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = colors
    file = describe(str(path))
    assert list(resolve_bands([file], [])) == ["b1"]
    with pytest.raises(InputError, match=r"'x=2': alpha\.tif has bands 1…1; band 2 is marked as alpha"):
        resolve_bands([file], ["x=2"])


@pytest.mark.parametrize(
    ("requests", "error", "message"),
    [
        (["red"], UsageError, "'red' is not NAME=NUMBER"),
        (["=1"], UsageError, "'=1' is not"),
        (["red="], UsageError, "'red=' is not"),
        (["red=0"], InputError, "a.tif has bands 1…2"),
        (["red=3"], InputError, "a.tif has bands 1…2"),
        (["red=a.tif:3"], InputError, "a.tif has bands 1…2"),
        (["red=a.tif"], UsageError, "a.tif has 2 bands; write red=a.tif:NUMBER"),
        (["red=b.tif"], UsageError, "2 inputs are called b.tif; write the whole path"),
        (["red=B99"], InputError, "no band description is 'B99'; described bands: B02, SCL"),
        (["red=c.tif:1"], InputError, "is 'c.tif:1'"),
        (["x=1", "x=2"], ConfigError, "'x' occurs twice: band 1 of a.tif and band 2 of a.tif"),
    ],
)
def test_requests_that_cannot_be_met(files, requests, error, message):
    with pytest.raises(error) as caught:
        resolve_bands(files, requests)
    assert message in str(caught.value)


def test_a_description_that_two_bands_share(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.zeros((2, 3, 3), "uint8"), names=["B02", "b02"])
    files = [describe(str(path))]
    with pytest.raises(ConfigError, match="2 bands are described as 'B02'; write FILE:NUMBER"):
        resolve_bands(files, ["blue=B02"])
    with pytest.raises(ConfigError, match=r"'b02' occurs twice: band 1 of a.tif and band 2 .* --bands b02=…"):
        resolve_bands(files, [])


def test_usual_names_are_taken_for_the_common_ones(tmp_path):
    names = ["SWIR1", "nir08", "rededge2", "red"]
    path = write_raster(tmp_path / "a.tif", np.zeros((4, 3, 3), "uint16"), names=names)
    scene = open_scene([path])
    assert [(band.name, band.index) for band in scene.bands] == [
        ("swir16", 1),
        ("nir", 2),
        ("rededge075", 3),
        ("red", 4),
    ]
    assert scene.notes == ("SWIR1 taken for swir16", "nir08 taken for nir", "rededge2 taken for rededge075")


def test_an_alias_gives_way_to_the_name_itself_and_to_the_users_word(tmp_path):
    path = write_raster(tmp_path / "a.tif", np.zeros((3, 3, 3), "uint8"), names=["nir08", "nir", "swir2"])
    assert places([describe(str(path))]) == {"nir08": (0, 1), "nir": (0, 2), "swir22": (0, 3)}
    scene = open_scene([path], ReadSettings(bands=("swir2=swir2", "nir=nir08")))
    assert ([band.name for band in scene.bands], scene.notes) == (["swir2", "nir"], ())
