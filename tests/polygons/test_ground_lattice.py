"""Ground areas and perimeters by interpolation equal those of PROJ, vertex by vertex."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from geoseg.grid import Grid
from geoseg.ground import area_model, corner_xy
from geoseg.polygons import ground_lattice as module
from geoseg.polygons.coverage import trace_array
from geoseg.polygons.ground_lattice import ground_lattice
from geoseg.polygons.smooth import UNIT

GRIDS = {
    "UTM, 300 km": (32632, Affine(10, 0, 500_000, 0, -10, 5e6), 30_000, 30_000),
    "rim of UTM, rotated": (32632, Affine(8, 3, 100_000, 3, -9, 6e6), 3000, 2000),
    "Web Mercator over the antimeridian": (3857, Affine(300, 0, 2.0037e7 - 50_000, 0, -300, 1e6), 500, 400),
    "south-up": (3857, Affine(30, 0, -13e6, 0, 30, 7e6), 5000, 4000),
    "lon/lat": (4326, Affine(1e-4, 0, 7, 0, -1e-4, 51), 9000, 7000),
    "pole": (3413, Affine(25, 0, -1e5, 0, -25, 1e5), 9000, 7000),
    "polar, far from the pole": (3413, Affine(25, 0, -3e6, 0, -25, -1e6), 9000, 7000),
    "US survey feet": (2225, Affine(100, 0, 6e6, 0, -100, 2e6), 9000, 7000),
}


def grid_of(name: str) -> Grid:
    crs, transform, width, height = GRIDS[name]
    return Grid(CRS.from_epsg(crs), transform, width, height)


def errors(grid: Grid, rings: np.ndarray, starts: np.ndarray) -> tuple[float, float]:
    """The largest relative differences of area and length."""
    model = area_model(grid)
    lattice = ground_lattice(grid, model)
    assert model.name == "ground"
    assert lattice is not None
    areas, lengths = lattice.measure(rings, 1.0, starts)
    xy = corner_xy(grid.transform, *rings.T)
    one, other = np.abs(areas / model.areas(xy, starts) - 1), np.abs(lengths / model.lengths(xy, starts) - 1)
    return float(one.max()), float(other.max())


@pytest.mark.parametrize("name", GRIDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_rectangles_have_the_area_and_length_that_proj_gives_them(name: str, data: st.DataObject) -> None:
    """Mutation: linear interpolation of places, `test_mutation_places_between_nodes_are_linear`."""
    grid = grid_of(name)
    left = data.draw(st.integers(0, grid.width - 100))
    top = data.draw(st.integers(0, grid.height - 100))
    width = data.draw(st.integers(100, grid.width - left))
    height = data.draw(st.integers(100, grid.height - top))
    corners = np.array([[0, 0], [0, height], [width, height], [width, 0], [0, 0]], np.int32) + np.array([left, top])
    area, length = errors(grid, corners.astype(np.int32), np.array([0, 5]))
    assert area < 2e-9
    assert length < 2e-6


def test_mutation_places_between_nodes_are_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    def linear(t: float) -> tuple[float, float, float, float]:
        at = min(int(t), 2)
        weights = [0.0, 0.0, 0.0, 0.0]
        weights[at], weights[at + 1] = at + 1 - t, t - at
        return tuple(weights)

    monkeypatch.setattr(module, "_weights", linear)
    for kernel in ("_measure_rings", "_place", "_stencil", "_length"):
        monkeypatch.setattr(module, kernel, getattr(module, kernel).py_func)
    monkeypatch.setattr(module, "_accurate", lambda *_: True)
    grid = grid_of("Web Mercator over the antimeridian")
    ring = np.array([[3, 5], [3, 105], [103, 105], [103, 5], [3, 5]], np.int32)
    assert errors(grid, ring, np.array([0, 5]))[0] > 1e-8


@pytest.mark.parametrize("name", ["UTM, 300 km", "lon/lat", "pole"])
def test_polygons_add_up_to_the_frame(name: str) -> None:
    grid = grid_of(name)
    lattice = ground_lattice(grid, area_model(grid))
    assert lattice is not None
    batch = trace_array(np.random.default_rng(0).integers(0, 3, (80, 90)).astype(np.uint8), None)
    moved = batch.corners + np.array([1234, 777], np.int32)
    areas, _ = lattice.measure(moved, 1.0, batch.ring_starts)
    exteriors = batch.polygon_starts[:-1]
    total = 2 * areas[exteriors].sum() - areas.sum()
    frame = np.array([[0, 0], [0, 80], [90, 80], [90, 0], [0, 0]], np.int32) + np.array([1234, 777], np.int32)
    # Edges of one pixel and of ninety are both replaced by parabolas, which no longer are one curve.
    assert total == pytest.approx(lattice.measure(frame, 1.0, np.array([0, 5]))[0][0], rel=1e-10)


def test_corners_come_in_any_unit() -> None:
    grid = grid_of("south-up")
    lattice = ground_lattice(grid, area_model(grid))
    assert lattice is not None
    ring, starts = np.array([[3, 5], [3, 25], [43, 25], [43, 5], [3, 5]]), np.array([0, 5])
    plain = np.array(lattice.measure(ring.astype(np.int32), 1.0, starts))
    assert np.array_equal(np.array(lattice.measure((ring * UNIT).astype(np.int32), 1 / UNIT, starts)), plain)
    assert np.array_equal(np.array(lattice.measure(ring.astype(np.float64), 1.0, starts)), plain)
    turned = lattice.measure(ring[::-1].astype(np.int32).copy(), 1.0, starts)
    assert np.allclose(turned, plain, rtol=1e-12)


@pytest.mark.parametrize(
    ("crs", "transform", "width", "height"),
    [
        pytest.param(32632, Affine(10, 0, 500_000, 0, -10, 5e6), 1000, 1000, id="planar"),
        pytest.param(4326, Affine(0.25, 0, -180, 0, -0.25, 90), 1440, 720, id="coarse"),
        pytest.param("ESRI:54009", Affine(1000, 0, -1.8e7, 0, -1000, 9e6), 36_000, 18_000, id="beyond the world"),
    ],
)
def test_there_is_none_where_it_would_not_do(crs: int | str, transform: Affine, width: int, height: int) -> None:
    grid = Grid(CRS.from_user_input(crs), transform, width, height)
    assert ground_lattice(grid, area_model(grid)) is None
