"""Small class maps with everything that simplification and smoothing need, and the laws that their results keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from hypothesis import strategies as st
from numpy.typing import NDArray
from slow_arcs import components, last_rows, slow_arcs, slow_polygons

from geoseg.polygons.arcs import NOTHING, Arcs
from geoseg.polygons.simplify import Lenses
from geoseg.polygons.vertex_bits import VertexBits

TOLERANCES = (0.0, 0.6, 1.0, 1.1, 2.3, 5.0, 30.0, 1e4, np.inf)
SKEWED = [30.0, 2.0, -1.0, 0.7, 5e5, 4e6]  # anisotropic pixels, rotated; shapely's order of an affine


@dataclass(frozen=True)
class ArcMap:
    """A map of component numbers, its arcs and the state of a sweep that has passed it all."""

    numbers: NDArray[np.int64]
    arcs: Arcs

    @classmethod
    def of(cls, codes: NDArray[np.int64]) -> ArcMap:
        numbers = components(codes)
        return cls(numbers, slow_arcs(numbers))

    def bits(self) -> VertexBits:
        bits = VertexBits(*self.numbers.shape)
        bits.add(self.arcs.corners)
        return bits

    def lenses(self) -> Lenses:
        lenses = Lenses(last_rows(self.numbers))
        lenses.add(self.arcs)
        return lenses

    def broken(self, corners: NDArray[Any], arcs: Arcs, *, outer: bool) -> str:
        """Which law a coverage of changed arcs breaks; empty: none.

        Args:
            corners: of the changed arcs, in pixels.
            arcs: the changed arcs.
            outer: whether arcs beside nothing were changed, too.
        """
        try:
            polygons = slow_polygons(corners, arcs.starts, arcs.left, arcs.right)
        except AssertionError as reason:
            return str(reason)
        area = sum(polygon.area for polygon in polygons)
        ground = shapely.transform(polygons, lambda xy: xy @ np.reshape(SKEWED[:4], (2, 2)).T + SKEWED[4:])
        if len(polygons) != self.numbers.max(initial=NOTHING) + 1:
            return f"{len(polygons)} polygons"
        if not all(polygon.is_valid for polygon in [*polygons, *ground]):
            return "a polygon is invalid"
        if not (shapely.coverage_is_valid(polygons) and shapely.coverage_is_valid(ground)):
            return "the coverage is invalid"
        if not outer and abs(area - (self.numbers >= 0).sum()) > 1e-9:
            return f"an area of {area} became of {(self.numbers >= 0).sum()}"
        old, new = (line_ends(shape, at) for shape, at in ((self.arcs, self.arcs.corners), (arcs, corners)))
        return "" if (old == new).all() else "a junction moved"


def line_ends(arcs: Arcs, corners: NDArray[Any]) -> NDArray[np.float64]:
    """(arc, end, 2) first and last vertex of all open arcs."""
    ends = np.stack([corners[arcs.starts[:-1]], corners[arcs.starts[1:] - 1]], axis=1)
    return ends[~arcs.ring].astype(np.float64)


def lines(arcs: Arcs) -> list[list[tuple[int, int]]]:
    """Vertices of each arc."""
    return [[(int(x), int(y)) for x, y in line] for line in np.split(arcs.corners, arcs.starts[1:-1])]


def random_codes(rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to 21 × 21 pixels: blocks of some classes and nodata, with specks."""
    height, width, n = rng.integers(1, 8), rng.integers(1, 8), rng.integers(1, 6)
    codes = rng.integers(-rng.integers(0, 2), n, (height, width))
    codes = codes.repeat(rng.integers(1, 4), axis=0).repeat(rng.integers(1, 4), axis=1)
    specks = rng.random(codes.shape) < rng.choice([0.0, 0.15])
    codes[specks] = rng.integers(NOTHING, n, np.count_nonzero(specks))
    return np.asarray(codes, np.int64)


def smooth_codes(size: int, sigma: float, seed: int) -> NDArray[np.int64]:
    """Four classes whose patches are some sigma pixels wide."""
    from scipy import ndimage  # type: ignore[import-untyped]

    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(size, size)), sigma) for _ in range(4)]
    return np.asarray(np.argmax(fields, axis=0), np.int64)


arc_maps = st.integers(0, 2**32 - 1).map(lambda seed: ArcMap.of(random_codes(np.random.default_rng(seed))))
