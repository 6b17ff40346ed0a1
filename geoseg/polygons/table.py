"""Finished polygons with everything that is said about them; the schema of all vector formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely import GeometryType

from geoseg.classes import ClassScheme
from geoseg.ground import AreaModelName

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_COLUMNS = ("poly_id", "class_id", "n_pixels", "area_m2", "perim_m", "score", "own_pixels", "inst_id")


@dataclass(frozen=True)
class Polygons:
    """Polygons of one class raster or of a part of it, ordered by `poly_id`; all columns are (polygon,)."""

    xy: Floats
    """(vertex, 2) coordinates in `crs`, x (east or longitude) first; rings repeat their first vertex."""
    ring_starts: Ints
    """(ring + 1,) first vertex of each ring, then the number of vertices."""
    polygon_starts: Ints
    """(polygon + 1,) first ring of each polygon, its exterior, then the number of rings. Exteriors run
    counter-clockwise, holes clockwise."""
    poly_id: Ints
    """row · width + column of the component's first pixel."""
    class_id: Ints
    """Class code."""
    n_pixels: Ints
    """Pixels of the raster component."""
    area_m2: Floats
    """Area of the geometry as written, ground square meters."""
    perim_m: Floats
    """Length of exterior and holes as written, ground meters."""
    score: Floats | None
    """Mean winning score of the component's pixels, 0…1; None where no confidence raster is known."""
    scheme: ClassScheme
    crs: CRS
    area_model: AreaModelName
    scene_id: str
    img_date: date | None = None
    own_pixels: Ints | None = None
    """Pixels of each part where components were cut (by an area of interest: all at the first part); None: polygons are
    whole components."""
    inst_id: Ints | None = None
    """Number of the object, 1 … n, as in the instance raster; 0 for what is no thing; None: no class is one."""

    def __post_init__(self) -> None:
        if self.polygon_starts[-1] != len(self.ring_starts) - 1 or self.ring_starts[-1] != len(self.xy):
            raise ValueError("polygons are inconsistent: offsets do not end at the number of rings and vertices.")
        counted = (self.n_pixels, self.area_m2, self.perim_m, self.score, self.inst_id)
        columns = (self.poly_id, self.class_id, *counted)
        for column in columns:
            if column is not None and len(column) != len(self):
                raise ValueError(f"column of {len(column)} values for {len(self)} polygons.")

    def __len__(self) -> int:
        return len(self.polygon_starts) - 1

    def select(self, chosen: NDArray[np.bool_]) -> Polygons:
        """Some of the polygons, in their order.

        Args:
            chosen: (polygon,) True = stays.
        """
        rings = np.repeat(chosen, np.diff(self.polygon_starts))
        n_rings, n_vertices = np.diff(self.polygon_starts)[chosen], np.diff(self.ring_starts)

        def part(column: NDArray[Any] | None) -> Any:
            return None if column is None else column[chosen]

        return replace(
            self,
            xy=self.xy[np.repeat(rings, n_vertices)],
            ring_starts=np.concatenate([[0], np.cumsum(n_vertices[rings])]),
            polygon_starts=np.concatenate([[0], np.cumsum(n_rings)]),
            **{name: part(getattr(self, name)) for name in _COLUMNS},
        )

    @cached_property
    def geometry(self) -> NDArray[np.object_]:
        """(polygon,) shapely polygons; made when first asked for, files are written without them."""
        if not len(self):
            return np.zeros(0, object)
        offsets = (self.ring_starts, self.polygon_starts)
        return np.asarray(shapely.from_ragged_array(GeometryType.POLYGON, self.xy, offsets))

    @property
    def boxes(self) -> Floats:
        """(polygon, 4) left, bottom, right, top of each geometry in `crs`."""
        if not len(self):
            return np.zeros((0, 4))
        first = self.ring_starts[self.polygon_starts[:-1]]
        low, high = np.minimum.reduceat(self.xy, first, axis=0), np.maximum.reduceat(self.xy, first, axis=0)
        return np.concatenate([low, high], axis=1)

    @property
    def class_name(self) -> NDArray[np.object_]:
        """Class name of each polygon."""
        names = np.array(self.scheme.names, dtype=object)
        return np.asarray(names[self.class_index])

    @cached_property
    def class_index(self) -> Ints:
        """Place of each polygon's class in the scheme."""
        codes = np.array(self.scheme.codes)
        order = np.argsort(codes)
        return np.asarray(order[np.searchsorted(codes, self.class_id, sorter=order)])


@dataclass(frozen=True)
class Totals:
    """Sums over polygons."""

    count: Ints
    """(class,) number of polygons, in the scheme's order; likewise below."""
    n_pixels: Ints
    """(class,) pixels that they outline."""
    area_m2: Floats
    """(class,) area of the geometries as written, ground square meters."""
    n_rings: int
    n_vertices: int
    """Closing ones included."""
    bounds: Floats
    """(4,) left, bottom, right, top; infinite and inside out where there is no polygon."""

    @classmethod
    def of(cls, polygons: Polygons) -> Totals:
        """Sums over a table."""
        n, index = len(polygons.scheme), polygons.class_index
        n_pixels = np.zeros(n, np.int64)
        np.add.at(n_pixels, index, polygons.n_pixels if polygons.own_pixels is None else polygons.own_pixels)
        return cls(
            count=np.bincount(index, minlength=n),
            n_pixels=n_pixels,
            area_m2=np.asarray(np.bincount(index, weights=polygons.area_m2, minlength=n), np.float64),
            n_rings=len(polygons.ring_starts) - 1,
            n_vertices=len(polygons.xy),
            bounds=_bounds(polygons.xy),
        )

    @classmethod
    def sum(cls, parts: Sequence[Totals]) -> Totals:
        """Sums over at least one part."""
        bounds = np.stack([part.bounds for part in parts])
        return cls(
            count=np.sum([part.count for part in parts], axis=0),
            n_pixels=np.sum([part.n_pixels for part in parts], axis=0),
            area_m2=np.sum([part.area_m2 for part in parts], axis=0),
            n_rings=sum(part.n_rings for part in parts),
            n_vertices=sum(part.n_vertices for part in parts),
            bounds=np.append(bounds[:, :2].min(axis=0), bounds[:, 2:].max(axis=0)),
        )

    def of_classes(self, index: Ints) -> Totals:
        """The same sums for a scheme of these classes alone; no polygon is of another one."""
        return replace(self, count=self.count[index], n_pixels=self.n_pixels[index], area_m2=self.area_m2[index])


def _bounds(xy: Floats) -> Floats:
    """(4,) left, bottom, right, top of (vertex, 2); by column, since NumPy takes 25 times as long along axis 0."""
    columns = xy[:, 0], xy[:, 1]
    return np.array([c.min(initial=np.inf) for c in columns] + [c.max(initial=-np.inf) for c in columns])
