"""Laws of polygons: what is written says exactly what the class map says, for any affine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pyproj import CRS
from rasterio.features import rasterize
from scipy import ndimage

from geoseg.classes import ClassScheme, LandClass
from geoseg.errors import InputError
from geoseg.grid import Grid
from geoseg.ground import AreaModel, area_model
from geoseg.polygons.assemble import MapFacts, assemble, measure
from geoseg.polygons.coverage import coverage, trace_array
from geoseg.polygons.smooth import UNIT
from geoseg.polygons.survey import survey
from geoseg.polygons.table import Polygons, Totals

NODATA = 255
SCHEME = ClassScheme(tuple(LandClass(code, f"class {code}", (code, 0, 0)) for code in (1, 3, 4)))
NORTH_UP = Affine.scale(10, -10)
UTM = CRS.from_epsg(32618)

codes_maps = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([1, 3, 4, NODATA]))
)
affines = st.builds(
    lambda xscale, yscale, angle, flip: (
        Affine.translation(500_000, 4_000_000)
        @ Affine.rotation(angle)
        @ Affine.scale(xscale, yscale * (1 if flip else -1))
    ),
    st.sampled_from([0.25, 1.0, 10.0, 30.0]),
    st.sampled_from([0.5, 10.0, 20.0]),
    st.sampled_from([0.0, 17.0, 90.0, 211.0]),
    st.booleans(),
)


def polygons_of(codes: np.ndarray, transform: Affine = NORTH_UP) -> Polygons:
    grid = Grid(UTM, transform, codes.shape[1], codes.shape[0])
    return assemble(trace_array(codes, NODATA), MapFacts(grid, SCHEME, AreaModel("planar", UTM)))


def scores_of(codes: np.ndarray, confidence: np.ndarray) -> dict[int, float]:
    """poly_id → score, surveyed and traced in bands of two rows."""
    grid = Grid(UTM, NORTH_UP, codes.shape[1], codes.shape[0])
    facts = MapFacts(grid, SCHEME, AreaModel("planar", UTM), scored=True)

    def rows(first: int, last: int) -> np.ndarray:
        return codes[first:last]

    found = survey(
        rows, codes.shape, nodata=NODATA, band_rows=2, read_scores=lambda first, last: confidence[first:last]
    )
    tables = [assemble(batch, facts) for batch in coverage(rows, found)]
    return {int(poly): score for t in tables for poly, score in zip(t.poly_id, t.score, strict=True)}


def components(codes: np.ndarray) -> dict[int, tuple[int, int]]:
    """SciPy's 4-connected components: first pixel → (code, pixels)."""
    found = {}
    for code in SCHEME.codes:
        labels, count = ndimage.label(codes == code)
        for label in range(1, count + 1):
            pixels = np.flatnonzero(labels == label)
            found[int(pixels[0])] = (code, len(pixels))
    return found


@settings(max_examples=150, deadline=None)
@given(codes=codes_maps, transform=affines)
def test_polygons_are_the_components(codes: np.ndarray, transform: Affine) -> None:
    """Law 4. Mutation seen red: first pixel one off."""
    table = polygons_of(codes, transform)
    found = {
        int(poly): (int(code), int(n))
        for poly, code, n in zip(table.poly_id, table.class_id, table.n_pixels, strict=True)
    }
    assert found == components(codes)
    assert (np.diff(table.poly_id) > 0).all()


@settings(max_examples=150, deadline=None)
@given(codes=codes_maps, transform=affines)
def test_polygons_are_valid_and_counter_clockwise_in_map_axes(codes: np.ndarray, transform: Affine) -> None:
    """Law 5. Mutation seen red: rings not turned for south-up grids."""
    table = polygons_of(codes, transform)
    assert shapely.is_valid(table.geometry).all()
    assert shapely.coverage_is_valid(table.geometry)
    assert shapely.is_ccw(shapely.get_exterior_ring(table.geometry)).all()
    holes = [ring for polygon in table.geometry for ring in polygon.interiors]
    assert not any(ring.is_ccw for ring in holes)


@settings(max_examples=150, deadline=None)
@given(codes=codes_maps, transform=affines)
def test_areas_add_up_to_pixels(codes: np.ndarray, transform: Affine) -> None:
    """Law 4. Mutation seen red: area of exteriors only."""
    table = polygons_of(codes, transform)
    pixel = abs(transform.determinant)
    for code in SCHEME.codes:
        mine = table.class_id == code
        expected = np.count_nonzero(codes == code) * pixel
        assert shapely.area(table.geometry[mine]).sum() == pytest.approx(expected, rel=1e-7, abs=1e-9)
        assert table.area_m2[mine].sum() == pytest.approx(expected, rel=1e-7, abs=1e-9)
    assert table.perim_m == pytest.approx(shapely.length(table.geometry), rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(codes=codes_maps, transform=affines)
def test_rasterized_polygons_are_the_class_map(codes: np.ndarray, transform: Affine) -> None:
    """Law 4. Mutation seen red: vertices through pixel centers."""
    table = polygons_of(codes, transform)
    if not len(table):
        assert (codes == NODATA).all()
        return
    burned = rasterize(
        zip(table.geometry, table.class_id.tolist(), strict=True),
        out_shape=codes.shape,
        transform=transform,
        fill=NODATA,
        dtype="uint8",
    )
    np.testing.assert_array_equal(burned, codes)


@settings(max_examples=50, deadline=None)
@given(codes=codes_maps, seed=st.integers(0, 99))
def test_score_is_the_mean_of_the_polygons_own_pixels(codes: np.ndarray, seed: int) -> None:
    confidence = np.random.default_rng(seed).integers(0, 256, codes.shape).astype(np.uint8)
    for poly, score in scores_of(codes, confidence).items():
        labels, _ = ndimage.label(codes == codes.flat[poly])
        own = labels == labels.flat[poly]
        assert score == confidence[own].sum(dtype=int) / (255 * own.sum())


def test_one_changed_confidence_pixel_changes_one_score_exactly() -> None:
    codes = np.array([[1, 1, 3], [1, 3, 3], [4, 4, 3]], np.uint8)
    confidence = np.full(codes.shape, 100, np.uint8)
    before = scores_of(codes, confidence)
    confidence[1, 0] += 51
    assert before == {0: 100 / 255, 2: 100 / 255, 6: 100 / 255}
    assert scores_of(codes, confidence) == before | {0: 351 / (255 * 3)}


def test_smoothed_corners_are_parts_of_a_pixel() -> None:
    codes = np.array([[1, 1, 3], [1, 3, 3]], np.uint8)
    grid = Grid(UTM, NORTH_UP, 3, 2)
    batch, facts = trace_array(codes, NODATA), MapFacts(grid, SCHEME, AreaModel("planar", UTM))
    whole, parts = assemble(batch, facts), assemble(replace(batch, corners=batch.corners * UNIT), facts, smoothed=True)
    assert shapely.equals_exact(parts.geometry, whole.geometry).all()
    assert parts.area_m2.tolist() == [300.0, 300.0]


def test_geographic_polygons_sum_to_the_pixels_ground_area() -> None:
    codes = np.random.default_rng(3).choice(np.array([1, 3, 4, NODATA], np.uint8), (40, 60))
    grid = Grid(CRS.from_epsg(4326), Affine(0.01, 0, 10, 0, -0.01, 65), 60, 40)
    model = area_model(grid)
    table = assemble(trace_array(codes, NODATA), MapFacts(grid, SCHEME, model))
    rows = model.pixel_areas(grid)
    for land_class in SCHEME.classes:
        expected = (rows * (codes == land_class.code).sum(axis=1)).sum()
        assert dict(zip(SCHEME.names, Totals.of(table).area_m2, strict=True))[land_class.name] == pytest.approx(
            expected, rel=1e-9
        )


def test_a_polygon_off_the_earth_is_refused() -> None:
    model = AreaModel("ground", CRS.from_proj4("+proj=geos +h=35785831 +lon_0=0 +sweep=y"))
    inside, outside = shapely.box(0, 0, 1e5, 1e5), shapely.box(5.6e6, 0, 5.7e6, 1e5)
    _, xy, (rings, polygons) = shapely.to_ragged_array([inside, outside])
    with pytest.raises(InputError, match="1 polygons lie outside the domain of"):
        measure(xy, rings.astype(np.int64), polygons.astype(np.int64), model)


def test_totals_add_up_over_parts() -> None:
    table = polygons_of(np.array([[1, NODATA, 1], [3, 3, 1]], np.uint8))
    other = polygons_of(np.array([[4, 4, 4], [4, 1, 4], [4, 4, 4]], np.uint8), NORTH_UP @ Affine.translation(5, 0))
    empty = polygons_of(np.full((1, 2), NODATA, np.uint8))
    total = Totals.sum([Totals.of(table), Totals.of(empty), Totals.of(other)])
    assert total.count.tolist() == [3, 1, 1]
    assert total.n_pixels.tolist() == [4, 2, 8]
    assert total.area_m2.tolist() == [400.0, 200.0, 800.0]
    assert (total.n_rings, total.n_vertices) == (
        6,
        sum(shapely.get_num_coordinates([*table.geometry, *other.geometry])),
    )
    assert total.bounds.tolist() == [0.0, -30.0, 80.0, 0.0]
    assert table.class_name.tolist() == ["class 1", "class 1", "class 3"]


def test_inconsistent_tables_are_refused() -> None:
    table = polygons_of(np.array([[1, NODATA, 1], [3, 3, 1]], np.uint8))
    with pytest.raises(ValueError, match="inconsistent: offsets"):
        replace(table, ring_starts=table.ring_starts[:-1])
    with pytest.raises(ValueError, match="column of 1 values for 3 polygons"):
        replace(table, class_id=table.class_id[:1])
