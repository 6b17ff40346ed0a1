"""Class rasters × zones: oracles, partitions, overlaps, other CRSs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from builders import NORTH_UP
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer
from zone_kit import PX, THREE, class_raster, in_memory, map_total_m2, pixel_edges, polygonal, square, table_of

from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.ground import area_model
from geoseg.io import zone_sums
from geoseg.io.class_raster import open_class_raster, read_codes
from geoseg.io.recode import Recoding
from geoseg.io.zone_sums import Layer, Mosaic
from geoseg.zones.shares import shares
from geoseg.zones.table import areas_m2

DEGREES = Affine(2e-3, 0, -75.5, 0, -2e-3, 38.2)
CODES = np.array([1, 2, 7, 255], np.uint8)


def random_codes(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(CODES, (height, width), p=[0.4, 0.3, 0.2, 0.1])


@pytest.fixture(scope="module")
def utm_map(tmp_path_factory) -> Path:
    return class_raster(tmp_path_factory.mktemp("utm") / "map.tif", random_codes(1, 37, 41))


@pytest.fixture(scope="module")
def degree_map(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("degrees")
    return class_raster(folder / "map.tif", random_codes(2, 37, 41), crs="EPSG:4326", transform=DEGREES)


def places(grid: Grid, shares: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [grid.transform @ (x * grid.width, y * grid.height) for x, y in shares]


# ---- by hand


def test_a_zone_that_halves_pixels(tmp_path: Path) -> None:
    path = class_raster(
        tmp_path / "m.tif",
        [
            [1, 1, 2, 2],
            [1, 1, 2, 2],
            [1, 255, 7, 7],
            [1, 1, 7, 7],
        ],
    )
    table = table_of(path, [square(0.5, 1, 2.5, 3), square(3, 2, 6, 4)])
    # Zone 0: half of (1,0), (1,1), half of (1,2); half of (2,0), nodata (2,1), half of (2,2).
    px = PX * PX
    assert table.class_m2.tolist() == [[2 * px, 0.5 * px, 0.5 * px], [0, 0, 2 * px]]
    assert table.nodata_m2.tolist() == [1 * px, 0]
    assert table.outside_m2 == pytest.approx([0, 4 * px], rel=1e-4)
    assert table.outside_m2[0] == 0


def test_a_zone_off_the_map_is_unobserved_as_a_whole(utm_map: Path) -> None:
    table = table_of(utm_map, [square(100, 100, 110, 120), square(0, 0, 5, 5)])
    assert not table.class_m2[0].any()
    assert table.nodata_m2[0] == 0
    assert table.unobserved_m2[0] == pytest.approx(200 * PX * PX, rel=1e-12)
    assert table.outside_m2[1] == 0


def test_a_zone_on_another_continent_is_unobserved(utm_map: Path) -> None:
    """No vertex of it can be drawn in the raster's UTM zone, which folds the far side of the Earth onto itself."""
    table = table_of(utm_map, [shapely.box(100, 10, 110, 20)], "EPSG:4326")
    expected = abs(
        Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(shapely.box(100, 10, 110, 20), 0.01))[0]
    )
    assert table.unobserved_m2[0] == pytest.approx(expected, rel=1e-6)
    assert not table.class_m2.any()


# ---- oracles


outline = st.lists(st.tuples(st.floats(-0.3, 1.3), st.floats(-0.3, 1.3)), min_size=3, max_size=8)


@given(corners=outline)
def test_equal_to_exactextract(utm_map: Path, corners: list[tuple[float, float]]) -> None:
    """To the 32 bits in which that library keeps the shares of border pixels."""
    raster = open_class_raster(utm_map)
    zone = polygonal(shapely.Polygon(places(raster.grid, corners)))
    assume(not zone.is_empty)
    codes = read_codes(raster)
    source = NumPyRasterSource(codes.astype(np.int32), *raster.grid.bounds)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(zone)}
    found = exact_extract(source, [feature], ["unique", "frac", "count"])[0]["properties"]
    theirs = dict(zip(found["unique"].tolist(), (found["frac"] * found["count"]).tolist(), strict=True))
    table = table_of(utm_map, [zone])
    ours = dict(zip([1, 2, 7, 255], [*table.class_m2[0] / PX**2, table.nodata_m2[0] / PX**2], strict=True))
    border = 4 * (shapely.length(zone) / PX + 1)
    for code, pixels in ours.items():
        assert pixels == pytest.approx(theirs.get(code, 0), abs=border * 2.0**-24, rel=1e-12)


@given(corners=outline)
def test_equal_to_overlay_of_pixels(degree_map: Path, corners: list[tuple[float, float]]) -> None:
    raster = open_class_raster(degree_map)
    zone = polygonal(shapely.Polygon(places(raster.grid, corners)))
    assume(not zone.is_empty)
    cols, rows = np.meshgrid(range(raster.grid.width), range(raster.grid.height))
    left, top = DEGREES @ (cols, rows)
    right, bottom = DEGREES @ (cols + 1, rows + 1)
    covered = shapely.area(shapely.intersection(shapely.box(left, bottom, right, top), zone)) / DEGREES.a**2
    m2 = covered * area_model(raster.grid).pixel_areas(raster.grid)[:, None]
    codes = read_codes(raster)
    table = table_of(degree_map, [zone], "EPSG:4326")
    expected = [m2[codes == code].sum() for code in (1, 2, 7, 255)]
    np.testing.assert_allclose([*table.class_m2[0], table.nodata_m2[0]], expected, rtol=1e-9, atol=1e-6)


# ---- laws


@pytest.mark.parametrize("geographic", [False, True])
@given(seeds=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=12, unique=True))
def test_a_partition_adds_up_to_the_map(
    utm_map, degree_map, geographic: bool, seeds: list[tuple[float, float]]
) -> None:
    path = degree_map if geographic else utm_map
    grid = open_class_raster(path).grid
    frame = shapely.Polygon(grid.corners())
    diagram = shapely.voronoi_polygons(shapely.MultiPoint(places(grid, seeds)), extend_to=frame.buffer(frame.length))
    cells = list(shapely.get_parts(diagram))
    assume(len(cells) > 1 and shapely.union_all(cells).contains(frame))
    table = table_of(path, cells, grid.crs)
    for name, expected in map_total_m2(path).items():
        assert table.totals_m2[name] == pytest.approx(expected, rel=1e-9)
    whole = table.class_m2.sum() + table.nodata_m2.sum()
    assert whole == pytest.approx(area_model(grid).pixel_areas(grid).sum() * grid.width, rel=1e-9)


def test_a_partition_in_another_crs_adds_up(utm_map: Path) -> None:
    """Zones in longitude and latitude that share their vertices, on a UTM map."""
    grid = open_class_raster(utm_map).grid
    left, bottom, right, top = Transformer.from_crs(grid.crs, 4326, always_xy=True).transform_bounds(*grid.bounds)
    xs, ys = np.linspace(left - 0.01, right + 0.01, 8), np.linspace(bottom - 0.01, top + 0.01, 6)
    cells = [shapely.box(x0, y0, x1, y1) for x0, x1 in zip(xs, xs[1:]) for y0, y1 in zip(ys, ys[1:])]  # noqa: B905, RUF007
    table = table_of(utm_map, cells, "EPSG:4326")
    for name, expected in map_total_m2(utm_map).items():
        assert table.totals_m2[name] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("side", [1, 5, 16, 40, 41, 1000])
def test_windows_do_not_change_sums(degree_map: Path, side: int) -> None:
    grid = open_class_raster(degree_map).grid
    zones = [shapely.Polygon(places(grid, [(0.1, -0.2), (0.9, 0.3), (0.4, 1.1)])), shapely.Polygon(grid.corners())]
    raster = open_class_raster(degree_map)
    index_of = Recoding({code: index for index, code in enumerate(raster.scheme.codes)}, 3, np.int64)
    mosaic = Mosaic((Layer(raster, index_of, 3),), in_memory(zones, grid.crs))
    for found, expected in zip(mosaic.sums(side), mosaic.sums(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("geographic", [False, True])
def test_pixels_and_geometry_measure_the_same(utm_map, degree_map, geographic: bool) -> None:
    path = degree_map if geographic else utm_map
    grid = open_class_raster(path).grid
    zone = shapely.Polygon(places(grid, [(0.1, 0.2), (0.93, 0.31), (0.77, 0.86), (0.21, 0.7)]))
    table = table_of(path, [zone], grid.crs)
    assert table.outside_m2[0] == 0
    [expected] = areas_m2(np.array([zone]), grid.crs)
    assert table.observed_m2[0] + table.unobserved_m2[0] == pytest.approx(expected, rel=1e-6)


# ---- several rasters


def test_overlaps_count_once_and_the_first_raster_with_a_class_wins(tmp_path: Path) -> None:
    first = class_raster(tmp_path / "a.tif", [[1, 1, 255, 255]] * 4)
    second = class_raster(tmp_path / "b.tif", [[2, 2, 2, 255]] * 4, transform=NORTH_UP @ Affine.translation(1, 0))
    zone = square(0, 0, 6, 4)
    px = PX * PX
    one = table_of([first, second], [zone])
    assert one.class_m2.tolist() == [[8 * px, 8 * px, 0]]  # column 0, 1 water; 2, 3 trees
    assert one.nodata_m2.tolist() == [4 * px]  # column 4: only the second is there, and has nothing
    assert one.outside_m2 == pytest.approx([4 * px], rel=1e-4)
    other = table_of([second, first], [zone])
    assert other.class_m2.tolist() == [[4 * px, 12 * px, 0]]
    assert other.nodata_m2.tolist() == [4 * px]


def test_the_same_raster_twice_changes_nothing(utm_map: Path) -> None:
    zones = [square(-2, 3.3, 30, 20.5), square(5, 5, 60, 50)]
    once, twice = table_of(utm_map, zones), table_of([utm_map, utm_map], zones)
    assert twice.class_m2.tolist() == once.class_m2.tolist()
    assert twice.nodata_m2.tolist() == once.nodata_m2.tolist()
    np.testing.assert_allclose(twice.outside_m2, once.outside_m2, rtol=1e-12)


@given(data=st.data())
def test_tiles_of_a_map_are_the_map(utm_map: Path, tmp_path: Path, data: Any) -> None:
    """Overlapping windows of one map, in any order, give what the map gives, on land and off it."""
    raster = open_class_raster(utm_map)
    codes, grid = read_codes(raster), raster.grid
    cut = data.draw(st.integers(5, 35))
    lap = data.draw(st.integers(0, 4))
    pieces = [(0, min(cut + lap, grid.width)), (cut, grid.width)]
    paths = [
        class_raster(tmp_path / f"{a}.tif", codes[:, a:b], transform=grid.transform @ Affine.translation(a, 0))
        for a, b in data.draw(st.permutations(pieces))
    ]
    zones = [square(-3, 2.5, 38.2, 33), square(10, 10, 50, 30)]
    whole, parts = table_of(utm_map, zones), table_of(paths, zones)
    np.testing.assert_allclose(parts.class_m2, whole.class_m2, rtol=1e-12)
    np.testing.assert_allclose(parts.nodata_m2, whole.nodata_m2, rtol=1e-12)
    np.testing.assert_allclose(parts.outside_m2, whole.outside_m2, rtol=1e-5)


def test_large_lookups_are_read_in_parts(utm_map: Path, tmp_path: Path, monkeypatch) -> None:
    """A fine raster under a coarse one: the window that lies under a window is larger than the budget."""
    coarse = class_raster(tmp_path / "c.tif", random_codes(3, 5, 5), transform=NORTH_UP @ Affine.scale(8))
    zones = [square(0, 0, 40, 40)]
    expected = table_of([utm_map, coarse], zones).class_m2
    monkeypatch.setattr(zone_sums, "_LOOKUP_PX", 50)
    assert table_of([utm_map, coarse], zones).class_m2.tolist() == expected.tolist()


def test_rasters_of_two_utm_zones_over_one_another(tmp_path: Path) -> None:
    """The same uniform square 10 km wide in two UTM zones: its ground counts once."""
    to_next = Transformer.from_crs(32618, 32617, always_xy=True)
    here = Affine(100, 0, 240_000, 0, -100, 4_200_000)
    x, y = to_next.transform(here.c + 5000, here.f - 5000)
    there = Affine(100, 0, x - 8000, 0, -100, y + 8000)  # 16 km: covers the first, turned by some degrees
    first = class_raster(tmp_path / "a.tif", np.full((100, 100), 1), transform=here)
    second = class_raster(tmp_path / "b.tif", np.full((160, 160), 2), transform=there, crs="EPSG:32617")
    zone = shapely.box(x - 8000, y - 8000, x + 8000, y + 8000)
    table = table_of([first, second], [zone], "EPSG:32617")
    assert table.class_m2[0, 0] == pytest.approx(1e8, rel=2e-3)
    assert table.class_m2[0].sum() == pytest.approx(256e6, rel=2e-3)
    assert table.unobserved_m2[0] < 1


# ---- places


@pytest.mark.parametrize("shift", [-360, 0, 360])
def test_longitudes_are_a_circle(tmp_path: Path, shift: float) -> None:
    """A raster across the antimeridian in 0…360; zones in either count, and cut at 180 or not."""
    path = class_raster(
        tmp_path / "m.tif", random_codes(4, 20, 40), crs="EPSG:4326", transform=Affine(0.1, 0, 178, 0, -0.1, -16)
    )
    zone = shapely.box(178.55, -17.5, 181.25, -16.33)
    expected = table_of(path, [zone], "EPSG:4326")
    assert expected.observed_m2[0] > 0
    assert expected.outside_m2[0] == 0
    moved = shapely.affinity.translate(zone, shift)
    halves = shapely.MultiPolygon([shapely.box(178.55, -17.5, 180, -16.33), shapely.box(-180, -17.5, -178.75, -16.33)])
    for other in (moved, halves):
        table = table_of(path, [other], "EPSG:4326")
        np.testing.assert_allclose(table.class_m2, expected.class_m2, rtol=1e-9)
        assert table.outside_m2[0] == 0


def test_a_zone_of_half_the_world_holds_the_map(utm_map: Path) -> None:
    table = table_of(utm_map, [shapely.box(-170, -80, 175, 84)], "EPSG:4326")
    assert table.totals_m2 == pytest.approx(map_total_m2(utm_map), rel=1e-9)
    [world] = areas_m2(np.array([shapely.box(-170, -80, 175, 84)]), CRS(4326))
    seen = table.observed_m2[0] + table.nodata_m2[0]
    assert table.outside_m2[0] == pytest.approx(world - seen, rel=1e-9)


def test_a_map_of_the_world_under_zones_in_utm(tmp_path: Path) -> None:
    """UTM can draw no frame of the world; what is near the zones is enough."""
    world = class_raster(
        tmp_path / "w.tif", np.ones((360, 720)), crs="EPSG:4326", transform=Affine(0.5, 0, -180, 0, -0.5, 90)
    )
    north = class_raster(
        tmp_path / "n.tif", np.ones((200, 720)), crs="EPSG:4326", transform=Affine(0.5, 0, -180, 0, -0.25, 90)
    )
    zone = shapely.box(3e5, 4.40e6, 7e5, 4.44e6)
    [area] = areas_m2(np.array([zone]), CRS(32660))
    table = table_of(world, [zone], "EPSG:32660")
    assert table.outside_m2[0] == 0
    assert table.class_m2[0, 0] == pytest.approx(area, rel=2e-3)
    part = table_of(north, [zone], "EPSG:32660")  # reaches down to 40° N, 4 427 757 m on the central meridian
    assert 0.2 * area < part.outside_m2[0] < 0.8 * area
    assert part.class_m2[0, 0] + part.outside_m2[0] == pytest.approx(area, rel=2e-3)


def test_zones_across_the_antimeridian_on_a_utm_map(tmp_path: Path) -> None:
    transform = Affine(1000, 0, 750_000, 0, -1000, 8_200_000)
    path = class_raster(tmp_path / "m.tif", np.ones((80, 150)), crs="EPSG:32760", transform=transform)
    west, east = shapely.box(179.5, -16.7, 180, -16.5), shapely.box(-180, -16.7, -179.8, -16.5)
    one = table_of(path, [shapely.MultiPolygon([west, east])], "EPSG:4326")
    expected = areas_m2(np.array([west, east]), CRS(4326)).sum()
    assert one.class_m2[0, 0] == pytest.approx(expected, rel=2e-3)
    assert one.outside_m2[0] == 0
    over = table_of(path, [shapely.box(179.5, -16.7, 180.2, -16.5)], "EPSG:4326")
    np.testing.assert_allclose(over.class_m2, one.class_m2, rtol=1e-6)


def test_a_zone_across_the_seam_of_the_rasters_crs_is_refused(tmp_path: Path) -> None:
    path = class_raster(
        tmp_path / "m.tif", np.ones((4, 4)), crs="EPSG:3857", transform=Affine(1e7, 0, -2e7, 0, -1e7, 2e7)
    )
    with pytest.raises(InputError, match=r"zone 0 on .*m\.tif.*seam .*cut the zone there"):
        table_of(path, [shapely.box(170, -10, 190, 10)], "EPSG:4326")


def test_a_polar_map_and_a_zone_round_the_pole(tmp_path: Path) -> None:
    """A cap in longitude and latitude on a polar grid, and a disk of a polar CRS on a grid of degrees."""
    transform = Affine(20_000, 0, -1e6, 0, -20_000, 1e6)
    polar = class_raster(tmp_path / "p.tif", np.ones((100, 100)), crs="EPSG:3413", transform=transform)
    cap = shapely.box(-180, 85, 180, 90)
    area = areas_m2(np.array([cap]), CRS(4326))[0]
    table = table_of(polar, [cap], "EPSG:4326")
    assert table.outside_m2[0] == 0
    assert table.observed_m2[0] == pytest.approx(area, rel=1e-3)
    degrees = class_raster(
        tmp_path / "d.tif", np.ones((80, 720)), crs="EPSG:4326", transform=Affine(0.5, 0, -180, 0, -0.25, 90)
    )
    radius = abs(Transformer.from_crs(4326, 3413, always_xy=True).transform(-45, 85)[1])
    disk = shapely.Point(0, 0).buffer(radius, 90)
    found = table_of(degrees, [disk], "EPSG:3413")
    assert found.observed_m2[0] == pytest.approx(area, rel=1e-3)


def test_a_long_edge_stays_straight_where_it_was_drawn(tmp_path: Path) -> None:
    """The parallel 37.5° N, given by two vertices, is an arc in UTM; 3° of it rise 1 km above the chord."""
    transform = Affine(500, 0, 370_000, 0, -500, 4_300_000)
    path = class_raster(tmp_path / "m.tif", np.ones((480, 520)), transform=transform)
    zone = shapely.box(-76.4, 37.0, -73.6, 37.5)
    table = table_of(path, [zone], "EPSG:4326")
    assert table.observed_m2[0] == pytest.approx(areas_m2(np.array([zone]), CRS(4326))[0], rel=1e-3)
    strip = table_of(path, [shapely.box(-76.4, 37.5, -73.6, 37.52)], "EPSG:4326")
    together = table_of(path, [shapely.box(-76.4, 37.0, -73.6, 37.52)], "EPSG:4326")
    both = table.class_m2 + strip.class_m2
    np.testing.assert_allclose(both, together.class_m2, rtol=1e-8)


@pytest.mark.parametrize(
    "transform",
    [Affine(10, 0, 500_000, 0, 10, 4_200_000), NORTH_UP @ Affine.rotation(30), Affine(0, 10, 5e5, 20, 0, 4.2e6)],
)
def test_any_affine(tmp_path: Path, transform: Affine) -> None:
    codes = random_codes(5, 12, 9)
    path = class_raster(tmp_path / "m.tif", codes, transform=transform)
    corners = [(1, 1), (7.5, 2), (6, 11), (-1, 8)]
    zone = shapely.Polygon([transform @ corner for corner in corners])
    covered = shares(pixel_edges(shapely.Polygon(corners)), Window(0, 0, 9, 12))
    px = abs(transform.determinant)
    table = table_of(path, [zone])
    expected = [covered[codes == c.code].sum() * px for c in THREE.classes]
    np.testing.assert_allclose(table.class_m2[0], expected, rtol=1e-9, atol=1e-5)
