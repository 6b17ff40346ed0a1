"""Laws 4 and 5 through the command line and the file it wrote: what is written says what the class map says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from builders import write_raster
from cli_kit import FORMATS, codes_of, geoseg, polygons_in
from rasterio.features import rasterize
from rio_cogeo import cog_validate
from scipy import ndimage

NODATA = 255
NORTH_UP = Affine(30, 0, 5e5, 0, -30, 4e6)
SHAPED = [["--simplify", "30"], ["--simplify", "500"], ["--smooth"], ["--simplify", "60", "--smooth"]]


def blobs(shape: tuple[int, int] = (120, 150), seed: int = 3) -> np.ndarray:
    """(row, col) four classes in patches of all sizes, and nodata at a corner and inside."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    field = ndimage.gaussian_filter(noise, 1.6)
    codes = np.digitize(field, np.quantile(field, [0.3, 0.5, 0.8])).astype(np.uint8) + 1
    row, col = np.indices(shape)
    codes[(row + col < 25) | (np.hypot(row - 70, col - 90) < 15)] = NODATA
    return codes


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("laws")
    write_raster(path / "map.tif", blobs()[None], crs="EPSG:32618", transform=NORTH_UP, nodata=NODATA)
    return path


def counts(codes: np.ndarray) -> dict[int, int]:
    return {int(code): ndimage.label(codes == code)[1] for code in np.unique(codes) if code != NODATA}


def agree(table, codes: np.ndarray) -> None:
    """Counts, pixels and first pixels of polygons are those of SciPy's components."""
    assert table.class_id.value_counts().to_dict() == counts(codes)
    for code in counts(codes):
        labels, n = ndimage.label(codes == code)
        sizes = np.bincount(labels.ravel())[1:]
        firsts = [int(np.flatnonzero(labels == label)[0]) for label in range(1, n + 1)]
        own = table[table.class_id == code]
        assert own.n_pixels.to_dict() == dict(zip(firsts, sizes.tolist(), strict=True))


@pytest.mark.parametrize(
    "transform",
    [
        NORTH_UP,
        Affine(30, 0, 5e5, 0, 30, 4e6),
        Affine.translation(5e5, 4e6) @ Affine.rotation(20) @ Affine.scale(30, -20),
    ],
    ids=["north up", "south up", "rotated"],
)
def test_unshaped_polygons_are_the_class_map(tmp_path, transform) -> None:
    codes = blobs()
    raster = write_raster(tmp_path / "map.tif", codes[None], crs="EPSG:32618", transform=transform, nodata=NODATA)
    assert geoseg("vectorize", raster, "-o", tmp_path / "map.gpkg").code == 0
    table = polygons_in(tmp_path / "map.gpkg")
    agree(table, codes)
    geometry = table.geometry.array
    assert shapely.coverage_is_valid(geometry)
    assert shapely.is_valid(geometry).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(geometry)).all()
    burned = rasterize(
        zip(geometry, table.class_id, strict=True), codes.shape, fill=NODATA, transform=transform, dtype="uint8"
    )
    np.testing.assert_array_equal(burned, codes)
    np.testing.assert_allclose(table.area_m2, table.n_pixels * abs(transform.determinant), rtol=1e-6)


@pytest.mark.parametrize("flags", SHAPED, ids=" ".join)
@pytest.mark.parametrize("unit", [[], ["--mmu", "9px"]], ids=["raw", "mmu"])
def test_shaped_polygons_are_a_valid_coverage_of_the_same_ground(folder, tmp_path, flags, unit) -> None:
    raster, output = folder / "map.tif", tmp_path / "o.fgb"
    done = geoseg("vectorize", raster, "-o", output, *flags, *unit, "--raster-out", tmp_path / "g.tif", "--json")
    assert done.code == 0, done.err
    table, codes = polygons_in(output), codes_of(tmp_path / "g.tif")
    agree(table, codes)
    geometry = table.geometry.array
    assert shapely.coverage_is_valid(geometry)
    assert shapely.is_valid(geometry).all()
    # Lines along nodata and the frame stay, so the ground covered does.
    assert shapely.area(geometry).sum() == pytest.approx((codes != NODATA).sum() * 900, rel=1e-9)
    np.testing.assert_allclose(table.area_m2, shapely.area(geometry), rtol=1e-9)
    np.testing.assert_allclose(table.perim_m, shapely.length(geometry), rtol=1e-9)
    raw = (tmp_path / "raw.fgb", *unit)
    assert geoseg("vectorize", raster, "-o", *raw).code == 0
    before = polygons_in(raw[0])
    assert before.index.equals(table.index)
    assert shapely.length(geometry).sum() < 0.95 * shapely.length(before.geometry.array).sum()


def test_outer_lines_are_shaped_on_demand(folder, tmp_path) -> None:
    def union(*flags: str) -> shapely.Geometry:
        output = tmp_path / f"{len(flags)}.fgb"
        assert geoseg("vectorize", folder / "map.tif", "-o", output, "--simplify", "200", *flags).code == 0
        geometry = polygons_in(output).geometry.array
        assert shapely.coverage_is_valid(geometry)
        return shapely.coverage_union_all(geometry)

    assert shapely.get_num_coordinates(union("--simplify-outer")) < shapely.get_num_coordinates(union())


def test_the_unit_holds_and_raster_polygons_and_hectares_agree(folder, tmp_path) -> None:
    raster, out = folder / "map.tif", tmp_path / "g.tif"
    flags = ["--mmu", "1ha", "--mmu-class", "class 2=5px,4=0.5ha", "--keep-class", "3"]
    done = geoseg("vectorize", raster, "-o", tmp_path / "o.gpkg", *flags, "--raster-out", out, "--json")
    assert done.code == 0, done.err
    before, after, table = codes_of(raster), codes_of(out), polygons_in(tmp_path / "o.gpkg")
    agree(table, after)
    np.testing.assert_array_equal(before == NODATA, after == NODATA)
    for code, least in {1: 12, 2: 5, 4: 6}.items():  # a pixel is 900 m²
        assert table.n_pixels[table.class_id == code].min() >= least
    assert table.n_pixels[table.class_id == 3].min() == 1
    assert ((before == 3) <= (after == 3)).all()
    told = {(c["before"], c["after"]): c["area_m2"] for c in json.loads(done.out)["changed"]}
    pairs, sizes = np.unique(np.stack([before, after])[:, before != after], axis=1, return_counts=True)
    moved = {(f"class {a}", f"class {b}"): n * 900.0 for (a, b), n in zip(pairs.T, sizes.tolist(), strict=True)}
    assert set(moved) <= set(told)
    # A component that went through two hands may have come back.
    assert all(told[pair] == area for pair, area in moved.items())
    assert cog_validate(out, strict=True, quiet=True) == (True, [], [])
    text = geoseg("vectorize", raster, "-o", tmp_path / "o.gpkg", *flags).out
    assert f"{sum(told.values()) / 1e4:,.0f} ha changed class" in text


def test_every_format_holds_the_same(folder, tmp_path) -> None:
    tables = {}
    for suffix in FORMATS:
        output = tmp_path / f"o.{suffix}"
        assert geoseg("vectorize", folder / "map.tif", "-o", output, "--simplify", "40", "--smooth").code == 0
        tables[suffix] = polygons_in(output)
    first = tables["gpkg"]
    for suffix, table in tables.items():
        assert table.index.equals(first.index)
        for column in ("class_id", "class_name", "n_pixels", "scene_id"):
            assert table[column].tolist() == first[column].tolist()
        np.testing.assert_allclose(table.area_m2, first.area_m2, rtol=1e-9)
        if suffix == "geojson":
            np.testing.assert_allclose(table.to_crs(first.crs).area, first.area, rtol=1e-4)
        else:
            assert shapely.equals(table.geometry.array, first.geometry.array).all()


def test_pixels_and_areas_cannot_be_mixed_where_pixels_differ(tmp_path) -> None:
    transform = Affine(1e-3, 0, 10, 0, -1e-3, 60)
    raster = write_raster(tmp_path / "m.tif", blobs()[None], crs="EPSG:4326", transform=transform, nodata=NODATA)
    call = ["vectorize", raster, "-o", tmp_path / "o.fgb"]
    done = geoseg(*call, "--mmu", "9px", "--mmu-class", "1=1ha")
    assert (done.code, "mixes pixels and areas" in done.last) == (2, True)
    done = geoseg(*call, "--mmu", "9px", "--simplify", "100", "--json")
    assert done.code == 0, done.err
    table = polygons_in(tmp_path / "o.fgb")
    assert table.n_pixels.min() >= 9
    assert shapely.coverage_is_valid(table.geometry.array)
    assert sum(c["area_m2"] for c in json.loads(done.out)["changed"]) > 6000  # a pixel is 111 m × 56 m


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mmu", "5"], "--mmu '5' is no size"),
        (["--mmu", "5px", "--keep-class", "sea"], "--keep-class 'sea' is no class"),
        (["--keep-class", "1"], "give --mmu"),
        (["--simplify", "-1"], "--simplify -1 must be meters"),
        (["--simplify-outer"], "give --simplify M or --smooth"),
        (["--raster-out", "elsewhere/o.tif"], "in the folder of the polygons"),
        (["--raster-out", "o.png"], "must be a .tif"),
    ],
)
def test_what_cannot_be_meant_is_one_line(folder, tmp_path, flags, message) -> None:
    done = geoseg("vectorize", folder / "map.tif", "-o", tmp_path / "o.gpkg", *flags)
    assert (done.code, message in done.last, list(tmp_path.iterdir())) == (2, True, [])


def test_raster_and_polygons_do_not_share_a_style(folder, tmp_path) -> None:
    done = geoseg("vectorize", folder / "map.tif", "-o", tmp_path / "o.fgb", "--raster-out", tmp_path / "o.tif")
    assert (done.code, "would both write o.qml" in done.last, list(tmp_path.iterdir())) == (2, True, [])


def test_the_raster_is_never_written_over_itself(folder) -> None:
    before = (folder / "map.tif").read_bytes()
    done = geoseg(
        "vectorize", folder / "map.tif", "-o", folder / "o.gpkg", "--raster-out", folder / "map.tif", "--overwrite"
    )
    assert (done.code, "is also an input" in done.last) == (73, True)
    assert (folder / "map.tif").read_bytes() == before


def test_sizes_that_mean_the_same_are_the_same_setting(folder, tmp_path) -> None:
    call = ["vectorize", folder / "map.tif", "-o", tmp_path / "o.fgb"]
    assert geoseg(*call, "--mmu", "0.9ha").code == 0
    for same in ("9000m2", "10px", "9 000m2".replace(" ", "")):
        assert "up to date" in geoseg(*call, "--mmu", same).out
    done = geoseg(*call, "--mmu", "11px")
    assert (done.code, "mmu.default" in done.last) == (73, True)


def test_nothing_at_all_goes_through(tmp_path) -> None:
    codes = np.full((1, 4, 5), 1, np.uint8)
    raster = write_raster(tmp_path / "m.tif", codes, crs="EPSG:32618", transform=NORTH_UP, nodata=NODATA)
    flags = ["--skip-classes", "1", "--mmu", "9px", "--simplify", "50", "--smooth", "--json"]
    done = geoseg("vectorize", raster, "-o", tmp_path / "o.gpkg", *flags)
    assert (done.code, json.loads(done.out)["n_polygons"]) == (0, 0), done.err
