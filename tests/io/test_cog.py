"""Class and score rasters: exact place, exact pixels, names and colors for GDAL, for QGIS and for renamed files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import CRS
from rio_cogeo import cog_validate

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import OutputError, PolicyError
from geoseg.grid import Grid, Window
from geoseg.io import cog
from geoseg.io.class_raster import open_class_raster, read_codes
from geoseg.io.cog import class_counts, write_class_cog, write_score_cog
from geoseg.io.spool import RasterSpool
from geoseg.io.spool_view import write_class_view

NORTH_UP = Affine(10, 0, 5e5, 0, -10, 4e6)
SCHEME = ClassScheme((LandClass(1, "Wasser & Öl <x>", (0, 0, 255)), LandClass(9, "森林", (1, 99, 3), True, "forest")))
WIDE = ClassScheme((LandClass(1, "one", (9, 8, 7)), LandClass(300, "three hundred", (255, 0, 1))))
ALBERS = "+proj=aea +lat_0=23 +lon_0=-96 +lat_1=29.5 +lat_2=45.5 +ellps=GRS80 +units=m"


def spool_of(folder: Path, codes: np.ndarray, crs: object = 32618, transform: Affine = NORTH_UP) -> RasterSpool:
    """An entered spool that holds `codes`; its file dies with tmp_path."""
    grid = Grid(CRS.from_user_input(crs), transform, codes.shape[1], codes.shape[0])
    spool = RasterSpool(folder / "spool", grid, codes.dtype, np.iinfo(codes.dtype).max).__enter__()
    spool.write(grid.window, codes)
    return spool


def noise(scheme: ClassScheme, height: int, width: int) -> np.ndarray:
    values = np.array([*scheme.codes, scheme.nodata], scheme.dtype)
    return np.random.default_rng(3).choice(values, (height, width))


@pytest.mark.parametrize(
    ("crs", "transform", "size"),
    [
        pytest.param(32618, NORTH_UP, (700, 1300), id="utm"),
        pytest.param(4326, Affine(9e-5, 0, 13.123456789, 0, -7.4e-5, -33.1), (513, 7), id="degrees"),
        pytest.param(32618, Affine(10, 0, 5e5, 0, 10, 4e6), (40, 50), id="south-up"),
        pytest.param(32618, Affine(9.7, 2.1, 5e5, 1.3, -10.2, 4e6), (40, 50), id="rotated"),
        pytest.param(ALBERS, Affine(30, 0, 1.6e6, 0, -30, 1.5e6), (40, 50), id="albers-without-code"),
        pytest.param("+proj=ob_tran +o_proj=longlat +o_lat_p=40 +lon_0=10", NORTH_UP, (4, 5), id="rotated-pole"),
        pytest.param(2264, Affine(1 / 3, 0, 2e6 + 1 / 7, 0, -1 / 3, 6e5), (3, 1), id="us-feet"),
        pytest.param(3857, NORTH_UP, (1, 1), id="one-pixel"),
    ],
)
@pytest.mark.parametrize("scheme", [SCHEME, WIDE], ids=["uint8", "uint16"])
def test_place_pixels_and_classes_survive(tmp_path, crs, transform, size, scheme) -> None:
    codes = noise(scheme, *size)
    spool = spool_of(tmp_path, codes, crs, transform)
    files = write_class_cog(spool, tmp_path / "a.classes.tif", scheme=scheme, tags={"GEOSEG_MODEL": "m 1"})
    assert [f.name for f in files] == ["a.classes.tif", "a.classes.tif.aux.xml", "a.classes.qml"]
    valid, errors, warned = cog_validate(files[0], strict=True)
    assert (valid, errors, warned) == (True, [], [])
    with rasterio.open(files[0]) as dataset:
        assert dataset.transform == transform
        assert CRS.from_wkt(dataset.crs.to_wkt(version="WKT2_2019")).equals(spool.grid.crs, ignore_axis_order=True)
        assert (dataset.nodata, dataset.dtypes) == (scheme.nodata, (scheme.dtype.name,))
        assert dataset.tags()["GEOSEG_MODEL"] == "m 1"
        assert dataset.tags()["TIFFTAG_SOFTWARE"].startswith("geoseg ")
        assert all(dataset.colormap(1)[c.code][:3] == c.color for c in scheme.classes)
        assert np.array_equal(dataset.read(1), codes)
    again = open_class_raster(files[0])
    assert again.scheme == scheme
    assert np.array_equal(read_codes(again), codes)
    expected = {code: int((codes == code).sum()) for code in scheme.codes}
    assert class_counts(spool, scheme) == class_counts(again, scheme) == expected


def test_a_renamed_file_keeps_its_classes(tmp_path) -> None:
    spool = spool_of(tmp_path, noise(SCHEME, 20, 20))
    written = write_class_cog(spool, tmp_path / "a.tif", scheme=SCHEME, tags={})[0]
    (tmp_path / "elsewhere").mkdir()
    alone = shutil.copy(written, tmp_path / "elsewhere" / "renamed.tif")
    assert open_class_raster(Path(alone)).scheme == SCHEME


def test_style_and_sidecar_name_the_classes(tmp_path) -> None:
    spool = spool_of(tmp_path, noise(SCHEME, 20, 20))
    _, names, style = write_class_cog(spool, tmp_path / "a.tif", scheme=SCHEME, tags={})
    entries = fromstring(style.read_bytes()).iter("paletteEntry")  # noqa: S314 (we wrote it)
    assert {(e.get("value"), e.get("label")) for e in entries} >= {("1", "Wasser & Öl <x>"), ("9", "森林")}
    sidecar = fromstring(names.read_bytes())  # noqa: S314 (GDAL wrote it)
    listed = [e.text or "" for e in sidecar.iter("Category")]
    assert {code: name for code, name in enumerate(listed) if name} == {1: "Wasser & Öl <x>", 9: "森林"}
    rows = [[f.text for f in row] for row in sidecar.iter("Row")]
    assert rows == [["1", "Wasser & Öl <x>", "0", "0", "255", None], ["9", "森林", "1", "99", "3", "forest"]]


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="gdalinfo is not installed")
def test_another_gdal_shows_palette_names_and_table(tmp_path) -> None:
    spool = spool_of(tmp_path, noise(SCHEME, 600, 20))
    written = write_class_cog(spool, tmp_path / "a.tif", scheme=SCHEME, tags={})[0]
    told = json.loads(subprocess.check_output(["gdalinfo", "-json", written]))
    band = told["bands"][0]
    assert band["colorInterpretation"] == "Palette"
    assert band["colorTable"]["entries"][9] == [1, 99, 3, 255]
    assert band["noDataValue"] == 255
    text = subprocess.check_output(["gdalinfo", written], text=True)
    assert "9: 森林" in text
    assert "<Name>Class_Name</Name>" in text


def test_overviews_show_the_most_frequent_class_and_invent_none(tmp_path) -> None:
    """Mutations that turn it red: `Resampling.average` (it mixes colors), `nearest`."""
    grays = {1: 0, 5: 50, 6: 150, 9: 200}  # 5 and 6 look like a mix of three 1 and one 9, and the other way round
    scheme = ClassScheme(tuple(LandClass(code, str(code), (g, g, g)) for code, g in grays.items()))
    most = np.where(np.random.default_rng(0).random((512, 512)) < 0.5, 1, 9).astype(np.uint8)
    codes = most.repeat(2, axis=0).repeat(2, axis=1)
    codes[::2, ::2] = 10 - most  # one pixel in four is of the other class
    written = write_class_cog(spool_of(tmp_path, codes), tmp_path / "a.tif", scheme=scheme, tags={})[0]
    with rasterio.open(written, OVERVIEW_LEVEL=0) as dataset:
        assert np.array_equal(dataset.read(1), most)


@pytest.mark.parametrize("shape", [(1, 1), (512, 512), (512, 513), (1024, 64), (1025, 64), (1600, 1600), (64, 4097)])
def test_overviews_are_those_of_the_driver(tmp_path, shape) -> None:
    """It would make the same levels, and where sides can be halved the same pixels."""
    spool, view = spool_of(tmp_path, noise(SCHEME, *shape)), tmp_path / "spool.vrt"
    ours, theirs = write_class_cog(spool, tmp_path / "a.tif", scheme=SCHEME, tags={})[0], tmp_path / "b.tif"
    write_class_view(spool, view, scheme=SCHEME, tags={})
    rasterio.shutil.copy(view, theirs, driver="COG", OVERVIEW_RESAMPLING="MODE", BLOCKSIZE="512")
    with rasterio.open(ours) as one, rasterio.open(theirs) as other:
        levels = one.overviews(1)
        assert levels == other.overviews(1) == cog.overview_factors(max(shape))
    for level, factor in enumerate(levels):
        with rasterio.open(ours, OVERVIEW_LEVEL=level) as one, rasterio.open(theirs, OVERVIEW_LEVEL=level) as other:
            if not any(side % factor for side in shape):
                np.testing.assert_array_equal(one.read(1), other.read(1))


def test_a_view_is_the_class_raster_before_it_stands(tmp_path) -> None:
    codes = noise(SCHEME, 30, 40)
    spool = spool_of(tmp_path, codes)
    view = write_class_view(spool, tmp_path / "a.classes.vrt", scheme=SCHEME, tags={"GEOSEG_MODEL": "m 1"})
    written = write_class_cog(spool, tmp_path / "a.classes.tif", scheme=SCHEME, tags={"GEOSEG_MODEL": "m 1"})[0]
    seen, stands = (open_class_raster(path, occurring=SCHEME.codes) for path in (view, written))
    for facts in (seen, stands):
        np.testing.assert_array_equal(read_codes(facts), codes)
    assert (seen.grid, seen.scheme, seen.dtype) == (stands.grid, stands.scheme, stands.dtype)
    assert {key: text for key, text in stands.tags.items() if key in seen.tags} == seen.tags
    with pytest.raises(PolicyError, match="raw bytes"):  # of strangers' files none is trusted
        open_class_raster(view)


@pytest.mark.parametrize(
    "said",
    [
        {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"},
        {"COMPRESS_OVERVIEW": "JPEG"},
        {"COMPRESS_OVERVIEW": "LERC"},
        {"USE_RRD": "YES"},
    ],
    ids=lambda said: next(iter(said.items())),
)
def test_the_users_settings_of_gdal_change_no_overview(tmp_path, said) -> None:
    """Mutation: without `_PLAIN_OVERVIEWS` they are lost, damaged or left behind."""
    files = {}
    for name, settings in (("plain", {}), ("said", said)):
        folder = tmp_path / name
        folder.mkdir()
        with rasterio.Env(**settings), spool_of(folder, noise(SCHEME, 700, 1300)) as spool:
            write_class_cog(spool, folder / "a.tif", scheme=SCHEME, tags={})
        files[name] = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files["said"] == files["plain"]


@pytest.mark.parametrize("crs", ["OGC:CRS84", "OGC:CRS27", "ESRI:102100", 32618, ALBERS], ids=str)
def test_polygons_and_class_raster_have_one_crs(tmp_path, crs) -> None:
    """Polygons take it from the view. Mutation: the view says it in the scene's words."""
    spool = spool_of(tmp_path, noise(SCHEME, 3, 4), crs, Affine(1, 0, 9, 0, -1, 9))
    found = cog.crs_in_geotiff(spool.grid.crs, tmp_path / "a.tif")
    view = write_class_view(spool, tmp_path / "a.vrt", scheme=SCHEME, tags={}, crs=found)
    written = write_class_cog(spool, tmp_path / "a.tif", scheme=SCHEME, tags={})[0]
    seen, stands = (open_class_raster(path, occurring=SCHEME.codes).grid.crs for path in (view, written))
    assert (seen.to_wkt(), seen.to_authority()) == (stands.to_wkt(), stands.to_authority())


def test_a_crs_that_no_geotiff_holds_is_refused_before_the_work(tmp_path) -> None:
    with pytest.raises(OutputError, match="cannot"):
        cog.crs_in_geotiff(CRS(7415), tmp_path / "a.tif")


def test_score_overviews_average_valid_pixels(tmp_path) -> None:
    scores = np.tile(np.array([[100, 200], [0, 0]], np.uint8), (512, 512))
    (written,) = write_score_cog(
        spool_of(tmp_path, scores), tmp_path / "c.tif", bands=["confidence"], tags={"GEOSEG_MODEL": "m"}
    )
    assert cog_validate(written, strict=True) == (True, [], [])
    with rasterio.open(written) as dataset:
        assert (dataset.nodata, dataset.scales, dataset.offsets) == (0, (1 / 255,), (0,))
        assert np.array_equal(dataset.read(1), scores)
    with rasterio.open(written, OVERVIEW_LEVEL=0) as dataset:
        assert (dataset.read(1) == 150).all()


def test_a_raster_that_reads_back_differently_is_refused(tmp_path, monkeypatch) -> None:
    """Mutation: without the comparison the damaged file would be published."""
    codes = noise(SCHEME, 30, 30)
    spool = spool_of(tmp_path, codes)
    real = cog.rasterio.shutil.copy

    def damaged(*args: object, **options: object) -> None:
        corner = Window(29, 29, 1, 1)
        right = spool.read(corner)
        spool.write(corner, np.full((1, 1), 7, np.uint8))
        real(*args, **options)
        spool.write(corner, right)

    monkeypatch.setattr(cog.rasterio.shutil, "copy", damaged)
    with pytest.raises(OutputError, match="reads back with other pixels"):
        write_class_cog(spool, tmp_path / "a.tif", scheme=SCHEME, tags={})


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize(
    ("share", "name"), [(0.02, "spool.vrt"), (0.2, "a.tif"), (0.3, "a.tif"), (0.5, "a.tif"), (1.02, "a.tif")]
)
def test_a_disk_that_fills_while_the_cog_is_written_is_an_output_error(tmp_path, share, name) -> None:
    """Several threads on a full disk raise nothing by themselves (noise does not compress, so the COG is larger)."""
    script = f"""
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_cog import *
scheme = ClassScheme(tuple(LandClass(c, str(c), (c, c, c)) for c in range(255)))
spool = spool_of(Path({str(tmp_path)!r}), np.random.default_rng(0).integers(0, 255, (1500, 1500), np.uint8))
resource.setrlimit(resource.RLIMIT_FSIZE, (int({share} * spool.size_bytes),) * 2)
try:
    write_class_cog(spool, Path({str(tmp_path / "a.tif")!r}), scheme=scheme, tags={{}})
except OutputError as error:
    print("refused:", error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.startswith("refused:")
    assert str(tmp_path / name) in told


def scores_of(folder: Path, scores: np.ndarray) -> RasterSpool:
    """An entered spool of several bands, (band, row, col), written in four pieces."""
    grid = Grid(CRS(32618), NORTH_UP, scores.shape[2], scores.shape[1])
    spool = RasterSpool(folder / "spool", grid, "uint8", 0, bands=len(scores)).__enter__()
    for window in grid.window.split(max(grid.shape) // 2 + 1):
        rows, cols = window.slices
        spool.write(window, scores[:, rows, cols])
    return spool


def test_a_band_a_class(tmp_path) -> None:
    scores = np.random.default_rng(0).integers(1, 256, (5, 700, 1300)).astype(np.uint8)
    scores[:, :100] = 0
    names = ["water", "trees & shrub", "森林", "d", "e"]
    files = write_score_cog(scores_of(tmp_path, scores), tmp_path / "p.tif", bands=names, tags={"GEOSEG_MODEL": "m"})
    assert [path.name for path in files] == ["p.tif"]
    assert {path.name for path in tmp_path.iterdir()} == {"p.tif", "spool"}
    assert cog_validate(files[0], strict=True) == (True, [], [])
    with rasterio.open(files[0]) as dataset:
        assert dataset.descriptions == tuple(names)
        assert dataset.nodatavals == (0,) * 5
        assert dataset.scales == (1 / 255,) * 5
        assert dataset.tags()["GEOSEG_MODEL"] == "m"
        assert np.array_equal(dataset.read(), scores)
        levels = dataset.overviews(1)
    assert levels
    with rasterio.open(files[0], OVERVIEW_LEVEL=0) as small:
        assert small.read(3)[60:].mean() == pytest.approx(scores[2, 120:].mean(), abs=0.5)
        assert (small.read(3)[:50] == 0).all()


def test_a_damaged_band_is_refused(tmp_path, monkeypatch) -> None:
    """Mutation: comparing the first band only."""
    spool = scores_of(tmp_path, np.full((3, 20, 20), 9, np.uint8))
    original = RasterSpool.read
    monkeypatch.setattr(
        RasterSpool, "read", lambda self, window, band=0: original(self, window, band) + np.uint8(band == 2)
    )
    with pytest.raises(OutputError, match="reads back with other pixels"):
        write_score_cog(spool, tmp_path / "p.tif", bands=["a", "b", "c"], tags={})
