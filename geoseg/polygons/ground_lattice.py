"""Ground areas and perimeters of many rings of one raster, without a projection of every vertex.

`AreaModel` asks PROJ where each vertex and the middle of each edge lie: exact, and far slower than all tracing. Here
PROJ is asked for the nodes of a lattice over the raster, some kilometers apart, and what lies between is interpolated
from them: the equal-area coordinates of `AreaModel` by cubic Lagrange polynomials, and linearly the metric, the length
of a step of one pixel on the ground. A lattice that misses by more than `ACCURACY` is made finer or not used. The
ground of a vertex depends on nothing but its place, so areas add up as before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from geoseg.grid import Grid
from geoseg.ground import AreaModel, corner_xy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ACCURACY = 1e-10
"""Share of the distance between nodes by which interpolated places may be off in the middle between them."""
_STEPS_M = (10_000.0, 5_000.0, 2_500.0, 1_250.0)
_MOST_NODES = 1 << 20
_LEAST_STEP_PX = 4
_REACH_M = 20.0
"""Steps on the ground that the metric is taken from go no further, lest its change along them shows."""


@dataclass(frozen=True)
class GroundLattice:
    """The ground under a raster."""

    nodes: Floats
    """(row, col, 5) equal-area plane in meters (2), metric in m² per pixel²: along columns, mixed, along rows."""
    step: tuple[float, float]
    """Pixels between columns and between rows of nodes; the first and the last lie on the raster's frame."""

    def measure(
        self, corners: NDArray[np.float64 | np.int32], scale: float, ring_starts: Ints
    ) -> tuple[Floats, Floats]:
        """Areas that rings enclose, and their lengths.

        Args:
            corners: (vertex, 2) column and row; every ring repeats its first vertex at its end.
            scale: pixels in one unit of `corners`.
            ring_starts: (ring + 1,) first vertex of each ring, then the number of vertices.

        Returns:
            (ring,) m², positive for both orientations; (ring,) m.
        """
        areas, lengths = np.empty((2, len(ring_starts) - 1))
        _measure_rings(corners, scale, ring_starts, self.nodes, self.step, areas, lengths)
        return areas, lengths


def ground_lattice(grid: Grid, model: AreaModel) -> GroundLattice | None:
    """The ground under a raster; None where it is planar, or not smooth or fine enough to be interpolated.

    Args:
        grid: the raster's.
        model: how areas are measured on it, `area_model(grid)`.
    """
    gsd_m = grid.gsd_m
    if model.name == "planar" or not gsd_m > 0:  # NaN where the middle has no place on the ground
        return None
    for step_m in _STEPS_M:
        apart = step_m / gsd_m
        n_cols, n_rows = (max(4, math.ceil(side / apart) + 1) for side in (grid.width, grid.height))
        if apart < _LEAST_STEP_PX or n_cols * n_rows > _MOST_NODES:
            return None
        cols, rows = np.linspace(0, grid.width, n_cols), np.linspace(0, grid.height, n_rows)
        nodes = np.concatenate([_plane(grid, model, cols, rows), _metric(grid, model, cols, rows)], axis=2)
        found = GroundLattice(nodes, (float(cols[1]), float(rows[1])))
        if not np.isfinite(nodes).all():
            return None
        if _accurate(found, grid, model, cols, rows):
            return found
    return None


def _plane(grid: Grid, model: AreaModel, cols: Floats, rows: Floats) -> Floats:
    """(row, col, 2) equal-area coordinates in meters, running on over the antimeridian."""
    plane: Floats = model.equal_area(_places(grid, cols, rows)).reshape(len(rows), len(cols), 2)
    if model.period is not None and np.isfinite(plane).all():
        plane[:, :, 0] = np.unwrap(np.unwrap(plane[:, :, 0], axis=1, period=model.period), axis=0, period=model.period)
    return plane * model.semi_major_m


def _places(grid: Grid, cols: Floats, rows: Floats) -> Floats:
    """(row · col, 2) coordinates in the CRS."""
    col, row = np.meshgrid(cols, rows)
    return corner_xy(grid.transform, col.ravel(), row.ravel())


def _metric(grid: Grid, model: AreaModel, cols: Floats, rows: Floats) -> Floats:
    """(row, col, 3) from geodesics along a column, a row and the diagonal around each node, inside the raster."""
    reach = min(0.5, _REACH_M / grid.gsd_m)
    west, east = np.clip(cols - reach, 0, None), np.clip(cols + reach, None, grid.width)
    north, south = np.clip(rows - reach, 0, None), np.clip(rows + reach, None, grid.height)
    along_col = _distances(grid, model, (west, rows), (east, rows))
    along_row = _distances(grid, model, (cols, north), (cols, south))
    across = _distances(grid, model, (west, north), (east, south))
    d_col, d_row = np.meshgrid(east - west, south - north)
    mixed = (across**2 - along_col**2 - along_row**2) / (2 * d_col * d_row)
    return np.stack([(along_col / d_col) ** 2, mixed, (along_row / d_row) ** 2], axis=2)


def _distances(grid: Grid, model: AreaModel, one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """(row, col) meters between the nodes of two lattices."""
    begin, end = (np.degrees(model.lonlat(_places(grid, *place))) for place in (one, other))
    meters = model.geod.inv(*begin.T, *end.T)[2]
    return np.asarray(meters, np.float64).reshape(len(one[1]), len(one[0]))


def _accurate(lattice: GroundLattice, grid: Grid, model: AreaModel, cols: Floats, rows: Floats) -> bool:
    """Whether the middles of the cells lie where they should, as seen from a node of theirs."""
    middle_cols, middle_rows = (cols[:-1] + cols[1:]) / 2, (rows[:-1] + rows[1:]) / 2
    there = _plane(grid, model, middle_cols, middle_rows).reshape(-1, 2)
    col, row = np.meshgrid(middle_cols, middle_rows)
    here = np.empty_like(there)
    _plane_at(np.column_stack((col.ravel(), row.ravel())), lattice.nodes, lattice.step, here)
    span = sum(np.abs(np.diff(lattice.nodes[:, :, :2], axis=axis)).max() for axis in (0, 1))
    # The unwrapped lattice of middles may run a whole turn beside that of the nodes.
    off = here - there
    if model.period is not None:
        turn = model.period * model.semi_major_m
        off[:, 0] -= turn * np.rint(off[:, 0] / turn)
    return bool(np.isfinite(there).all() and np.abs(off).max() <= ACCURACY * span)


@njit(cache=True, nogil=True)
def _plane_at(places: Floats, nodes: Floats, step: tuple[float, float], out: Floats) -> None:
    for place in range(len(places)):
        here = _place(places[place, 0] / step[0], places[place, 1] / step[1], nodes, (0.0, 0.0))
        out[place, 0], out[place, 1] = here


@njit(cache=True, nogil=True)
def _measure_rings(
    corners: NDArray[np.float64 | np.int32],
    scale: float,
    starts: Ints,
    nodes: Floats,
    step: tuple[float, float],
    areas: Floats,
    lengths: Floats,
) -> None:
    """Shoelaces with parabolas for edges, cut where they are longer than a step, as `AreaModel.areas` has them.

    Places count from the ring's nearest node: differences of large coordinates would cost the digits that matter.
    """
    x_scale, y_scale = scale / step[0], scale / step[1]
    for ring in range(len(starts) - 1):
        first = starts[ring]
        x, y = x_scale * corners[first, 0], y_scale * corners[first, 1]
        near = nodes[min(int(y), len(nodes) - 1), min(int(x), nodes.shape[1] - 1)]
        origin = (near[0], near[1])
        area = length = 0.0
        u, v = _place(x, y, nodes, origin)
        for vertex in range(first + 1, starts[ring + 1]):
            dx, dy = x_scale * corners[vertex, 0] - x, y_scale * corners[vertex, 1] - y
            pieces = max(1, int(np.ceil(max(abs(dx), abs(dy)))))
            dx, dy = dx / pieces, dy / pieces
            for _ in range(pieces):
                middle_u, middle_v = _place(x + dx / 2, y + dy / 2, nodes, origin)
                length += _length(x + dx / 2, y + dy / 2, dx * step[0], dy * step[1], nodes)
                x, y = x + dx, y + dy
                end_u, end_v = _place(x, y, nodes, origin)
                du, dv = end_u - u, end_v - v
                bulge_u, bulge_v = middle_u - u - du / 2, middle_v - v - dv / 2
                area += (v + end_v) / 2 * du + 2 / 3 * (bulge_v * du - bulge_u * dv)
                u, v = end_u, end_v
            x, y = x_scale * corners[vertex, 0], y_scale * corners[vertex, 1]
        areas[ring], lengths[ring] = abs(area), length


@njit(cache=True, nogil=True)
def _place(x: float, y: float, nodes: Floats, origin: tuple[float, float]) -> tuple[float, float]:
    """A place (in steps) in the plane, by cubic Lagrange interpolation; stencils are moved inward at the frame."""
    left, top = _stencil(x, nodes.shape[1]), _stencil(y, nodes.shape[0])
    columns, rows = _weights(x - left), _weights(y - top)
    u = v = 0.0
    for i in range(4):
        for j in range(4):
            weight = rows[i] * columns[j]
            u += weight * (nodes[top + i, left + j, 0] - origin[0])
            v += weight * (nodes[top + i, left + j, 1] - origin[1])
    return u, v


@njit(cache=True, nogil=True)
def _stencil(place: float, n: int) -> int:
    """First of the four nodes around a place."""
    return min(max(int(place) - 1, 0), n - 4)


@njit(cache=True, nogil=True)
def _weights(t: float) -> tuple[float, float, float, float]:
    """Lagrange's weights of the nodes 0, 1, 2, 3 at t."""
    a, b, c, d = t, t - 1, t - 2, t - 3
    return -b * c * d / 6, a * c * d / 2, -a * b * d / 2, a * b * c / 6


@njit(cache=True, nogil=True)
def _length(x: float, y: float, d_col: float, d_row: float, nodes: Floats) -> float:
    """Meters of a short edge by the metric in its middle, which bilinear interpolation gives to 1e-7."""
    left, top = min(int(x), nodes.shape[1] - 2), min(int(y), nodes.shape[0] - 2)
    s, t = x - left, y - top
    square = 0.0
    for i, row_weight in ((0, 1 - t), (1, t)):
        for j, weight in ((0, 1 - s), (1, s)):
            node = nodes[top + i, left + j]
            along = node[2] * d_col * d_col + 2 * node[3] * d_col * d_row + node[4] * d_row * d_row
            square += row_weight * weight * along
    meters: float = np.sqrt(square)
    return meters
