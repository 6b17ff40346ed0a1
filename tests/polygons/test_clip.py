"""`--aoi`: polygons end exactly at the area's boundary, neighbors stay matched, and no band shows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from arc_maps import smooth_codes
from engine_kit import NODATA, class_maps, interpreted, text_codes
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS
from shapely import MultiPolygon, Polygon, box

from geoseg.errors import InputError
from geoseg.grid import Window
from geoseg.polygons import clip as clip_module
from geoseg.polygons import clip_kernels
from geoseg.polygons.arcs import Arcs
from geoseg.polygons.carry import carrier
from geoseg.polygons.clip import Clip
from geoseg.polygons.clip_area import Area, area_of
from geoseg.polygons.coverage import coverage
from geoseg.polygons.rings import PolygonBatch
from geoseg.polygons.simplify import Lenses, simplify_arcs
from geoseg.polygons.smooth import UNIT, smooth_arcs
from geoseg.polygons.survey import survey
from geoseg.polygons.vertex_bits import VertexBits

Codes = NDArray[np.uint8]


def polygonal(geometry: Any) -> MultiPolygon:
    """The polygons of whatever an operation left."""
    parts = shapely.get_parts(shapely.make_valid(geometry))
    parts = shapely.get_parts(parts[shapely.get_dimensions(parts) == 2])
    return MultiPolygon(list(parts))


@st.composite
def areas(draw: st.DrawFn, shape: tuple[int, int]) -> MultiPolygon:
    """One to three polygons with holes, their corners on corners or middles of pixels, on the lattice, or anywhere."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step = draw(st.sampled_from([1.0, 0.5, 1 / UNIT, 1e-9]))

    def corners(n: int) -> NDArray[np.float64]:
        return np.rint(rng.uniform(-1, [shape[1] + 1, shape[0] + 1], (n, 2)) / step) * step

    def figure(kind: str) -> Polygon:
        if kind == "box":
            ends = corners(2)
            return box(*ends.min(axis=0), *ends.max(axis=0))
        return Polygon(corners(3 if kind == "triangle" else 8))

    kinds = st.lists(st.sampled_from(["box", "triangle", "star"]), min_size=1, max_size=3)
    area = polygonal(shapely.union_all([polygonal(figure(kind)) for kind in draw(kinds)]))
    for kind in draw(kinds) if draw(st.booleans()) else []:
        area = polygonal(shapely.difference(area, polygonal(figure(kind))))
    return area


def area_on(geometry: Any, codes: Codes) -> Area:
    return area_of(polygonal(geometry), Affine.identity(), (codes.shape[0], codes.shape[1]))


def traced(
    codes: Codes, tolerance: float = 0.0, *, smooth: bool = False, band_rows: int | None = None
) -> list[PolygonBatch]:
    def read_rows(first: int, last: int) -> Codes:
        return codes[first:last]

    found = survey(read_rows, (codes.shape[0], codes.shape[1]), nodata=NODATA, band_rows=band_rows)
    bits, lenses = VertexBits(*codes.shape), Lenses(found.components.last_row)

    def shape_arcs(arcs: Arcs) -> Arcs:
        lenses.add(arcs)
        arcs = simplify_arcs(arcs, bits, lenses, tolerance_px2=tolerance)
        return smooth_arcs(arcs, bits) if smooth else arcs

    return list(coverage(read_rows, found, see_vertices=bits.add, shape_arcs=shape_arcs))


def geometry_of(batches: list[PolygonBatch]) -> NDArray[np.object_]:
    return np.concatenate([batch.geometry() for batch in batches])


def numbers_of(batches: list[PolygonBatch]) -> NDArray[np.int64]:
    return np.concatenate([batch.numbers for batch in batches])


def in_pixels(area: Area) -> Any:
    return shapely.transform(area.geometry, lambda xy: xy / UNIT)


def assert_matched(polygons: NDArray[np.object_]) -> None:
    """Nothing overlaps, and every edge inside the union is the edge of two polygons.

    GEOS' own test takes a void for a part of a polygon whose hole touches its exterior there.
    """
    assert shapely.is_valid(polygons).all()
    edges: Counter[tuple[Any, ...]] = Counter()
    touches_itself = False
    for polygon in polygons:
        rings = [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
        vertices = np.concatenate([ring[:-1] for ring in rings])
        touches_itself |= len(np.unique(vertices, axis=0)) < len(vertices)
        for ring in rings:
            edges.update((tuple(a), tuple(b)) for a, b in pairwise(ring))
        assert not shapely.is_ccw(polygon.exterior)  # where y points up
    assert set(edges.values()) <= {1}
    union = shapely.union_all(polygons)
    assert union.area == pytest.approx(shapely.area(polygons).sum(), abs=1e-7)
    alone = sum(np.hypot(a[0] - b[0], a[1] - b[1]) for a, b in edges if (b, a) not in edges)
    assert union.length == pytest.approx(alone, abs=1e-5)
    if not touches_itself:
        assert shapely.coverage_is_valid(polygons)


def assert_laws(codes: Codes, area: Area, tolerance: float, *, smooth: bool) -> None:
    before = traced(codes, tolerance, smooth=smooth, band_rows=5)
    unit, clip, exact = UNIT if smooth else 1, Clip(area), in_pixels(area)
    after = [clip.clipped(batch, unit) for batch in before]
    polygons, numbers = geometry_of(after), numbers_of(after)
    assert_matched(polygons)
    whole = shapely.transform(geometry_of(before), lambda xy: xy / unit)
    expected = shapely.area(shapely.intersection(whole, exact))
    made = np.bincount(numbers, weights=shapely.area(polygons), minlength=len(whole))
    np.testing.assert_allclose(made[numbers_of(before)], expected, atol=1e-7)
    rest = shapely.symmetric_difference(
        shapely.union_all(polygons), shapely.intersection(shapely.union_all(whole), exact)
    )
    assert rest.area < 1e-6


@settings(max_examples=120, deadline=None)
@given(st.data(), class_maps(most=16), st.sampled_from([0.0, 0.0, 1.1, 4.0, np.inf]), st.booleans(), st.booleans())
def test_laws_of_random_maps(data: st.DataObject, codes: Codes, tolerance: float, smooth: bool, only: bool) -> None:
    area = area_on(data.draw(areas(codes.shape)), codes)
    if only:  # as it is when files are read
        codes = np.where(area.touched(Window(0, 0, codes.shape[1], codes.shape[0])), codes, NODATA).astype(np.uint8)
    assert_laws(codes, area, tolerance, smooth=smooth)


@settings(max_examples=100, deadline=None)
@given(st.data(), class_maps(most=14), st.booleans(), st.integers(1, 14))
def test_bands_do_not_show(data: st.DataObject, codes: Codes, smooth: bool, band_rows: int) -> None:
    clip, unit = Clip(area_on(data.draw(areas(codes.shape)), codes)), UNIT if smooth else 1

    def rings(rows: int | None) -> list[tuple[int, bytes]]:
        found = [clip.clipped(batch, unit) for batch in traced(codes, 1.1, smooth=smooth, band_rows=rows)]
        return sorted(zip(numbers_of(found).tolist(), shapely.to_wkb(geometry_of(found)), strict=True))

    assert rings(band_rows) == rings(None)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 40), st.integers(1, 40))
@example(None, 17, 33)
def test_touched_pixels_are_those_with_some_area(data: st.DataObject | None, height: int, width: int) -> None:
    drawn = Polygon([(0, 0), (33, 17), (4, 9)]) if data is None else data.draw(areas((height, width)))
    area = area_of(polygonal(drawn), Affine.identity(), (height, width))
    cols, rows = np.meshgrid(np.arange(width), np.arange(height))
    covered = shapely.area(shapely.intersection(box(cols, rows, cols + 1, rows + 1), in_pixels(area)))
    touched = area.touched(Window(0, 0, width, height))
    assert touched[covered > 0].all()
    # An edge may pass a pixel so near to its corner that floats cannot tell.
    apart = shapely.distance(box(cols, rows, cols + 1, rows + 1), in_pixels(area)) > 1e-9
    assert not touched[apart].any()
    assert not touched[
        (covered == 0) & ~shapely.crosses(in_pixels(area).boundary, box(cols, rows, cols + 1, rows + 1))
    ].any()
    window = Window(width // 3, height // 2, width - width // 3, height - height // 2)
    np.testing.assert_array_equal(area.touched(window), touched[window.slices])
    assert area.meets_raster == touched.any()


def cut(text: str, geometry: Any) -> list[str]:
    codes = text_codes(text)
    polygons = geometry_of([Clip(area_on(geometry, codes)).clipped(batch) for batch in traced(codes)])
    assert_matched(polygons)
    return sorted(polygon.normalize().wkt for polygon in polygons)


def wkt(*geometries: Any) -> list[str]:
    return sorted(geometry.normalize().wkt for geometry in geometries)


def test_a_box_between_corners_by_hand() -> None:
    found = cut("1122 1122 1122 1122", box(0.5, 0.25, 3.5, 3.125))
    assert found == wkt(box(0.5, 0.25, 2, 3.125), box(2, 0.25, 3.5, 3.125))


def test_edges_along_pixels_leave_no_vertex_by_hand() -> None:
    found = cut("1122 1122 3333 3333", box(1, 1, 3, 4))
    left, right = box(1, 1, 2, 2), box(2, 1, 3, 2)
    below = Polygon([(1, 2), (2, 2), (3, 2), (3, 4), (1, 4)])
    assert found == wkt(left, right, below)


def test_corners_of_pixels_on_the_boundary_by_hand() -> None:
    """The diagonal runs through corners of all four polygons, of two of them only through one."""
    found = cut("1122 1122 3344 3344", Polygon([(0, 0), (4, 4), (0, 4)]))
    assert found == wkt(Polygon([(0, 0), (2, 2), (0, 2)]), box(0, 2, 2, 4), Polygon([(2, 2), (4, 4), (2, 4)]))


def test_a_corner_on_a_shared_edge_is_a_vertex_of_both_by_hand() -> None:
    """The area's corner (1, 2) touches the edge between the two; above nothing of it is left."""
    found = cut("1111 1111 2222 2222", Polygon([(1, 2), (0.5, 3), (1.5, 3)]))
    assert found == wkt(Polygon([(1, 2), (0.5, 3), (1.5, 3)]))
    notched = shapely.difference(box(0, 0, 4, 4), Polygon([(1, 2), (0.5, 3), (1.5, 3)]))
    upper = Polygon([(0, 0), (4, 0), (4, 2), (1, 2), (0, 2)])
    lower = Polygon([(0, 2), (1, 2), (4, 2), (4, 4), (0, 4)], [[(1, 2), (0.5, 3), (1.5, 3)]])
    assert cut("1111 1111 2222 2222", notched) == wkt(upper, lower)


def test_holes_and_islands_inside_one_polygon_by_hand() -> None:
    island = shapely.union_all([shapely.difference(box(0.5, 0.5, 3.5, 3.5), box(1, 1, 3, 3)), box(1.5, 1.5, 2.5, 2.5)])
    assert cut("1111 1111 1111 1111", island) == wkt(*shapely.get_parts(island))
    around = shapely.difference(box(-9, -9, 9, 9), box(1.25, 1.25, 1.75, 1.75))
    assert cut("1111 1111 1111 1111", around) == wkt(
        Polygon(box(0, 0, 4, 4).exterior, [box(1.25, 1.25, 1.75, 1.75).exterior])
    )


def test_one_component_in_several_parts() -> None:
    codes = text_codes("111111 122221 111111")
    area = area_on(shapely.union_all([box(0, 0, 6, 0.5), box(0, 2.5, 6, 3)]), codes)
    batches = [Clip(area).clipped(batch) for batch in traced(codes)]
    assert wkt(*geometry_of(batches)) == wkt(box(0, 0, 6, 0.5), box(0, 2.5, 6, 3))
    assert numbers_of(batches).tolist() == [0, 0]
    assert np.concatenate([batch.components.n_pixels for batch in batches]).tolist() == [14, 14]


def test_what_the_boundary_does_not_meet_stays_as_it_is() -> None:
    codes = smooth_codes(40, 2.5, 3).astype(np.uint8)
    around, beside = area_on(box(-50, -50, 90, 90), codes), area_on(box(50, 50, 90, 90), codes)
    assert not beside.meets_raster
    for before in traced(codes, 2.0):
        everything = Clip(around).clipped(before)
        np.testing.assert_array_equal(everything.corners, before.corners)
        np.testing.assert_array_equal(everything.ring_starts, before.ring_starts)
        np.testing.assert_array_equal(everything.polygon_starts, before.polygon_starts)
        assert len(Clip(beside).clipped(before)) == 0


def test_an_area_of_many_corners_over_many_polygons() -> None:
    """A star of 500 corners and a hundred round holes, over noise: most bins hold nothing, some very much."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (80, 80)).astype(np.uint8)
    angle, radius = np.linspace(0, 2 * np.pi, 500, endpoint=False), rng.uniform(30, 38, 500)
    star = shapely.make_valid(Polygon(40 + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])))
    holes = shapely.buffer(shapely.points(rng.uniform(20, 60, (100, 2))), 0.3)
    assert_laws(codes, area_on(shapely.difference(star, shapely.union_all(holes)), codes), 0.0, smooth=False)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:3857", "EPSG:32634", "EPSG:3413"])
def test_another_crs(target: str, smooth: bool) -> None:
    """A coarse UTM grid: edges of the area are long and bend, polygons come near to them."""
    codes = smooth_codes(48, 2.0, 5).astype(np.uint8)
    carry = carrier(Affine(500, 0, 7e5, 0, -500, 5.6e6), CRS("EPSG:32633"), CRS(target))
    area = area_on(Polygon([(3.3, 2.1), (46.2, 20.7), (30, 45.9), (1.1, 30.2)]), codes)
    batches = [Clip(area).clipped(batch, UNIT if smooth else 1) for batch in traced(codes, 4.0, smooth=smooth)]
    there = geometry_of([carry.carried(batch) for batch in batches])
    assert shapely.is_valid(there).all()
    assert shapely.coverage_is_valid(there)
    assert len(there) == len(geometry_of(batches)) > 20


def test_lines_along_the_area_stray_less_than_any_corner_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tip of polygon 1 ends 1/1024 pixel inside the area's straight edge, which bends by more in the other CRS.

    Mutation: the edge is cut into pieces as all others are, and runs beyond the tip.
    """
    codes = np.full((40, 40), 2, np.uint8)
    codes[20:22, 20] = 1
    carry = carrier(Affine(2000, 0, 7e5, 0, -2000, 7.6e6), CRS("EPSG:32633"), CRS("EPSG:4326"))
    results = []
    for stray in (None, 0.01):
        if stray is not None:
            monkeypatch.setattr("geoseg.polygons.carry._STRAY_AT_AOI_PX", stray)
        valid = True
        for area in (box(1, 1, 39, 22 + 1 / UNIT), box(1, 20 - 1 / UNIT, 39, 39)):
            batches = [Clip(area_on(area, codes)).clipped(batch) for batch in traced(codes)]
            there = geometry_of([carry.carried(batch) for batch in batches])
            valid &= bool(shapely.is_valid(there).all()) and bool(shapely.coverage_is_valid(there))
        results.append(valid)
    assert results == [True, False]


def test_a_raster_beyond_the_lattice_is_refused() -> None:
    with pytest.raises(InputError, match="1048577 × 3 pixels is too large to be cut by an AOI"):
        area_of(MultiPolygon([box(0, 0, 1, 1)]), Affine.identity(), (2**20 + 1, 3))


SLANTED = Polygon([(0.3, 0.4), (7.9, 1.2), (4, 4), (6.1, 7.7), (1, 3)])


def broken(monkeypatch: pytest.MonkeyPatch, **kernels: Any) -> bool:
    """Whether the laws fail with kernels run as plain Python, some of them replaced."""
    codes = np.random.default_rng(2).integers(0, 3, (8, 8)).astype(np.uint8)
    with monkeypatch.context() as mutated:
        mutated.setattr(clip_module, "find_meetings", interpreted(clip_kernels, **kernels)["find_meetings"])
        try:
            assert_laws(codes, area_on(SLANTED, codes), 0.0, smooth=False)
        except AssertionError:
            return True
    return False


def test_mutation_crossings_are_rounded_for_each_polygon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbors come one after the other; what each makes of the same crossing must be the same to the last bit."""
    exact, calls = clip_kernels.crossing.py_func, Counter[str]()

    def rounded(*ends: int) -> tuple[float, float, float]:
        calls["crossing"] += 1
        x, y, part = exact(*ends)
        return x + 1e-9 * (calls["crossing"] % 7), y, part

    assert not broken(monkeypatch)
    assert broken(monkeypatch, crossing=rounded)


def test_mutation_vertices_on_lines_are_no_meetings(monkeypatch: pytest.MonkeyPatch) -> None:
    """(4, 4), a corner of the area, is one of pixels, too."""
    exact = clip_kernels.side.py_func
    assert broken(monkeypatch, side=lambda *points: exact(*points) or 1)
