"""`--mosaic`: neighboring scenes as one, on one grid or brought onto one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from builders import NORTH_UP, UTM, argmax_model, linear_model, write_raster
from cli_kit import codes_of, cut, geoseg, polygons_in, reflectance_model
from products.trees import CORNER_30, hls, landsat, safe
from pyproj import Transformer
from resume_kit import assert_same_answer
from update_kit import forwarded

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.io import handles
from geoseg.io.compose import open_scene
from geoseg.io.overview import small_image
from geoseg.io.sample import sample_pixels
from geoseg.io.scene import Scene
from geoseg.settings import ReadSettings

SCORES = ("--confidence", "--format", "gpkg,geojson")
COL, ROW, WIDTH, HEIGHT = 380, 420, 171, 150
COLS, ROWS = (0, 50, 113, WIDTH), (0, 37, 90, HEIGHT)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return reflectance_model(tmp_path_factory.mktemp("model") / "toy.safetensors", chip=64, margin=8)


@pytest.fixture(scope="module")
def whole(sample, model, tmp_path_factory) -> Path:
    """What a run on the whole piece gives."""
    folder = tmp_path_factory.mktemp("whole")
    done = geoseg("run", cut(sample, folder / "piece.tif"), "-m", model, "-o", folder / "out", *SCORES, "--tile", 100)
    assert done.code == 0, done.err
    return folder / "out"


def ninths(sample: Path, folder: Path) -> list[Path]:
    """The same piece in nine files, the last one first."""
    folder.mkdir()
    boxes = [(c, r) for r in range(3) for c in range(3)]
    return [
        cut(
            sample,
            folder / f"{col}{row}.tif",
            col=COL + COLS[col],
            row=ROW + ROWS[row],
            width=COLS[col + 1] - COLS[col],
            height=ROWS[row + 1] - ROWS[row],
        )
        for col, row in reversed(boxes)
    ]


def mosaic(*paths: Path, **how: object) -> Scene:
    return open_scene(list(paths), ReadSettings(together="mosaic", **how))


def piece(path: Path, value: int | np.ndarray, col: int, row: int, *, taken: str = "", **profile: object) -> Path:
    """A file of two bands on the lattice of 10 m; a number: 20 × 30 pixels of it."""
    data = np.full((2, 20, 30), value, "uint8") if isinstance(value, int) else value
    write_raster(path, data, transform=NORTH_UP @ Affine.translation(col, row), **({"nodata": 0} | profile))
    if taken:
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=taken)
    return path


# ── one grid ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_nine_files_give_the_files_of_the_whole_scene(sample, model, whole, tmp_path) -> None:
    """Byte by byte: class raster, confidence, GeoJSON, preview, what each chip read; polygons cross the seams."""
    files = ninths(sample, tmp_path / "in")
    command = ("run", *files, "--mosaic", "-m", model, "--name", "piece", *SCORES, "--tile", 60)
    done = geoseg(*command, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "mosaic of 9 scenes" in done.err
    assert_same_answer(tmp_path / "out", whole, but=["piece.report.html"])  # it names the nine files
    seam = shapely.LineString([(x, y) for x, y in edges_of(files[0])])
    assert shapely.crosses(polygons_in(tmp_path / "out" / "piece.polygons.gpkg").geometry.values, seam).any()
    assert "up to date" in geoseg(*command, "-o", tmp_path / "out").out


def edges_of(path: Path) -> list[tuple[float, float]]:
    """The upper edge of a file, a little within."""
    with rasterio.open(path) as dataset:
        box = dataset.bounds
    return [(box.left + 1, box.top), (box.right - 1, box.top)]


def test_the_record_lists_every_scene(sample, model, tmp_path) -> None:
    files = ninths(sample, tmp_path / "in")
    done = geoseg("run", *files[:2], "--mosaic", "-m", model, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    item = json.loads(Path(json.loads(done.out)["record"]).read_text("utf-8"))
    facts = item["properties"]["geoseg:mosaic"]
    assert facts["overlap"] == "first"
    assert [scene["files"] for scene in facts["scenes"]] == [["22.tif"], ["12.tif"]]
    assert facts["scenes"][0]["bands"][0]["scale"] == pytest.approx(0.0001)
    assert {entry["name"] for entry in item["geoseg:key"]["segment"]["input"]} == {"22.tif", "12.tif"}


def test_info_and_dry_run_see_one_scene(sample, model, tmp_path) -> None:
    files = ninths(sample, tmp_path / "in")
    found = json.loads(geoseg("info", *files, "--mosaic", "-m", model, "--json").out)
    assert (found["fits"], found["grid"]["size"], len(found["files"])) == (True, [WIDTH, HEIGHT], 9)
    assert len(found["mosaic"]["scenes"]) == 9
    lines = geoseg("info", *files, "--mosaic").out.splitlines()
    assert any(line.startswith("note: mosaic of 9 scenes") for line in lines)
    plan = geoseg("run", *files, "--mosaic", "-m", model, "-o", tmp_path / "out", "--dry-run", "--json")
    assert (plan.code, json.loads(plan.out)["grid"]["size"]) == (0, [WIDTH, HEIGHT]), plan.err


def test_few_files_are_open_at_a_time_and_the_scene_travels(sample, tmp_path, monkeypatch) -> None:
    scene = mosaic(*ninths(sample, tmp_path / "in"))
    expected = scene.read(scene.grid.window)
    handles.close_all()
    monkeypatch.setattr(handles, "MAX_OPEN", 2)
    found = pickle.loads(pickle.dumps(scene)).read(scene.grid.window)  # noqa: S301 (our own)
    np.testing.assert_array_equal(found.data, expected.data)
    assert 1 <= len(handles._handles.open) <= 2


def test_only_files_under_a_window_are_read(tmp_path) -> None:
    scene = mosaic(piece(tmp_path / "a.tif", 1, 0, 0), piece(tmp_path / "b.tif", 2, 30, 0))
    (tmp_path / "b.tif").unlink()
    handles.close_all()
    assert scene.read(Window(0, 0, 30, 20)).valid.all()
    with pytest.raises(InputError, match=r"b\.tif"):
        scene.read(Window(0, 0, 31, 20))


def test_scenes_far_apart_are_sampled_and_shown_each_in_its_place(tmp_path) -> None:
    """A thousand kilometers of nothing between them: an even lattice of windows would meet neither."""
    scene = mosaic(piece(tmp_path / "a.tif", 3, 10, 20), piece(tmp_path / "b.tif", 5, 100_000, 70_000))
    assert set(np.unique(sample_pixels(scene))) == {3, 5}
    near = mosaic(piece(tmp_path / "c.tif", 3, 0, 0), piece(tmp_path / "d.tif", 5, 40, 30))
    image, valid = small_image(near, longest=35)
    expected = np.zeros((25, 35))
    expected[:10, :15], expected[15:, 20:] = 3, 5
    np.testing.assert_array_equal(valid, expected > 0)
    np.testing.assert_array_equal(np.where(valid, image[0], 0), expected)


# ── where they overlap ───────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_usable_pixel_counts(tmp_path) -> None:
    """Holes of the first are filled from the second, with all bands."""
    data = np.full((2, 20, 30), 1, "uint8")
    data[0, 5, 20] = data[1, 6, 21] = 0
    chip = mosaic(piece(tmp_path / "a.tif", data, 0, 0), piece(tmp_path / "b.tif", 2, 15, 0)).read(Window(0, 0, 45, 20))
    expected = np.where(np.arange(45) < 30, 1, 2) * np.ones((20, 1))
    expected[5, 20] = expected[6, 21] = 2
    assert chip.valid.all()
    np.testing.assert_array_equal(chip.data[0], expected)
    np.testing.assert_array_equal(chip.data[1], expected)


def test_the_latest_counts_whatever_the_order(tmp_path) -> None:
    old = piece(tmp_path / "old.tif", 1, 0, 0, taken="2018:08:15 10:00:00")
    new = piece(tmp_path / "new.tif", 2, 15, 0, taken="2021:08:15 10:00:00")
    for paths in ((old, new), (new, old)):
        scene = mosaic(*paths, overlap="latest")
        assert (scene.read(Window(15, 0, 15, 20)).data == 2).all()
        assert scene.acquired is not None
        assert scene.acquired.text == "2018-08-15T00:00:00Z/2021-08-15T23:59:59Z"
    with pytest.raises(InputError, match=r"--overlap latest: nothing says when c\.tif was taken"):
        mosaic(old, piece(tmp_path / "c.tif", 3, 9, 0), overlap="latest")


def test_of_products_each_keeps_its_offset_and_its_clouds(tmp_path) -> None:
    """Clouds of the first are filled by the second, whose metadata hold another offset; the clearest may go first."""
    rng = np.random.default_rng(2)
    plain = rng.integers(100, 3000, (80, 120)).astype("uint16")
    later = plain + np.uint16(1500)
    scl = np.full((40, 60), 4, "uint8")
    scl[5:20, 30:50] = 9
    times = ("2021-06-17T10:05:59.024Z", "2022-09-25T10:10:19.024Z")
    first = safe(tmp_path / "a", {"B04": plain}, offset=None, scl=scl, start=times[0])
    few = np.full((40, 60), 4, "uint8")
    few[8:10, 32:36] = 8
    second = safe(tmp_path / "b", {"B04": later}, offset=-1000, scl=few, start=times[1])
    cloud, both = np.zeros((80, 120), bool), np.zeros((80, 120), bool)
    cloud[10:40, 60:100], both[16:20, 64:72] = True, True
    expected = np.where(cloud, plain.astype(float) + 500, plain) * 1e-4
    chip = (scene := mosaic(first, second)).read(Window(0, 0, 120, 80))
    np.testing.assert_array_equal(chip.valid, ~both)
    assert chip.masked is not None
    np.testing.assert_array_equal(chip.masked == 1, both)
    np.testing.assert_allclose(chip.data[0][~both], expected[~both], rtol=1e-6)
    assert scene.scene_id == first.stem
    chip = mosaic(first, second, overlap="clearest").read(Window(0, 0, 120, 80))
    np.testing.assert_allclose(chip.data[0][~both], (plain.astype(float) + 500)[~both] * 1e-4, rtol=1e-6)
    np.testing.assert_array_equal(chip.valid, ~both)


CLEAR, CLOUD = {"landsat": 0b01010101_01000000, "hls": 0}, {"landsat": 0b01010111_00001000, "hls": 0b10}
NUMBERS = {"landsat": (2.75e-5, -0.2), "hls": (1e-4, 0.0)}


@pytest.mark.parametrize("west", ["landsat", "hls"])
@pytest.mark.parametrize("east", ["landsat", "hls"])
def test_landsat_and_hls_scenes_are_neighbors_in_reflectance(west, east, tmp_path) -> None:
    """Each by its own scale, offset and quality bits; the second, 40 pixels on, fills what is cloud in the first.

    Mutation: one pair of scale and offset for all is wrong by 0.2 in one of them.
    """
    rng = np.random.default_rng(5)
    ground = rng.uniform(0.02, 0.6, (50, 100))

    def made(kind: str, folder: Path, col: int) -> Path:
        scale, offset = NUMBERS[kind]
        dn = np.rint((ground[:, col : col + 60] - offset) / scale).astype("uint16")
        quality = np.full((50, 60), CLEAR[kind])
        quality[10:20, 45 : 55 if col == 0 else 50] = CLOUD[kind]
        place = CORNER_30 @ Affine.translation(col, 0)
        if kind == "hls":
            return hls(folder, {"B04": dn}, fmask=quality, transform=place)
        return landsat(folder, {"SR_B4": dn}, qa=quality, transform=place)

    scene = mosaic(made(west, tmp_path / "w", 0), made(east, tmp_path / "e", 40))
    chip = scene.read(Window(0, 0, 100, 50))
    valid = np.ones((50, 100), bool)
    valid[10:20, 85:90] = False
    np.testing.assert_array_equal(chip.valid, valid)
    reflectance = chip.data[0] * scene.scale[0] + scene.offset[0]
    np.testing.assert_allclose(reflectance[valid], ground[valid], atol=1e-4)


def test_a_mask_file_is_laid_over_all(tmp_path) -> None:
    """It need not touch every scene, and its buffer crosses the seam."""
    paths = [piece(tmp_path / "a.tif", 1, 0, 0), piece(tmp_path / "b.tif", 2, 30, 0)]
    codes = np.zeros((20, 25), "uint8")
    codes[5, 24] = 1
    mask = write_raster(tmp_path / "m.tif", codes, transform=NORTH_UP @ Affine.translation(5, 0))
    chip = mosaic(*paths, mask=f"{mask}:nonzero:cloud", mask_buffer=10).read(Window(0, 0, 60, 20))
    assert chip.masked is not None
    expected = np.zeros((20, 60), bool)
    expected[5, 28:31] = expected[4, 29] = expected[6, 29] = True
    np.testing.assert_array_equal(chip.masked == 1, expected)


# ── other grids ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("profile", "why"),
    [
        ({"crs": "EPSG:32617"}, "is in WGS 84 / UTM zone 17N"),
        ({"transform": NORTH_UP @ Affine.translation(30.5, 0)}, "is shifted by 0.50 of a pixel"),
        ({"transform": NORTH_UP @ Affine.translation(30, 0) @ Affine.scale(2)}, "has pixels of 20"),
    ],
)
def test_other_grids_need_one_to_come_to(tmp_path, profile, why) -> None:
    first = piece(tmp_path / "a.tif", 1, 0, 0)
    other = write_raster(tmp_path / "b.tif", np.full((2, 20, 30), 2, "uint8"), **({"transform": NORTH_UP} | profile))
    done = geoseg("run", first, other, "--mosaic", "-o", tmp_path / "out")
    assert (done.code, why in done.last, "pass --grid" in done.last) == (65, True, True), done.last
    assert "--grid EPSG:32618,10" in done.last
    assert done.err.count("\n") == 1
    assert mosaic(first, other, grid="EPSG:32618,10").grid.crs.to_epsg() == 32618


def test_a_file_on_the_lattice_of_the_grid_is_not_resampled(tmp_path) -> None:
    rng = np.random.default_rng(5)
    data = rng.integers(1, 99, (2, 20, 30)).astype("uint8")
    exact = piece(tmp_path / "a.tif", data, 3, 4)
    shifted = write_raster(tmp_path / "b.tif", data, transform=NORTH_UP @ Affine.translation(33.5, 4), nodata=0)
    frame = write_raster(tmp_path / "frame.tif", np.zeros((40, 80), "uint8"))
    scene = mosaic(exact, shifted, grid=str(frame))
    assert scene.grid.shape == (40, 80)
    chip = scene.read(Window(0, 0, 80, 40))
    np.testing.assert_array_equal(chip.data[:, 4:24, 3:33], data)
    assert not chip.valid[:4].any()
    assert chip.valid[4:24, 3:63].all()
    assert "b.tif (10 m) resampled" in " ".join(scene.remarks)


def zones(folder: Path) -> tuple[Path, Path]:
    """Scenes of neighboring UTM zones that overlap by some pixels at 78° W, with blobs that cross it."""
    paths = []
    for zone, east in ((17, 769_300.0), (18, 229_700.0)):
        transform = Affine(10.0, 0.0, east, 0.0, -10.0, 3_999_600.0)
        cols, rows = np.meshgrid(np.arange(110), np.arange(90))
        x, y = transform @ (cols + 0.5, rows + 0.5)
        lon, lat = Transformer.from_crs(32600 + zone, 4326, always_xy=True).transform(x, y)
        height = np.sin(lon * 9000 * 1.3) + np.cos(lat * 9000) + 0.5 * np.sin((lon + lat) * 5000)
        data = np.stack([120 + 40 * height, 120 - 40 * height]).astype("uint8")
        data[:, 40:50, 20:30] = 0
        crs = f"EPSG:{32600 + zone}"
        paths.append(write_raster(folder / f"z{zone}.tif", data, transform=transform, crs=crs, nodata=0))
    return paths[0], paths[1]


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    return argmax_model(tmp_path_factory.mktemp("two") / "two.safetensors", 2).path


def test_two_utm_zones_give_each_place_one_polygon(two, tmp_path) -> None:
    paths = zones(tmp_path)
    done = geoseg("run", *paths, "--mosaic", "--grid", "EPSG:5070,10", "-m", two, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    table = polygons_in(tmp_path / "out" / "z17.polygons.gpkg")
    polygons = table.geometry.to_numpy()
    assert shapely.coverage_is_valid(polygons)
    codes = codes_of(tmp_path / "out" / "z17.classes.tif")
    assert shapely.area(polygons).sum() == pytest.approx((codes != 255).sum() * 100, rel=1e-12)
    assert shapely.union_all(polygons).area == pytest.approx(shapely.area(polygons).sum(), rel=1e-12)
    scene = mosaic(*paths, grid="EPSG:5070,10")
    assert scene.mosaic is not None
    count = np.zeros(codes.shape, int)
    for part in scene.mosaic.parts:
        count[part.window.slices] += part.scene.read(part.scene.grid.window).valid
    assert (count == 2).sum() > 100
    np.testing.assert_array_equal(codes != 255, count > 0)


def test_a_scene_of_a_mosaic_is_read_the_same_whichever_others_there_are(tmp_path) -> None:
    """Resampled, too: an update then finds all other chips unchanged."""
    paths = zones(tmp_path)
    both, one = (mosaic(*some, grid="EPSG:5070,10").mosaic for some in (paths, paths[1:]))
    assert both is not None
    assert one is not None
    first, second = (found.parts[-1].scene for found in (both, one))
    assert first.grid == second.grid
    np.testing.assert_array_equal(first.read(first.grid.window).data, second.read(second.grid.window).data)


# ── refusals, updates ────────────────────────────────────────────────────────────────────────────────────────────────


def test_plain_numbers_beside_reflectance_are_refused(sample, tmp_path) -> None:
    tagged = cut(sample, tmp_path / "a.tif", width=60)
    plain = cut(sample, tmp_path / "b.tif", col=COL + 60, width=60)
    with rasterio.open(plain, "r+") as dataset:
        dataset.scales, dataset.offsets = (1.0,) * dataset.count, (0.0,) * dataset.count
    with pytest.raises(InputError, match=r"nothing says what the numbers of b\.tif mean, while a\.tif hold"):
        mosaic(tagged, plain)
    assert mosaic(tagged, plain, scale=(0.0001,)).scale == (0.0001,) * 6


def test_bands_that_not_all_have_are_left_out(tmp_path) -> None:
    data = np.ones((3, 20, 30), "uint8")
    first = piece(tmp_path / "a.tif", data, 0, 0, names=["red", "nir", "swir16"])
    second = piece(tmp_path / "b.tif", data[:2], 30, 0, names=["nir", "red"])
    scene = mosaic(first, second)
    assert scene.names == ("red", "nir")
    assert "left out, for not all scenes of the mosaic have them: swir16" in scene.notes
    with pytest.raises(InputError, match=r"no band is in all scenes of the mosaic; name them with --bands"):
        mosaic(first, piece(tmp_path / "c.tif", data[:1], 60, 0, names=["blue"]))


@pytest.mark.parametrize(
    ("flags", "code", "named"),
    [
        (["--grid-of", "a.tif"], 2, "given with --grid"),
        (["--overlap", "latest", "--datetime", "2020-01-01"], 2, "equally late"),
        (["--overlap", "best"], 2, "'best' is not one of"),
        (["--grid", "EPSG:32618,20", "--collar", "0"], 2, "--nodata 0"),
    ],
)
def test_what_makes_no_sense_is_told(tmp_path, flags, code, named) -> None:
    paths = piece(tmp_path / "a.tif", 1, 0, 0), piece(tmp_path / "b.tif", 2, 30, 0)
    done = geoseg("info", *paths, "--mosaic", *flags)
    assert (done.code, named in done.last) == (code, True), done.last


def test_a_rule_for_overlaps_is_for_mosaics(tmp_path) -> None:
    done = geoseg("info", piece(tmp_path / "a.tif", 1, 0, 0), "--overlap", "latest")
    assert (done.code, "--overlap latest is for scenes of a --mosaic" in done.last) == (2, True)


def test_an_update_predicts_what_a_new_file_changes(tmp_path) -> None:
    """One of four files is replaced by another of another name; the same as a run that knows nothing."""
    weight = np.random.default_rng(5).normal(0, 0.02, (3, 2, 9, 9))
    model = linear_model(tmp_path / "m.safetensors", weight, [0, 0, 0], chip=32, margin=8).path
    data = np.random.default_rng(0).integers(1, 99, (2, 120, 160)).astype("uint8")
    corners = [(0, 0), (80, 0), (0, 60), (80, 60)]
    paths = [
        piece(tmp_path / f"{number}.tif", data[:, row : row + 60, col : col + 80], col, row)
        for number, (col, row) in enumerate(corners)
    ]
    command = ("--mosaic", "-m", model, "--name", "piece", "--confidence")
    assert geoseg("run", *paths, *command, "-o", tmp_path / "out").code == 0
    paths[3] = piece(tmp_path / "new.tif", data[:, 60:, 80:] // 2 + 1, 80, 60)
    with forwarded() as sent:
        done = geoseg("run", *paths, *command, "-o", tmp_path / "out", "--update")
    assert done.code == 0, done.err
    assert geoseg("run", *paths, *command, "-o", tmp_path / "full").code == 0
    assert_same_answer(tmp_path / "out", tmp_path / "full", but=["chips"])
    assert 0 < len(sent) < 45
    assert "chips are unchanged" in done.err


def test_the_grid_is_the_whole_scenes_where_a_file_begins_at_its_corner(tmp_path) -> None:
    """To the last digit, with pixels that no binary fraction holds."""
    corner = Affine(0.6, 0.0, 500_000.3, 0.0, -0.6, 4_200_000.7)
    first = write_raster(tmp_path / "a.tif", np.ones((5, 7), "uint8"), transform=corner)
    second = write_raster(tmp_path / "b.tif", np.ones((5, 9), "uint8"), transform=corner @ Affine.translation(7, 0))
    for paths in ((first, second), (second, first)):
        grid = mosaic(*paths).grid
        assert (grid.transform, grid.shape) == (corner, (5, 16))
        assert grid.crs.to_epsg() == int(UTM.removeprefix("EPSG:"))
