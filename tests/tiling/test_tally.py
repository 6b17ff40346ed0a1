"""Counting: every pixel once, every square metre once."""

import numpy as np
import pytest
from affine import Affine
from builders import NORTH_UP, UTM, scheme
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Geod

from geoseg.arrays import ClassMap
from geoseg.grid import Grid, Window
from geoseg.ground import area_model
from geoseg.quality import REASONS
from geoseg.tiling.result import TileResult
from geoseg.tiling.seam import Seam
from geoseg.tiling.tally import Tally

PLANE = Grid(CRS(UTM), NORTH_UP, 6, 4)
GLOBE = Grid(CRS(4326), Affine(0.5, 0, -10, 0, -0.5, 70), 40, 60)


def result(index, window, outside=None, masked=None, events=(), chips=1, seam=(0, 0, 0, 0)):
    """A tile's result; masked: (row, col) reason codes."""
    index = np.asarray(index, "uint8")
    outside = np.zeros(window.height, np.int64) if outside is None else np.asarray(outside)
    masked = np.zeros(window.shape, np.uint8) if masked is None else np.asarray(masked)
    by_row = np.stack([(masked == code).sum(axis=1) for code in range(1, len(REASONS) + 1)])
    return TileResult(ClassMap(index, window), outside, by_row, chips, np.array([seam]), events)


def test_by_hand():
    """Class 0 twice, class 1 twice, one nodata, one shadow and two outside in a tile of 4 × 2; 16 pixels never come."""
    tally = Tally(PLANE, scheme(2))
    tally.add(
        result(
            [[0, 0, 1, 255], [255, 1, 255, 255]],
            Window(1, 1, 4, 2),
            outside=[0, 2],
            masked=[[0, 0, 0, 0], [2, 0, 0, 0]],
            events=("halved",),
            chips=3,
        )
    )
    assert tally.pixels == {"class 0": 2, "class 1": 2}
    assert tally.masked_px == {"shadow": 1}
    assert tally.masked_m2 == pytest.approx({"shadow": 100}, rel=1e-3)
    assert (tally.nodata_px, tally.outside_px) == (1, 18)
    assert (tally.chips, tally.events) == (3, ["halved"])
    assert tally.areas_m2 == pytest.approx({"class 0": 200, "class 1": 200}, rel=1e-3)
    assert (tally.nodata_m2, tally.outside_m2) == pytest.approx((100, 1800), rel=1e-3)


def test_the_seam_is_that_of_all_tiles_together():
    tally = Tally(PLANE, scheme(2))
    assert tally.seam is None
    tally.add(result([[0]], Window(0, 0, 1, 1), seam=(0, 0, 5, 5)))
    assert tally.seam is None
    tally.add(result([[0]], Window(1, 0, 1, 1), seam=(40, 1, 15, 0)))
    tally.add(result([[0]], Window(2, 0, 1, 1), seam=(60, 2, 0, 0)))
    assert tally.seam == Seam(at_seam=0.03, at_edge=0.25, seam_px=100, edge_px=20)


def test_nothing_added_is_all_outside():
    tally = Tally(PLANE, scheme(2))
    assert (tally.outside_px, tally.nodata_px, tally.pixels) == (24, 0, {"class 0": 0, "class 1": 0})


@st.composite
def maps(draw):
    """A whole map, which of it is outside, why some of its nodata is masked, and a tile side."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    index = rng.choice([0, 1, 2, 255], GLOBE.shape)
    outside = rng.random(GLOBE.shape) < draw(st.sampled_from([0.0, 0.3]))
    index[outside] = 255
    masked = np.where((index == 255) & ~outside, rng.integers(0, 6, GLOBE.shape), 0)
    return index, outside, masked, draw(st.integers(1, 60))


def added(index, outside, masked, side, order=0):
    tally = Tally(GLOBE, scheme(3))
    windows = list(GLOBE.window.split(side))
    np.random.default_rng(order).shuffle(windows)
    for window in windows:
        here = window.slices
        tally.add(result(index[here], window, outside[here].sum(axis=1), masked[here]))
    return tally


@given(maps())
def test_pixels_as_numpy_counts_them_for_every_tiling(case):
    index, outside, masked, side = case
    tally = added(index, outside, masked, side, order=side)
    assert list(tally.pixels.values()) == [int((index == n).sum()) for n in range(3)]
    assert tally.outside_px == outside.sum()
    assert tally.nodata_px == ((index == 255) & ~outside & (masked == 0)).sum()
    assert tally.masked_px == {reason: (masked == code).sum() for code, reason in enumerate(REASONS, start=1)}
    assert tally.chips == len(list(GLOBE.window.split(side)))


@given(maps())
def test_areas_sum_to_the_raster_and_do_not_depend_on_tiles(case):
    index, outside, masked, side = case
    tally = added(index, outside, masked, side)
    whole = added(index, outside, masked, 100)
    rows = area_model(GLOBE).pixel_areas(GLOBE)
    parts = (*tally.areas_m2.values(), *tally.masked_m2.values(), tally.nodata_m2, tally.outside_m2)
    assert sum(parts) == pytest.approx(rows.sum() * GLOBE.width, rel=1e-12)
    for number, area in enumerate(tally.areas_m2.values()):
        assert area == pytest.approx(((index == number).sum(axis=1) * rows).sum(), rel=1e-12)
    assert tally.areas_m2 == whole.areas_m2


def test_the_sum_is_the_ground_area_of_the_raster():
    """Against PROJ's geodesic polygon, its parallels cut so finely that geodesics follow them."""
    nothing = np.zeros(GLOBE.shape, np.uint8)
    tally = added(nothing, nothing.astype(bool), nothing, 7)
    left, bottom, right, top = GLOBE.bounds
    across = np.linspace(left, right, 20_001)
    lons = np.concatenate((across, across[::-1]))
    lats = np.concatenate((np.full(20_001, bottom), np.full(20_001, top)))
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)
    assert tally.areas_m2["class 0"] == pytest.approx(abs(area), rel=1e-7)
