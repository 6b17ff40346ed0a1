from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from geoseg.errors import InputError
from geoseg.zones.carry import carried, surroundings, transformer

WGS84, UTM = CRS.from_epsg(4326), CRS.from_epsg(32618)


def ring(*points: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([*points, points[0]], float), np.array([0, len(points) + 1])


@given(
    lon=st.floats(-78, -74),
    lat=st.floats(-80, 80),
    width=st.floats(0.01, 3),
    height=st.floats(0.01, 3),
    stray=st.sampled_from([1e-3, 1.0, 100.0]),
)
def test_no_edge_strays_from_its_curve(lon: float, lat: float, width: float, height: float, stray: float) -> None:
    """Also where the middle of an edge lies on its chord by symmetry: across the equator, across the meridian."""
    way = transformer(WGS84, UTM)
    corners = np.array([(lon, lat), (lon + width, lat), (lon + width, lat + height), (lon, lat + height), (lon, lat)])
    xy, starts = carried(corners, np.array([0, 5]), way, stray)
    assert starts.tolist() == [0, len(xy)]
    t = np.linspace(0, 1, 97)[:, None]
    curve = np.concatenate([(1 - t) * a + t * b for a, b in pairwise(corners)])
    true = shapely.points(np.column_stack(way.transform(*curve.T)))
    assert shapely.distance(shapely.LineString(xy), true).max() <= 1.1 * stray + 1e-8


def test_a_ring_is_cut_no_finer_than_needed() -> None:
    short, _ = carried(*ring((-75, 38), (-74.999, 38), (-74.999, 38.001)), transformer(WGS84, UTM), 1.0)
    assert len(short) == 4
    many, starts = carried(*ring((-76, 38), (-74, 38), (-74, 39)), transformer(WGS84, UTM), 1.0)
    assert 30 < len(many) < 150
    assert starts[-1] == len(many)


def test_several_rings_stay_apart() -> None:
    one, two = ring((-76, 38), (-74, 38), (-74, 39)), ring((-75.5, 38.1), (-75.4, 38.1), (-75.4, 38.15))
    way = transformer(WGS84, UTM)
    xy, starts = carried(np.concatenate((one[0], two[0])), np.array([0, 4, 8]), way, 1.0)
    for index, (alone, _) in enumerate((one, two)):
        part = xy[starts[index] : starts[index + 1]]
        assert part[0].tolist() == part[-1].tolist() == pytest.approx(way.transform(*alone[0]))
        assert shapely.Polygon(part).area == pytest.approx(
            shapely.Polygon(carried(alone, np.array([0, 4]), way, 1.0)[0]).area, rel=1e-4
        )


def test_longitudes_run_on_across_the_antimeridian() -> None:
    way = transformer(CRS.from_epsg(32760), WGS84)
    xy, _ = carried(*ring((7e5, 8e6), (9.5e5, 8e6), (9.5e5, 8.1e6), (7e5, 8.1e6)), way, 1e-7)
    assert np.abs(np.diff(xy[:, 0])).max() < 3
    assert xy[:, 0].min() < 180 < xy[:, 0].max()


def test_a_ring_round_a_pole_is_closed_over_it() -> None:
    circle = shapely.get_coordinates(shapely.Point(0, 0).buffer(1e6, 40).exterior)
    south = transformer(CRS.from_epsg(3031), WGS84)
    xy, _ = carried(circle, np.array([0, len(circle)]), south, 1e-4)
    cap = shapely.Polygon(xy)
    assert cap.is_valid
    assert cap.bounds[1] == -90
    assert cap.bounds[2] - cap.bounds[0] == pytest.approx(360)


def test_a_jump_is_refused() -> None:
    with pytest.raises(InputError, match="cut the zone there"):
        carried(*ring((170, 0), (190, 0), (180, 10)), transformer(WGS84, CRS.from_epsg(3857)), 1.0)


def test_infinity_is_refused() -> None:
    with pytest.raises(InputError, match=r"beyond the domain of 'WGS 84 / Pseudo-Mercator'"):
        carried(*ring((0, 0), (10, 95), (10, 0)), transformer(WGS84, CRS.from_epsg(3857)), 1.0)


@given(x=st.floats(3e5, 7e5), y=st.floats(1e5, 9e6), size=st.floats(10, 1e5))
def test_surroundings_hold_the_rectangle(x: float, y: float, size: float) -> None:
    box = surroundings((x, y, x + size, y + size), UTM, WGS84)
    edge = shapely.get_coordinates(shapely.segmentize(shapely.box(x, y, x + size, y + size), size / 50).exterior)
    points = shapely.points(np.column_stack(transformer(UTM, WGS84).transform(*edge.T)))
    assert shapely.contains(box, points).all()
    assert shapely.contains(box, shapely.transform(points, lambda p: p + np.array([360, 0]))).all()


@pytest.mark.parametrize(
    ("bounds", "target"),
    [((-180, -90, 180, 90), 32618), ((-80, 0, 60, 10), 32618), ((0, 0, 9, 9), 3413)],
)
def test_a_crs_that_cannot_draw_a_rectangle_says_so(bounds: tuple[float, float, float, float], target: int) -> None:
    assert (surroundings(bounds, WGS84, CRS.from_epsg(target)) is None) == (target == 32618)
