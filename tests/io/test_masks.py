from __future__ import annotations

import pickle
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from builders import NORTH_UP, UTM, write_raster
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import CRS
from rasterio.warp import Resampling, reproject
from scipy.ndimage import binary_dilation
from shapely import Point, Polygon, box

from geoseg.errors import InputError, InputMissingError, UsageError
from geoseg.grid import Grid, Window
from geoseg.io.buffer import MAX_PX, Disc, disc, grow
from geoseg.io.masks import MaskSource, masked, open_mask
from geoseg.quality import DEFAULT_REASONS, REASONS, MaskRequest, code_of

CLOUD, SHADOW, CIRRUS, SNOW, UNUSABLE = (code_of(reason) for reason in REASONS)
SCL_CODES = np.array([UNUSABLE, UNUSABLE, 0, SHADOW, 0, 0, 0, 0, CLOUD, CLOUD, CIRRUS, SNOW])


def utm_grid(height: int, width: int, transform: Affine = NORTH_UP) -> Grid:
    return Grid(CRS.from_user_input(UTM), transform, width, height)


def codes_in(path: Path, rule: str | None, grid: Grid, reasons: tuple[str, ...] = REASONS) -> np.ndarray:
    return masked([open_mask(MaskRequest(str(path), rule, reasons), grid)], grid, grid.window)


def random_scl(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 12, (height, width)).astype(np.uint8)


def write_polygons(path: Path, *shapes: Polygon, crs: str = UTM) -> Path:
    gpd.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(path)
    return path


def spot(grid: Grid, col: float, row: float) -> tuple[float, float]:
    x, y = grid.transform @ (col, row)
    return x, y


# --- reading ---------------------------------------------------------------------------------------------------


def test_on_its_own_grid_the_stored_numbers_count(tmp_path: Path) -> None:
    scl = random_scl(6, 9)
    path = write_raster(tmp_path / "scl.tif", scl)
    source = open_mask(MaskRequest(str(path), "s2-scl", REASONS), utm_grid(6, 9))
    assert np.array_equal(masked([source], utm_grid(6, 9), Window(0, 0, 9, 6)), SCL_CODES[scl])
    assert np.array_equal(masked([source], utm_grid(6, 9), Window(3, 1, 4, 5)), SCL_CODES[scl][1:6, 3:7])
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301, our own bytes


def test_hand_drawn_at_half_the_pixel_size_and_beyond_the_layer(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "scl.tif", np.array([[8, 4], [4, 3]], np.uint8))
    grid = utm_grid(5, 5, NORTH_UP @ Affine.scale(0.5))
    expected = [
        [CLOUD, CLOUD, 0, 0, UNUSABLE],
        [CLOUD, CLOUD, 0, 0, UNUSABLE],
        [0, 0, SHADOW, SHADOW, UNUSABLE],
        [0, 0, SHADOW, SHADOW, UNUSABLE],
        [UNUSABLE] * 5,
    ]
    assert codes_in(path, "s2-scl", grid).tolist() == expected
    without = np.where(np.array(expected) == UNUSABLE, 0, expected)
    assert codes_in(path, "s2-scl", grid, ("cloud", "shadow")).tolist() == without.tolist()


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, Affine(7.3, 0, 500_013.1, 0, -7.3, 4_199_991.7)),
        (UTM, NORTH_UP @ Affine.translation(12, 10) @ Affine.rotation(20) @ Affine.scale(0.8)),
        ("EPSG:3857", Affine(12.1, 0, -8_348_920.0, 0, -12.1, 4_571_900.0)),
    ],
)
def test_another_grid_equals_reproject_by_nearest_neighbor(tmp_path: Path, crs: str, transform: Affine) -> None:
    scl = random_scl(60, 70)
    path = write_raster(tmp_path / "scl.tif", scl)
    grid = Grid(CRS.from_user_input(crs), transform, 110, 90)
    oracle = np.full(grid.shape, 255, np.uint8)
    reproject(
        scl,
        oracle,
        src_transform=NORTH_UP,
        src_crs=UTM,
        dst_transform=transform,
        dst_crs=crs,
        dst_nodata=255,
        resampling=Resampling.nearest,
        tolerance=1e-6,
    )
    expected = np.where(oracle == 255, UNUSABLE, SCL_CODES[np.minimum(oracle, 11)])
    assert (oracle == 255).any()
    assert (oracle != 255).mean() > 0.3
    assert np.array_equal(codes_in(path, "s2-scl", grid), expected)


@pytest.mark.parametrize("tag", [None, 0, 1])
def test_a_nodata_tag_changes_nothing(tmp_path: Path, tag: int | None) -> None:
    drawn = np.eye(4, dtype=np.uint8)
    path = write_raster(tmp_path / "m.tif", drawn, nodata=tag)
    assert np.array_equal(codes_in(path, "nonzero", utm_grid(4, 4)) > 0, drawn > 0)
    finer = utm_grid(8, 8, NORTH_UP @ Affine.scale(0.5))
    assert np.array_equal(codes_in(path, "nonzero", finer) > 0, np.kron(drawn, np.ones((2, 2))) > 0)


def test_the_files_own_mask_tells_where_it_reaches(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "m.tif", np.full((4, 4), 4, np.uint8))
    reach = np.full((4, 4), 255, np.uint8)
    reach[:, 0] = 0
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(reach)
    expected = np.where(reach == 0, UNUSABLE, 0)
    assert np.array_equal(codes_in(path, "s2-scl", utm_grid(4, 4)), expected)
    finer = utm_grid(8, 8, NORTH_UP @ Affine.scale(0.5))
    assert np.array_equal(codes_in(path, "s2-scl", finer), np.kron(expected, np.ones((2, 2))))


def test_several_layers_and_bands(tmp_path: Path) -> None:
    classi = np.zeros((3, 4, 4), np.uint8)
    classi[0, 0], classi[1, :, 0], classi[2, 3] = 1, 1, 1
    classes = write_raster(tmp_path / "classi.tif", classi)
    broken = write_raster(tmp_path / "bad.tif", np.diag([7, 0, 7, 0]).astype(np.int16))
    grid = utm_grid(4, 4)
    layers = [
        open_mask(MaskRequest(str(classes), "s2-classi", REASONS), grid),
        open_mask(MaskRequest(str(broken), "values=7", REASONS), grid),
    ]
    expected = [
        [UNUSABLE, CLOUD, CLOUD, CLOUD],
        [CIRRUS, 0, 0, 0],
        [CIRRUS, 0, UNUSABLE, 0],
        [CIRRUS, SNOW, SNOW, SNOW],
    ]
    assert masked(layers, grid, grid.window).tolist() == expected
    assert masked(layers[::-1], grid, grid.window).tolist() == expected
    assert not masked([], grid, grid.window).any()


def test_a_window_beyond_the_grid_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="reaches beyond the grid"):
        masked([], utm_grid(4, 4), Window(1, 0, 4, 4))


# --- polygons --------------------------------------------------------------------------------------------------


def test_polygons_count_where_pixel_centers_lie(tmp_path: Path) -> None:
    grid = utm_grid(4, 4)
    path = write_polygons(tmp_path / "c.gpkg", box(*spot(grid, 0.6, 2.4), *spot(grid, 2.6, 0.4)))
    expected = np.zeros((4, 4))
    expected[0:2, 1:3] = UNUSABLE
    assert np.array_equal(codes_in(path, None, grid, DEFAULT_REASONS), expected)
    expected[expected > 0] = CLOUD
    assert np.array_equal(codes_in(path, None, grid, ("cloud",)), expected)


def test_polygons_in_any_crs_and_format(tmp_path: Path) -> None:
    grid = utm_grid(40, 50)
    there = gpd.GeoSeries([Point(*spot(grid, 25, 20)).buffer(90)], crs=UTM)
    near, far = there.to_crs(4326), gpd.GeoSeries([box(10, 10, 11, 11)], crs=4326)
    rows, cols = np.mgrid[0:40, 0:50] + 0.5
    expected = np.hypot(rows - 20, cols - 25) < 9
    for name in ("c.geojson", "c.shp", "c.fgb"):
        path = write_polygons(tmp_path / name, near[0], far[0], crs="EPSG:4326")
        codes = codes_in(path, None, grid)
        assert (codes > 0).sum() == pytest.approx(expected.sum(), abs=4)
        assert ((codes > 0) != expected).sum() <= 4
        source = open_mask(MaskRequest(str(path), None, REASONS), grid)
        assert source.polygons_wkb is not None
        assert len(source.polygons_wkb) < 16 * 100, "what does not touch the scene does not travel"


# Edges through pixel centers on a grid whose numbers do not fit a double: which side such a pixel falls on must
# not depend on the window. Red when polygons are burned window by window.
def test_polygons_are_the_same_for_every_window(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    grid = utm_grid(700, 700, Affine(0.3, 0, 399_960.123, 0, -0.3, 4_200_000.37))
    corners = rng.integers(0, 600, (60, 2)) + 0.5
    shapes = [
        Polygon([spot(grid, c, r), spot(grid, c + k, r + k), spot(grid, c + k, r)])
        for (c, r), k in zip(corners, rng.integers(5, 150, 60), strict=True)
    ]
    source = open_mask(MaskRequest(str(write_polygons(tmp_path / "c.gpkg", *shapes)), None, REASONS), grid)
    whole = masked([source], grid, grid.window)
    for col, row in rng.integers(0, 600, (40, 2)).tolist():
        window = Window(col, row, int(rng.integers(1, 700 - col)), int(rng.integers(1, 700 - row)))
        assert np.array_equal(masked([source], grid, window), whole[window.slices])


# --- buffer ----------------------------------------------------------------------------------------------------


def footprint(disc: Disc) -> np.ndarray:
    """The disc as (row, col) pixels."""
    offsets = np.arange(-disc.cols, disc.cols + 1)
    return np.array([np.abs(offsets) <= disc.half_widths[abs(row)] for row in range(-disc.rows, disc.rows + 1)])


@pytest.mark.parametrize("meters", [0, 9, 10, 14.1, 14.2, 30, 55, 100])
def test_a_disc_in_meters(meters: float) -> None:
    # On the central meridian of a UTM zone a pixel of 10 m is 10.004 m wide: 30 m still mean three of them.
    drawn = footprint(disc(utm_grid(100, 100), meters))
    reach = len(drawn) // 2
    rows, cols = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    assert np.array_equal(drawn, np.hypot(rows, cols) * 10 <= meters * 1.001)


def test_an_ellipse_where_pixels_are_not_square() -> None:
    drawn = disc(utm_grid(50, 50, Affine(5, 0, 500_000, 0, -20, 4_200_000)), 41)
    assert (drawn.cols, drawn.rows) == (8, 2)
    assert drawn.half_widths == (8, 7, 1)


def test_ground_meters_in_degrees_and_in_web_mercator() -> None:
    degrees = Grid(CRS.from_epsg(4326), Affine(1e-4, 0, 10, 0, -1e-4, 60), 100, 100)
    assert (disc(degrees, 112).cols, disc(degrees, 112).rows) == (20, 10)  # a degree of longitude is half as long there
    mercator = Grid(CRS.from_epsg(3857), Affine(20, 0, 0, 0, -20, 8_399_737.9), 100, 100)
    assert disc(mercator, 101).cols == 10  # 60° north: 10 m on the ground


def test_too_wide_a_buffer_is_refused() -> None:
    with pytest.raises(UsageError, match=rf"--mask-buffer 50000 m reaches \d+ pixels here; at most {MAX_PX}"):
        disc(utm_grid(10, 10), 50_000)


@given(
    arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 9).map(lambda n: n == 0)),
    st.floats(0, 120),
    st.sampled_from([(10, 10), (5, 20), (30, 10)]),
)
def test_growing_is_dilation_by_the_disc(marked: np.ndarray, meters: float, sides: tuple[int, int]) -> None:
    some = disc(utm_grid(50, 50, Affine(sides[0], 0, 500_000, 0, -sides[1], 4_200_000)), meters)
    assert np.array_equal(grow(marked, some), binary_dilation(marked, footprint(some)))


@pytest.fixture(scope="module")
def patchy(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[MaskSource], Grid]:
    """A sparse SCL on another grid than the scene's, and one on the scene's own."""
    folder = tmp_path_factory.mktemp("patchy")
    rng = np.random.default_rng(5)
    coarse = rng.choice([4, 8, 3, 10, 11], (40, 45), p=[0.96, 0.01, 0.01, 0.01, 0.01]).astype(np.uint8)
    fine = (rng.random((90, 110)) < 0.002).astype(np.uint8)
    grid = utm_grid(90, 110)
    paths = (
        (write_raster(folder / "scl.tif", coarse, transform=NORTH_UP @ Affine.scale(2)), "s2-scl"),
        (write_raster(folder / "bad.tif", fine), "nonzero"),
    )
    return [open_mask(MaskRequest(str(path), rule, REASONS), grid) for path, rule in paths], grid


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_window_is_a_crop_of_the_whole(patchy: tuple[list[MaskSource], Grid], data: st.DataObject) -> None:
    layers, grid = patchy
    left, top = data.draw(st.integers(0, grid.width - 1)), data.draw(st.integers(0, grid.height - 1))
    window = Window(
        left, top, data.draw(st.integers(1, grid.width - left)), data.draw(st.integers(1, grid.height - top))
    )
    meters = data.draw(st.sampled_from([0.0, 10.0, 47.0]))
    whole = masked(layers, grid, grid.window, meters)
    assert np.array_equal(masked(layers, grid, window, meters), whole[window.slices])


def test_the_buffer_leaves_what_is_masked_and_fills_what_is_clear(patchy: tuple[list[MaskSource], Grid]) -> None:
    """None grows where the SCL does not reach: good pixels lie beside the scene's own edge.

    Mutation: that edge grown, too.
    """
    layers, grid = patchy
    bare, wide = masked(layers, grid, grid.window), masked(layers, grid, grid.window, 47.0)
    assert np.array_equal(wide[bare > 0], bare[bare > 0])
    shape = footprint(disc(grid, 47.0))
    bad = masked(layers[1:], grid, grid.window) == UNUSABLE
    grown = {code: bare == code for code in range(1, 5)} | {UNUSABLE: bad}
    for code, seeds in grown.items():
        assert not ((wide == code) & (bare != code))[~binary_dilation(seeds, shape)].any()
    anything = np.any([binary_dilation(seeds, shape) for seeds in grown.values()], axis=0)
    assert np.array_equal(wide > 0, anything | (bare > 0))
    assert (bare[:, -8:] == UNUSABLE).all()
    cloud_and_clear = binary_dilation(bare == CLOUD, shape) & (bare == 0) & ~binary_dilation(bad, shape)
    assert (wide[cloud_and_clear] == CLOUD).all()


# --- refusals --------------------------------------------------------------------------------------------------


def refusal(error: type[Exception], file: str, rule: str | None, reasons: tuple[str, ...], grid: Grid) -> str:
    with pytest.raises(error) as caught:
        open_mask(MaskRequest(file, rule, reasons), grid)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_files_and_misspelled_words(tmp_path: Path) -> None:
    grid = utm_grid(4, 4)
    gone = str(tmp_path / "gone.tif")
    assert "gone.tif' does not exist" in refusal(InputMissingError, gone, "s2-scl", REASONS, grid)
    there = write_raster(tmp_path / "scl.tif", random_scl(4, 4))
    message = refusal(UsageError, f"{there}:clowd", None, REASONS, grid)
    assert "'clowd' is neither a rule (s2-scl" in message
    assert "cloud, shadow" in message


def test_a_wrong_bit_layout_is_refused_and_the_right_one_named(tmp_path: Path) -> None:
    bqa = np.full((40, 30), 20480, np.uint16)
    bqa[7, 9] = 53248
    path = str(write_raster(tmp_path / "bqa.tif", bqa))
    grid = utm_grid(40, 30)
    for rule in ("landsat-qa", "landsat-bqa-c1", "landsat-bqa-c2"):
        message = refusal(InputError, path, rule, REASONS, grid)
        assert "1200 of 1200 pixels" in message
        assert "20480 (0b101_0000_0000_0000)" in message
        assert "fit landsat-bqa-c0;" in message
    assert open_mask(MaskRequest(path, "landsat-bqa-c0", REASONS), grid).rule == "landsat-bqa-c0"
    assert "needs a rule, FILE:RULE; its values fit landsat-bqa-c0;" in refusal(UsageError, path, None, REASONS, grid)


def test_one_impossible_pixel_in_the_last_corner_is_found(tmp_path: Path) -> None:
    scl = np.full((2048, 1100), 4, np.uint8)
    scl[-1, -1] = 12
    path = str(write_raster(tmp_path / "scl.tif", scl))
    assert "1 of 2252800 pixels" in refusal(InputError, path, "s2-scl", REASONS, utm_grid(9, 9))


def test_layers_that_cannot_be_what_they_are_said_to_be(tmp_path: Path) -> None:
    grid = utm_grid(4, 4)
    one = str(write_raster(tmp_path / "one.tif", random_scl(4, 4)))
    three = str(write_raster(tmp_path / "three.tif", np.zeros((3, 4, 4), np.uint8)))
    real = str(write_raster(tmp_path / "real.tif", np.zeros((4, 4), np.float32)))
    bare = str(write_raster(tmp_path / "bare.tif", random_scl(4, 4), crs=None))
    away = str(write_raster(tmp_path / "away.tif", random_scl(4, 4), transform=NORTH_UP @ Affine.translation(4, 0)))
    assert "number of bands, 1, than planet-udm2: 8" in refusal(InputError, one, "planet-udm2", REASONS, grid)
    assert "number of bands, 3, than nonzero: 1" in refusal(InputError, three, "nonzero", REASONS, grid)
    assert "float32 numbers" in refusal(InputError, real, "s2-scl", REASONS, grid)
    assert "no CRS" in refusal(InputError, bare, "s2-scl", REASONS, grid)
    assert open_mask(MaskRequest(bare, "s2-scl", REASONS), grid, assume_crs=UTM).grid == grid
    assert "does not touch the scene" in refusal(InputError, away, "s2-scl", REASONS, grid)
    assert "'scl' is unknown" in refusal(UsageError, one, "scl", REASONS, grid)
    assert "only shadow was asked for" in refusal(UsageError, three, "s2-classi", ("shadow",), grid)
    assert "not for cloud, shadow" in refusal(UsageError, one, "nonzero", ("cloud", "shadow"), grid)
    assert "is empty" in refusal(InputError, str(touched(tmp_path / "empty.tif")), "s2-scl", REASONS, grid)


def touched(path: Path) -> Path:
    path.touch()
    return path


def test_polygon_layers_that_are_refused(tmp_path: Path) -> None:
    grid = utm_grid(4, 4)
    good = str(write_polygons(tmp_path / "good.gpkg", box(*spot(grid, 0, 2), *spot(grid, 2, 0))))
    text = tmp_path / "notes.txt"
    text.write_text("no layer at all")
    assert "rule 's2-scl' is for rasters only" in refusal(UsageError, good, "s2-scl", REASONS, grid)
    assert "not for cloud, shadow" in refusal(UsageError, good, None, ("cloud", "shadow"), grid)
    assert "no polygons either" in refusal(InputError, str(text), None, REASONS, grid)


def test_polygons_of_elsewhere_mask_nothing(tmp_path: Path) -> None:
    """A region's layer serves all its scenes, those without a cloud, too."""
    grid = utm_grid(4, 4)
    away = write_polygons(tmp_path / "away.gpkg", box(*spot(grid, 5, 2), *spot(grid, 9, 0)))
    source = open_mask(MaskRequest(str(away), None, REASONS), grid)
    assert not masked([source], grid, grid.window, 50.0).any()


def test_a_damaged_block_is_told_with_its_place(tmp_path: Path) -> None:
    path = write_raster(
        tmp_path / "scl.tif", random_scl(64, 64), tiled=True, blockxsize=32, blockysize=32, compress="deflate"
    )
    grid = utm_grid(64, 64)
    source = open_mask(MaskRequest(str(path), "s2-scl", REASONS), grid)
    with rasterio.open(path) as dataset:
        offset = int(dataset.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"mask .*scl.tif cannot be decoded at columns 32…63, rows 32…63"):
        masked([source], grid, Window(32, 32, 32, 32))
