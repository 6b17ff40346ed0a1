"""Arcs and polygons of small maps in plain Python: the oracle for what the compiled engine does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.ndimage  # type: ignore[import-untyped]
import shapely
from numpy.typing import NDArray

from geoseg.polygons.arcs import NOTHING, Arcs

Corner = tuple[int, int]
STEPS = ((0, -1), (-1, 0), (1, 0), (0, 1))  # north, west, east, south: in the order of (row, col) of their ends


def text_map(*rows: str) -> NDArray[np.int64]:
    """One character a pixel: '.' is nodata, digits and letters are codes."""
    return np.array([[NOTHING if c == "." else int(c, 36) for c in row] for row in rows], np.int64)


def components(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(row, col) number of each pixel's 4-connected component, in the order of first pixels; NOTHING where code < 0."""
    out = np.full(codes.shape, NOTHING, np.int64)
    n = 0
    for code in np.unique(codes[codes >= 0]):
        labels, more = scipy.ndimage.label(codes == code)
        out[labels > 0] = labels[labels > 0] - 1 + n
        n += more
    found, first = np.unique(out, return_index=True)
    order = found[found >= 0][np.argsort(first[found >= 0])]
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    out[out >= 0] = rank[out[out >= 0]]
    return out


def last_rows(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(component,) last pixel row."""
    out = np.zeros(numbers.max(initial=NOTHING) + 1, np.int64)
    rows = np.broadcast_to(np.arange(len(numbers))[:, None], numbers.shape)
    np.maximum.at(out, numbers[numbers >= 0], rows[numbers >= 0])
    return out


class Lattice:
    """Pixel edges between different components."""

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.padded = np.pad(numbers, 1, constant_values=NOTHING)

    def sides(self, at: Corner, step: Corner) -> tuple[int, int]:
        """Numbers left and right of the edge that leaves a corner (col, row)."""
        col, row = at
        pixels = self.padded[row : row + 2, col : col + 2]
        pairs = {
            (1, 0): (pixels[0, 1], pixels[1, 1]),
            (-1, 0): (pixels[1, 0], pixels[0, 0]),
            (0, 1): (pixels[1, 1], pixels[1, 0]),
            (0, -1): (pixels[0, 0], pixels[0, 1]),
        }
        left, right = pairs[step]
        return int(left), int(right)

    def steps(self, at: Corner) -> list[Corner]:
        """Directions of the edges that meet in a corner."""
        return [step for step in STEPS if len(set(self.sides(at, step))) == 2]

    def corners(self) -> Iterator[Corner]:
        height, width = self.padded.shape
        return ((col, row) for row in range(height - 1) for col in range(width - 1))


def slow_arcs(numbers: NDArray[np.int64]) -> Arcs:
    """All arcs of a map of component numbers, in the order of (row, col) of their first vertices."""
    lattice = Lattice(numbers)
    used: set[tuple[Corner, Corner]] = set()
    found = []
    junctions = [at for at in lattice.corners() if len(lattice.steps(at)) > 2]
    for ring, places in ((False, junctions), (True, list(lattice.corners()))):
        for at in places:
            # The first step of a ring's smallest corner goes east: its other edge goes south, which comes later.
            for step in lattice.steps(at):
                if (at, step) not in used:
                    line = walk(lattice, at, step, used)
                    found.append((line, *lattice.sides(at, step), ring))
    return pack(found)


def walk(lattice: Lattice, at: Corner, step: Corner, used: set[tuple[Corner, Corner]]) -> list[Corner]:
    """Vertices from a corner to the next junction or back to the start."""
    line, start = [at], at
    while True:
        used.add((at, step))
        at = (at[0] + step[0], at[1] + step[1])
        back = (-step[0], -step[1])
        used.add((at, back))
        onward = lattice.steps(at)
        if at == start or len(onward) > 2:
            return [*line, at]
        (turn,) = set(onward) - {back}
        if turn != step:
            line.append(at)
        step = turn


def pack(found: Sequence[tuple[Sequence[Corner], int, int, bool]]) -> Arcs:
    """Lines with left, right and ring."""
    lines = [np.array(line, np.int32).reshape(-1, 2) for line, *_ in found]
    corners = np.concatenate([np.zeros((0, 2), np.int32), *lines])
    starts = np.cumsum([0, *map(len, lines)], dtype=np.int64)
    left, right, ring = ([item[k] for item in found] for k in (1, 2, 3))
    return Arcs(corners, starts, np.array(left, np.int64), np.array(right, np.int64), np.array(ring, np.bool_))


def part(arcs: Arcs, which: NDArray[np.int64]) -> Arcs:
    """Some of the arcs, in the given order."""
    lines = [arcs.corners[arcs.starts[i] : arcs.starts[i + 1]] for i in which]
    starts = np.cumsum([0, *map(len, lines)], dtype=np.int64)
    corners = np.concatenate([np.zeros((0, 2), np.int32), *lines])
    return Arcs(corners, starts, arcs.left[which], arcs.right[which], arcs.ring[which])


def slow_polygons(
    corners: NDArray[Any], starts: NDArray[Any], left: NDArray[Any], right: NDArray[Any]
) -> list[shapely.Polygon]:
    """One polygon a component, y upward; from whatever the arcs have become.

    Raises:
        AssertionError: a component encloses no area, or several.
    """
    xy = corners * np.array([1.0, -1.0])
    lines = [xy[a:b] for a, b in pairwise(starts)]
    out = []
    for component in range(max(left.max(initial=NOTHING), right.max(initial=NOTHING)) + 1):
        edges = set()  # directed, the component on their left
        around = [(line, left[i] == component) for i, line in enumerate(lines) if component in (left[i], right[i])]
        for line, forward in around:
            way = (line if forward else line[::-1]).tolist()
            edges |= {(*a, *b) for a, b in pairwise(way)}
        faces = shapely.get_parts(shapely.polygonize([shapely.LineString(line) for line, _ in around]))
        mine = [face for face in faces if is_inside(face, edges)]
        assert len(mine) == 1, f"component {component} has {len(mine)} faces"
        out.append(mine[0])
    return out


def is_inside(face: shapely.Polygon, edges: set[tuple[float, ...]]) -> bool:
    ring = shapely.get_coordinates(shapely.orient_polygons(face).exterior).tolist()
    return any((*a, *b) in edges for a, b in pairwise(ring))
