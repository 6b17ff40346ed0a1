"""Laws 4 … 6 on real class maps, through the command line: one test a map and setting.

With `-rP` each test tells its figures as one line of a Markdown table, as RESULTS.md of the benchmarks has them.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from cli_kit import geoseg
from rasterio.windows import Window
from scipy import ndimage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MAPS = {"iowa": "iowa_cdl2016_labels_8000.tif", "outer banks": "nc_outer_banks_ccap_labels.tif"}
SETTINGS = (
    "",
    "--simplify 10",
    "--simplify 50",
    "--simplify 500",
    "--smooth",
    "--simplify 50 --smooth",
    "--mmu 1ha",
    "--mmu 10ha",
    "--mmu 1ha --mmu-connect 8",
    "--mmu 1ha --simplify 50 --smooth",
    "--max-vertices 200",
    "--max-vertices 2000",
    "--max-vertices 2000 --simplify 50 --smooth",
)
OUT_CRS = ("UTM", "EPSG:3857", "EPSG:3413", "EPSG:4326")
UTM = {"iowa": "EPSG:32614", "outer banks": "EPSG:32618"}
CROPS = {"iowa": Window(2500, 2500, 1500, 1500), "outer banks": Window(300, 1800, 700, 700)}


def name_of(source: Path) -> str:
    return next(name for name, file in MAPS.items() if file == source.name)


@pytest.fixture(scope="module", params=MAPS)
def source(request, shared) -> Path:
    path = shared / "scale_rasters" / MAPS[request.param]
    if not path.is_file():
        pytest.skip(f"the class map {path.name} is not among the shared data")
    return path


@pytest.fixture(scope="module")
def crop(source, tmp_path_factory) -> Path:
    """A piece of the map on its own grid, with all that the whole has: coast, fields, nodata if there is any."""
    path, window = tmp_path_factory.mktemp("crop") / source.name, CROPS[name_of(source)]
    with rasterio.open(source) as dataset:
        place = {"width": window.width, "height": window.height, "transform": dataset.window_transform(window)}
        with rasterio.open(path, "w", **dataset.profile | place) as target:
            target.write(dataset.read(window=window))
    return path


def codes_of(path: Path) -> tuple[np.ndarray, np.ndarray, Affine]:
    """(row, col) codes, where they are valid, and the transform."""
    with rasterio.open(path) as dataset:
        codes = dataset.read(1)
        return codes, codes != dataset.nodata, dataset.transform


def coverage_is_valid(geometry: np.ndarray) -> bool:
    """`shapely.coverage_is_valid`, but by `unmatched_m` where that would take minutes.

    GEOS compares each polygon with all edges of every one whose envelope it meets: the sea, 59,000 times.
    """
    n = shapely.get_num_coordinates(geometry)
    if len(n) * float(n.max()) < 3e8:
        return bool(shapely.coverage_is_valid(geometry))
    return not math.isnan(unmatched_m(geometry))


def unmatched_m(geometry: np.ndarray) -> float:
    """Length of all edges that only one polygon has; NaN where polygons cannot be a coverage.

    With interiors on the left of every ring, no two polygons may have one edge in one direction, and edges may meet at
    their ends only. Then two polygons overlap only if one lies within the other without sharing an edge, which the sum
    of areas tells, or the length given back, which is that of the map's outline if there are neither gaps nor islands.
    """
    xy, ring = shapely.get_coordinates(shapely.get_rings(geometry), return_index=True)
    places, at = np.unique(xy[:, 0] + 1j * xy[:, 1], return_inverse=True)
    within = ring[:-1] == ring[1:]
    start, end = at[:-1][within], at[1:][within]
    there, back = start * len(places) + end, end * len(places) + start
    edges = np.unique(np.stack([np.minimum(start, end), np.maximum(start, end)], axis=1), axis=0)
    lines = shapely.linestrings(np.stack([places[edges].real, places[edges].imag], axis=2))
    if len(np.unique(there)) < len(there) or not shapely.is_simple(shapely.multilinestrings(lines)):
        return math.nan
    alone = ~np.isin(there, back)
    return float(np.abs(places[end[alone]] - places[start[alone]]).sum())


def outline_m(valid: np.ndarray, transform: Affine) -> float:
    """Length of all lines between valid pixels and what is not, the frame included, of a north-up raster."""
    there = np.pad(valid, 1).astype(np.int8)
    return float((np.diff(there, axis=1) != 0).sum() * -transform.e + (np.diff(there, axis=0) != 0).sum() * transform.a)


def assert_valid(table: gpd.GeoDataFrame) -> None:
    geometry = np.asarray(table.geometry.array)
    assert shapely.is_valid(geometry).all()
    assert shapely.is_ccw(shapely.get_exterior_ring(geometry)).all()
    assert coverage_is_valid(geometry)


def vectorized(raster: Path, output: Path, *flags: object) -> tuple[gpd.GeoDataFrame, float]:
    """The polygons as written, and the seconds of the command."""
    start = time.perf_counter()
    done = geoseg("vectorize", raster, "-o", output, *flags)
    seconds = time.perf_counter() - start
    assert done.code == 0, done.err
    return pyogrio.read_dataframe(output).sort_values("poly_id", kind="stable", ignore_index=True), seconds


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda flags: flags or "raw")
def test_every_setting_keeps_the_laws(source, tmp_path, setting: str) -> None:
    """Polygons are SciPy's components of the raster written beside them, a valid coverage, and cover it exactly."""
    out = tmp_path / "generalized.tif"
    table, seconds = vectorized(source, tmp_path / "o.fgb", *setting.split(), "--raster-out", out)
    assert_valid(table)
    codes, valid, transform = codes_of(out)
    before = codes_of(source)
    np.testing.assert_array_equal(valid, before[1])
    if "--mmu" not in setting:
        np.testing.assert_array_equal(codes, before[0])
    components = table.drop_duplicates("poly_id")
    assert len(components) == len(table) or "--max-vertices" in setting
    expected = {int(code): ndimage.label(codes == code)[1] for code in np.unique(codes[valid])}
    assert components.class_id.value_counts().to_dict() == expected
    # Lines along nodata and the frame stay, so the ground covered does; unshaped it does class by class.
    area, pixel = shapely.area(table.geometry.array), abs(transform.determinant)
    assert area.sum() == pytest.approx(valid.sum() * pixel, rel=1e-9)
    assert unmatched_m(np.asarray(table.geometry.array)) == pytest.approx(outline_m(valid, transform), rel=1e-9)
    if "--simplify" not in setting and "--smooth" not in setting:
        for code in expected:
            assert area[table.class_id == code].sum() == pytest.approx((codes == code).sum() * pixel, rel=1e-9)
    if "--max-vertices" in setting:
        rings = 1 + shapely.get_num_interior_rings(table.geometry.array)
        n_vertices = shapely.get_num_coordinates(table.geometry.array) - rings
        assert n_vertices.max() <= int(setting.split()[1])
    vertices = int(shapely.get_num_coordinates(table.geometry.array).sum())
    print(f"| {name_of(source)} | {setting or 'raw'} | {len(table):,} | {vertices:,} | {seconds:.1f} s | yes |")


@pytest.mark.parametrize(
    "setting", ["", "--simplify 50", "--smooth", "--simplify 50 --smooth"], ids=lambda s: s or "raw"
)
@pytest.mark.parametrize("crs", OUT_CRS)
def test_another_crs_is_a_valid_coverage_of_the_same_polygons(source, crop, tmp_path, crs: str, setting: str) -> None:
    own, _ = vectorized(crop, tmp_path / "own.fgb", *setting.split())
    target = UTM[name_of(source)] if crs == "UTM" else crs
    there, _ = vectorized(crop, tmp_path / "there.fgb", *setting.split(), "--out-crs", target)
    assert there.crs == target
    assert_valid(there)
    assert there.poly_id.equals(own.poly_id)
    assert there.area_m2.equals(own.area_m2)


@pytest.mark.parametrize("shift", [1e-3, -1e-3])
def test_edges_tell_what_geos_tells(crop, tmp_path, shift: float) -> None:
    """Mutation: a millimeter at any polygon that has neighbors all around turns both checks red."""
    table, _ = vectorized(crop, tmp_path / "o.fgb", "--simplify", "50")
    geometry = np.asarray(table.geometry.array)
    assert shapely.coverage_is_valid(geometry)
    with rasterio.open(crop) as dataset:
        outline = outline_m(dataset.read(1) != dataset.nodata, dataset.transform)
    assert unmatched_m(geometry) == pytest.approx(outline, rel=1e-9)
    inner = np.flatnonzero(shapely.contains_properly(shapely.coverage_union_all(geometry), geometry))
    for at in (inner[np.argmax(shapely.area(geometry[inner]))], *inner[:: len(inner) // 5]):
        moved = geometry.copy()
        moved[at] = shapely.transform(geometry[at], lambda xy: xy + shift)
        assert not shapely.coverage_is_valid(moved)
        assert unmatched_m(moved) != pytest.approx(outline, rel=1e-9)
