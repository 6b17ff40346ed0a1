"""`--out-crs`: the coverage stays valid in every CRS, and lines stay where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from arc_maps import smooth_codes
from engine_kit import NODATA, class_maps, text_codes
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.errors import InputError, UsageError
from geoseg.polygons import carry as carry_module
from geoseg.polygons.arcs import Arcs
from geoseg.polygons.carry import STRAY_PX, Carrier, carrier
from geoseg.polygons.coverage import coverage, trace_array
from geoseg.polygons.rings import PolygonBatch
from geoseg.polygons.simplify import Lenses, simplify_arcs
from geoseg.polygons.smooth import UNIT, smooth_arcs
from geoseg.polygons.survey import survey
from geoseg.polygons.vertex_bits import VertexBits

Codes = NDArray[Any]

PLACES = {
    # raster's CRS, its upper left corner, pixel size; and where to
    "UTM to lon/lat": ("EPSG:32633", (4e5, 5.6e6), 10.0, "EPSG:4326"),
    "UTM to the next zone": ("EPSG:32633", (7e5, 5.6e6), 30.0, "EPSG:32634"),
    "UTM to Web Mercator": ("EPSG:32719", (4e5, 8.0e6), 500.0, "EPSG:3857"),
    "lon/lat to UTM": ("EPSG:4326", (12.0, 60.0), 0.05, "EPSG:32633"),
    "lon/lat to polar": ("EPSG:4326", (-60.0, 80.0), 0.5, "EPSG:3413"),
    "lon/lat to Web Mercator": ("EPSG:4326", (-70.0, 50.0), 1.0, "EPSG:3857"),
    "polar to lon/lat": ("EPSG:3031", (4e5, 1.9e6), 5000.0, "EPSG:4326"),
    "polar to Web Mercator": ("EPSG:3413", (4e5, -1.5e6), 1000.0, "EPSG:3857"),
    "feet to UTM": ("EPSG:2263", (9e5, 2e5), 100.0, "EPSG:32618"),
    "itself": ("EPSG:32633", (4e5, 5.6e6), 10.0, "EPSG:32633"),
}


def carrier_at(place: str, *, turned: bool = False) -> Carrier:
    source, (x, y), size, target = PLACES[place]
    transform = Affine.translation(x, y) @ Affine.scale(size, -size)
    return carrier(transform @ Affine.rotation(25) if turned else transform, CRS(source), CRS(target))


def shaped(codes: Codes, tolerance: float, *, smooth: bool, outer: bool = False) -> list[PolygonBatch]:
    def read_rows(first: int, last: int) -> Codes:
        return codes[first:last]

    found = survey(read_rows, codes.shape, nodata=NODATA, band_rows=7)
    bits, lenses = VertexBits(*codes.shape), Lenses(found.components.last_row)

    def shape_arcs(arcs: Arcs) -> Arcs:
        lenses.add(arcs)
        arcs = simplify_arcs(arcs, bits, lenses, tolerance_px2=tolerance, outer=outer)
        return smooth_arcs(arcs, bits, outer=outer) if smooth else arcs

    return list(coverage(read_rows, found, see_vertices=bits.add, shape_arcs=shape_arcs))


def assert_laws(batches: list[PolygonBatch], carry: Carrier, unit: int = 1) -> None:
    there = [carry.carried(batch, unit) for batch in batches]
    geometry = np.concatenate([batch.geometry() for batch in there])
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    pixels = np.concatenate([batch.geometry() for batch in batches])
    assert len(geometry) == len(pixels)
    for before, after in zip(pixels, geometry, strict=True):
        assert_in_place(shapely.get_coordinates(before.exterior) / unit, shapely.get_coordinates(after.exterior), carry)


def assert_in_place(pixels: NDArray[Any], xy: NDArray[Any], carry: Carrier) -> None:
    """Every vertex is carried exactly and in order; every line runs beside the true one."""
    exact = carried_one_by_one(pixels, carry)
    at = 0
    for a, b, end in zip(pixels[:-1], pixels[1:], exact[1:], strict=True):
        first = at
        while at == first or (xy[at] != end).any():
            at += 1
        fractions = np.linspace(0, 1, 21)[:, None]
        true = carried_one_by_one(a + (b - a) * fractions, carry)
        line, pixel_size = shapely.LineString(xy[first : at + 1]), np.hypot(*(end - xy[first])) / np.hypot(*(b - a))
        assert shapely.distance(line, shapely.points(true)).max() <= 1.2 * STRAY_PX * pixel_size + 1e-9 * abs(end).max()
    assert at == len(xy) - 1


def carried_one_by_one(pixels: NDArray[Any], carry: Carrier) -> NDArray[np.float64]:
    return np.array([carry.way.transform(*(carry.transform @ (float(x), float(y)))) for x, y in pixels])


@settings(max_examples=100, deadline=None)
@given(class_maps(most=8), st.sampled_from(list(PLACES)), st.booleans(), st.sampled_from([1, 5]))
def test_laws_of_random_maps(codes: Codes, place: str, turned: bool, block: int) -> None:
    assert_laws([trace_array(codes.repeat(block, 0).repeat(block, 1), NODATA)], carrier_at(place, turned=turned))


@settings(max_examples=24, deadline=None)
@given(
    st.integers(0, 50),
    st.sampled_from([2.0, 5.0, 30.0, 1e4]),
    st.sampled_from(list(PLACES)),
    st.booleans(),
    st.booleans(),
)
def test_laws_of_simplified_and_smoothed_maps(
    seed: int, tolerance: float, place: str, smooth: bool, outer: bool
) -> None:
    codes = smooth_codes(48, 2.5, seed).astype(np.uint8)
    assert_laws(shaped(codes, tolerance, smooth=smooth, outer=outer), carrier_at(place), UNIT if smooth else 1)


def test_a_long_edge_by_hand() -> None:
    """Ten degrees of the 60th parallel, 1 degree a pixel, bend away from their chord on the polar plane."""
    carry = carrier(Affine.translation(0, 60) @ Affine.scale(1, -1), CRS("EPSG:4326"), CRS("EPSG:3413"))
    batch = trace_array(np.ones((1, 10), np.uint8), NODATA)
    xy = carry.carried(batch).corners
    radius = np.hypot(*xy.T)
    n_vertices = len(xy) - 1
    # On a circle a chord over the angle φ strays by r φ² / 8, and a pixel is r π / 180 long.
    pieces = int(np.ceil(np.sqrt(np.radians(10) ** 2 / 8 / (STRAY_PX * np.pi / 180))))
    assert 2 * pieces + 2 - 1 <= n_vertices <= 2 * pieces + 2 + 1
    assert np.ptp(np.unique(radius.round(3))) > 0
    assert len(np.unique(radius.round(3))) == 2
    same = carrier(Affine.identity(), CRS("EPSG:3413"), CRS("EPSG:3413")).carried(batch)
    np.testing.assert_array_equal(same.corners, batch.corners)
    np.testing.assert_array_equal(same.ring_starts, batch.ring_starts)


def test_rings_are_the_same_however_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    carry = carrier_at("lon/lat to polar")
    batch = trace_array(smooth_codes(40, 2.5, 3).astype(np.uint8), NODATA)
    together = carry.carried(batch)
    assert len(together.corners) > len(batch.corners)
    for at_once in (1, 30):
        monkeypatch.setattr(carry_module, "_AT_ONCE", at_once)
        apart = carry.carried(batch)
        np.testing.assert_array_equal(apart.corners, together.corners)
        np.testing.assert_array_equal(apart.ring_starts, together.ring_starts)


def test_an_empty_batch() -> None:
    batch = trace_array(text_codes("."), NODATA)
    assert carrier_at("UTM to lon/lat").carried(batch).corners.shape == (0, 2)


@pytest.mark.parametrize(
    ("source", "corner", "size", "target", "complaint"),
    [
        ("EPSG:32601", (0.0, 7.2e6), 5e4, "EPSG:4326", "are torn apart in 'WGS 84'"),  # the antimeridian
        ("EPSG:32660", (3e5, 7.2e6), 5e4, "EPSG:3857", "are torn apart in 'WGS 84 / Pseudo-Mercator'"),
        ("EPSG:3413", (-1e5, 1e5), 5e4, "EPSG:4326", "are torn apart in 'WGS 84'"),  # the pole
        ("EPSG:4326", (0.0, 95.0), 1.0, "EPSG:32633", "have no place in 'WGS 84 / UTM zone 33N'"),
    ],
)
def test_places_that_the_other_crs_has_not(
    source: str, corner: tuple[float, float], size: float, target: str, complaint: str
) -> None:
    transform = Affine.translation(*corner) @ Affine.scale(size, -size)
    with pytest.raises(InputError, match=f"--out-crs: polygons at column .*, row .* {complaint}") as error:
        carrier(transform, CRS(source), CRS(target)).carried(trace_array(np.ones((4, 9), np.uint8), NODATA))
    assert "\n" not in str(error.value)


def test_no_way_between_crss() -> None:
    local = CRS.from_wkt('LOCAL_CS["drawing",UNIT["metre",1]]')
    with pytest.raises(UsageError, match="no way leads from 'WGS 84' to 'drawing'"):
        carrier(Affine.identity(), CRS("EPSG:4326"), local)


def broken(carry: Carrier, batch: PolygonBatch) -> bool:
    try:
        assert_laws([batch], carry)
    except AssertionError:
        return True
    return False


def test_mutations_that_break_the_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    carry = carrier_at("lon/lat to polar")
    batch = trace_array(np.repeat(text_codes("11122 13322 13344"), 7, axis=1), NODATA)
    assert not broken(carry, batch)
    divided = carry_module._divided

    def walked(a: Any, b: Any, n: Any) -> Any:
        """Mutation: cut points counted from where each polygon comes from, unevenly."""
        points, first = divided(a, b, n)
        inner = np.setdiff1d(np.arange(len(points)), np.concatenate([first[:-1], first[1:] - 1]))
        edge = np.searchsorted(first, inner, side="right") - 1
        points[inner] += 1e-3 * (b - a)[edge]
        return points, first

    with monkeypatch.context() as mutated:
        mutated.setattr(carry_module, "_divided", walked)
        assert broken(carry, batch)
    with monkeypatch.context() as mutated:
        mutated.setattr(carry_module, "STRAY_PX", 1e3)  # mutation: edges stay straight
        assert broken(carry, batch)


def test_rings_keep_their_direction() -> None:
    batch = trace_array(text_codes("111 121 111"), NODATA)
    there = carrier_at("UTM to lon/lat").carried(batch)
    rings = np.split(there.corners, there.ring_starts[1:-1])
    assert [shapely.LinearRing(ring).is_ccw for ring in rings] == [True, False, True]
