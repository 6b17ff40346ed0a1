from __future__ import annotations

import numpy as np
import pytest
import shapely
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from hypothesis import assume, given
from hypothesis import strategies as st
from zone_kit import pixel_edges, polygonal

from geoseg.grid import Window
from geoseg.zones.shares import Edges, shares, window_of

FLOAT32 = 2.0**-23
"""Precision in which exactextract keeps shares."""

coordinates = st.one_of(
    st.integers(-3, 12).map(float),
    st.integers(-6, 24).map(lambda n: n / 2),
    st.floats(-3, 12, allow_nan=False).map(lambda v: round(v, 6)),
)
outlines = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=14)
windows = st.builds(Window, st.integers(-2, 5), st.integers(-2, 5), st.integers(1, 8), st.integers(1, 8))


def by_overlay(polygon: shapely.Geometry, window: Window) -> np.ndarray:
    """The oracle: each pixel's square cut with the polygon."""
    cols, rows = np.meshgrid(range(window.col_off, window.col_end), range(window.row_off, window.row_end))
    return shapely.area(shapely.intersection(shapely.box(cols, rows, cols + 1, rows + 1), polygon))


@given(points=outlines, window=windows)
def test_shares_are_areas_of_overlay(points: list[tuple[float, float]], window: Window) -> None:
    polygon = polygonal(shapely.Polygon(points))
    assume(not polygon.is_empty)
    np.testing.assert_allclose(shares(pixel_edges(polygon), window), by_overlay(polygon, window), rtol=0, atol=1e-12)


@given(points=outlines)
def test_shares_are_those_of_exactextract(points: list[tuple[float, float]]) -> None:
    polygon = polygonal(shapely.Polygon(points))
    assume(not polygon.is_empty)
    got = shares(pixel_edges(polygon), Window(0, 0, 9, 8))
    source = NumPyRasterSource(np.ones((8, 9), np.int32), 0, 0, 9, 8)
    upright = shapely.transform(polygon, lambda xy: np.column_stack((xy[:, 0], 8 - xy[:, 1])))
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(upright)}
    found = exact_extract(source, [feature], ["coverage", "cell_id"])[0]["properties"]
    expected = np.zeros(72)
    expected[found["cell_id"]] = found["coverage"]
    np.testing.assert_allclose(got.ravel(), expected, rtol=0, atol=2 * FLOAT32)


def test_half_pixels_by_hand() -> None:
    diamond = shapely.Polygon([(2, 0), (4, 2), (2, 4), (0, 2)])
    assert shares(pixel_edges(diamond), Window(0, 0, 4, 4)).tolist() == [
        [0, 0.5, 0.5, 0],
        [0.5, 1, 1, 0.5],
        [0.5, 1, 1, 0.5],
        [0, 0.5, 0.5, 0],
    ]


def test_a_hole_is_not_covered() -> None:
    ring = shapely.box(0, 0, 4, 4).difference(shapely.box(1, 1, 2.5, 3))
    assert shares(pixel_edges(ring), Window(0, 0, 4, 4)).tolist() == [
        [1, 1, 1, 1],
        [1, 0, 0.5, 1],
        [1, 0, 0.5, 1],
        [1, 1, 1, 1],
    ]


@given(points=st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=9, unique=True))
def test_neighbors_cover_pixels_to_one_together(points: list[tuple[float, float]]) -> None:
    """Cells of a Voronoi diagram share their edges, vertex by vertex."""
    frame = shapely.box(0, 0, 9, 8)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=frame))
    window = Window(0, 0, 9, 8)
    assume(shapely.union_all(cells).buffer(1e-6).contains(frame))
    total = sum(shares(pixel_edges(cell), window) for cell in cells)
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-11)


@given(points=outlines, size=st.integers(1, 9))
def test_windows_see_the_same(points: list[tuple[float, float]], size: int) -> None:
    polygon = polygonal(shapely.Polygon(points))
    assume(not polygon.is_empty)
    whole = Window(-3, -3, 15, 15)
    edges = pixel_edges(polygon)
    at_once = shares(edges, whole)
    for part in whole.split(size):
        there = at_once[part.relative_to(whole).slices]
        near = window_of(edges, part)
        if near is None:
            assert not there.any()
            continue
        found = np.zeros(part.shape)
        found[near.relative_to(part).slices] = shares(edges, near)
        np.testing.assert_allclose(found, there, rtol=0, atol=1e-13)


def test_what_is_not_touched_is_zero_and_what_is_full_is_one() -> None:
    """Rounding along a row of many edges leaves no dust that would give a class hectares of 1e-16."""
    comb = shapely.union_all([shapely.box(c + 0.1, 0.3, c + 0.7, 40) for c in range(0, 300, 3)])
    found = shares(pixel_edges(comb), Window(0, 0, 320, 50))
    assert (found[40:] == 0).all()
    assert (found[:, 1::3] == 0).all()
    wide = shares(pixel_edges(shapely.Polygon([(-7.3, 0), (7.9, 0), (8.3, 9), (-1.1, 9)])), Window(0, 0, 8, 9))
    assert (wide[:, 1:7] == 1).all()


def test_edges_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\)"):
        Edges(np.zeros((3, 2)))
