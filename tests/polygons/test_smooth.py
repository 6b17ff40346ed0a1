from __future__ import annotations

import numpy as np
import pytest
import shapely
from arc_maps import TOLERANCES, ArcMap, arc_maps, lines, smooth_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_arcs import part, slow_polygons, text_map

from geoseg.errors import InputError
from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.simplify import simplify_arcs
from geoseg.polygons.smooth import FARTHEST, UNIT, smooth_arcs
from geoseg.polygons.vertex_bits import VertexBits


def both(drawn: ArcMap, tolerance: float, *, outer: bool) -> tuple[Arcs, Arcs]:
    """Simplified, and smoothed after that."""
    bits = drawn.bits()
    simple = simplify_arcs(drawn.arcs, bits, drawn.lenses(), tolerance_px2=tolerance, outer=outer)
    return simple, smooth_arcs(simple, bits, outer=outer)


def inner_line(drawn: ArcMap, smooth: Arcs) -> list[tuple[float, float]]:
    """The one arc that does not border nothing, in pixels."""
    (k,) = np.flatnonzero((smooth.left != NOTHING) & (smooth.right != NOTHING))
    return [(x / UNIT, y / UNIT) for x, y in lines(smooth)[k]]


@settings(max_examples=120, deadline=None)
@given(arc_maps, st.sampled_from(TOLERANCES), st.booleans())
def test_coverage_stays_valid_and_complete(drawn: ArcMap, tolerance: float, outer: bool) -> None:
    _, smooth = both(drawn, tolerance, outer=outer)
    assert drawn.broken(smooth.corners / UNIT, smooth, outer=outer) == ""


@settings(max_examples=80, deadline=None)
@given(arc_maps, st.sampled_from(TOLERANCES))
def test_no_line_moves_by_more_than_half_a_pixel(drawn: ArcMap, tolerance: float) -> None:
    simple, smooth = both(drawn, tolerance, outer=True)
    for before, after in zip(lines(simple), lines(smooth), strict=True) if len(simple) else ():
        old, new = shapely.LineString(before), shapely.LineString(np.array(after) / UNIT)
        farthest = max(new.distance(shapely.Point(at)) for at in before)
        assert farthest <= FARTHEST + 1e-9
        assert max(old.distance(shapely.Point(np.array(at) / UNIT)) for at in after) < 1e-9


@settings(max_examples=50, deadline=None)
@given(arc_maps, st.sampled_from(TOLERANCES), st.randoms(use_true_random=False))
def test_order_does_not_show(drawn: ArcMap, tolerance: float, random: object) -> None:
    simple, smooth = both(drawn, tolerance, outer=True)
    which = list(range(len(simple)))
    random.shuffle(which)  # type: ignore[attr-defined]
    bits = drawn.bits()
    for k in which:
        chosen = np.array([k])
        alone = smooth_arcs(part(simple, chosen), bits, outer=True)
        assert lines(alone)[0] == lines(smooth)[k]
    assert (bits.words == drawn.bits().words).all()


def test_a_staircase_becomes_its_slope() -> None:
    drawn = ArcMap.of(text_map("01111", "00111", "00011", "00001"))
    smooth = smooth_arcs(drawn.arcs, drawn.bits())
    assert inner_line(drawn, smooth) == [(1, 0), (1, 0.5), (4, 3.5), (4, 4)]


def test_long_steps_become_their_slope() -> None:
    drawn = ArcMap.of(text_map("0111111111", "0000111111", "0000000111"))
    smooth = smooth_arcs(drawn.arcs, drawn.bits())
    assert inner_line(drawn, smooth) == [(1, 0), (1, 0.5), (7, 2.5), (7, 3)]


def test_one_pixel_becomes_an_octagon() -> None:
    drawn = ArcMap.of(text_map("000", "010", "000"))
    smooth = smooth_arcs(drawn.arcs, drawn.bits())
    ring = shapely.Polygon(inner_line(drawn, smooth))
    assert len(ring.exterior.coords) == 9
    assert ring.area == 1 - 4 / 32


def test_a_large_square_keeps_its_sides() -> None:
    drawn = ArcMap.of(text_map(*["0" * 22, *["0" + "1" * 20 + "0"] * 20, "0" * 22]))
    ring = shapely.Polygon(inner_line(drawn, smooth_arcs(drawn.arcs, drawn.bits())))
    leg = FARTHEST * 2**0.5
    assert ring.area == pytest.approx(400 - 4 * leg**2 / 2, abs=0.1)


def test_frame_and_nodata_stay_unless_asked() -> None:
    drawn = ArcMap.of(text_map("0011", "00..", "2211"))
    kept = smooth_arcs(drawn.arcs, drawn.bits())
    beside = (kept.left == NOTHING) | (kept.right == NOTHING)
    assert [line for line, outer in zip(lines(kept), beside, strict=True) if outer] == [
        [(UNIT * x, UNIT * y) for x, y in line] for line, outer in zip(lines(drawn.arcs), beside, strict=True) if outer
    ]
    assert len(smooth_arcs(drawn.arcs, drawn.bits(), outer=True).corners) > len(kept.corners)


def test_areas_and_vertices_on_a_map_of_patches() -> None:
    codes = smooth_codes(120, 3.0, seed=4)
    drawn = ArcMap.of(codes)
    smooth = smooth_arcs(drawn.arcs, drawn.bits())
    raw = slow_polygons(drawn.arcs.corners, drawn.arcs.starts, drawn.arcs.left, drawn.arcs.right)
    new = slow_polygons(smooth.corners / UNIT, smooth.starts, smooth.left, smooth.right)
    first = np.unique(drawn.numbers, return_index=True)[1]
    areas = [np.bincount(codes.flat[first], [polygon.area for polygon in polygons]) for polygons in (raw, new)]
    assert np.abs(areas[1] / areas[0] - 1).max() < 0.005
    # A staircase is 4/π as long as the round line that it stands for.
    assert sum(polygon.length for polygon in new) < 0.87 * sum(polygon.length for polygon in raw)


def test_a_foreign_vertex_keeps_a_corner() -> None:
    # Cut off, the corner of the upper line at (20, 9) would cross the tip of the lower one at (19, 9).
    corners = np.array([(0, 0), (20, 9), (40, 21), (0, 12), (19, 9), (0, 14)], np.int32)
    faces = np.array([0, 1]), np.array([1, 2])
    arcs = Arcs(corners, np.array([0, 3, 6]), *faces, np.array([False, False]))

    def smoothed(seen: NDArray[np.int32]) -> list[shapely.LineString]:
        bits = VertexBits(30, 50)
        bits.add(seen)
        return [shapely.LineString(np.array(line) / UNIT) for line in lines(smooth_arcs(arcs, bits))]

    upper, lower = smoothed(corners)
    assert list(upper.coords) == [(0, 0), (20, 9), (40, 21)]
    assert upper.disjoint(lower)
    upper, lower = smoothed(corners[:0])  # the mutation
    assert upper.crosses(shapely.LineString(corners[3:]))


def test_too_large_a_raster_is_refused() -> None:
    corners = np.array([[0, 0], [2**20 + 1, 0]], np.int32)
    far = Arcs(corners, np.array([0, 2]), np.array([0]), np.array([1]), np.array([False]))
    with pytest.raises(InputError, match="1048577 rows or columns is too large"):
        smooth_arcs(far, VertexBits(1, 64))
