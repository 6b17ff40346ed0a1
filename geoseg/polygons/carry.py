"""Polygons from pixels into another CRS, neighbors with the same vertices on both sides.

Every vertex is carried for itself, so what two polygons share, they share afterwards. A straight edge is a curve in
the other CRS: it is cut until no piece strays from it by more than `STRAY_PX`. The cuts depend on the edge alone and
are counted from its smaller end, so both neighbors make the same.

An edge that runs askew may pass a foreign vertex, or leave a junction beside another edge, by a hair: no corner of a
pixel is nearer to an edge of L pixels than 1 / L, and two such edges differ by 1 / L² in direction at least. So they
are cut finer: an edge that lies b pixels beside its curve turns by 8 b / L² a pixel, and the direction of a piece of
1 / (8 b) pixels is true to half of 1 / L². Edges along rows and columns, all of what is not simplified, are a pixel
apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.errors import InputError, UsageError
from geoseg.ground import corner_xy
from geoseg.polygons.rings import PolygonBatch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRAY_PX = 0.01
"""Pixels by which a line may stray from its true place."""
_STRAY_AT_AOI_PX = 1e-6
"""The same for lines along an area of interest, which corners of pixels come as near to as they like."""
_FINEST = 1 / 16
"""An edge that strays although its pieces are shorter than this many pixels jumps: over the antimeridian, say. A piece
that jumps strays by half its length, which must still be more than STRAY_PX when it is half as long."""

_AT_ONCE = 1 << 18  # vertices, for memory and a core's cache


@dataclass(frozen=True)
class Carrier:
    """The way from a raster's pixels into another CRS; `carrier` makes it."""

    transform: Affine
    """Pixel corner → CRS of the raster."""
    way: Transformer
    """CRS of the raster → the other, x (east or longitude) first."""
    target: CRS
    """The other CRS."""

    @cached_property
    def _turn(self) -> float:
        """Once round the globe where the other CRS has longitudes, else infinite."""
        return 2 * np.pi / self.target.axis_info[0].unit_conversion_factor if self.target.is_geographic else np.inf

    def carried(self, batch: PolygonBatch, unit: int = 1) -> PolygonBatch:
        """The polygons in the other CRS.

        Memory: the result, and some 50 MB while it is made.

        Args:
            batch: as `coverage` gives it, in pixels.
            unit: parts of a pixel that corners are whole numbers of: 1, or `smooth.UNIT`.

        Returns:
            The same polygons with float64 (x, y) vertices in the other CRS. Rings keep their direction.

        Raises:
            InputError: a vertex has no place in the other CRS, or an edge jumps there.
        """
        parts, lengths = [np.zeros((0, 2))], [np.zeros(0, np.int64)]
        at_once = np.arange(0, batch.ring_starts[-1], _AT_ONCE)
        stops = np.append(np.unique(np.searchsorted(batch.ring_starts, at_once)), len(batch.ring_starts) - 1)
        for first, last in pairwise(stops.tolist()):
            starts = batch.ring_starts[first : last + 1]
            part = slice(starts[0], starts[-1])
            along = None if batch.along_aoi is None else batch.along_aoi[part]
            xy, starts = self._carried(batch.corners[part] / unit, starts - starts[0], along)
            parts.append(xy)
            lengths.append(np.diff(starts))
        starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        return replace(batch, corners=np.concatenate(parts), ring_starts=starts, along_aoi=None)

    def _carried(self, pixels: Floats, ring_starts: Ints, along_aoi: NDArray[np.bool_] | None) -> tuple[Floats, Ints]:
        """Rings in the other CRS and their first vertices."""
        there = self._moved(pixels)
        n = np.ones(len(pixels), np.int64)
        edges = np.delete(np.arange(len(pixels)), ring_starts[1:] - 1)
        a, b = pixels[edges], pixels[edges + 1]
        stray = np.full(len(edges), STRAY_PX)
        if along_aoi is not None:
            stray[along_aoi[edges]] = _STRAY_AT_AOI_PX
        n[edges] = self._pieces(a, b, self._bend(a, b, there[edges], there[edges + 1]), stray)
        first = np.concatenate([[0], np.cumsum(n)])
        xy = np.repeat(there, n, axis=0)
        cut = edges[n[edges] > 1]
        points, starts = _divided(pixels[cut], pixels[cut + 1], n[cut])
        inner = np.delete(points, np.concatenate([starts[:-1], starts[1:] - 1]), axis=0)
        xy[np.delete(np.arange(len(xy)), first[:-1])] = self._moved(inner)
        return xy, first[ring_starts]

    def _pieces(self, a: Floats, b: Floats, bend: Floats, stray: Floats) -> Ints:
        """(edge,) into how many pieces edges from a to b are cut, the same for edges from b to a.

        Args:
            a: (edge, 2) begins.
            b: (edge, 2) ends.
            bend: (edge,) how far their middles lie beside the straight lines, in pixels.
            stray: (edge,) how far pieces may.
        """
        length, askew = np.hypot(*(b - a).T), (a != b).all(axis=1)
        pieces = np.maximum(np.sqrt(bend / stray), np.where(askew, 8 * bend * length, 0.0))
        finest = np.where(stray < STRAY_PX, _FINEST / 64, _FINEST)
        n: Ints = np.ceil(np.clip(pieces, 1, 1 + length / finest)).astype(np.int64)
        # The middle of the whole says little about an edge that bends unevenly: look at all pieces of those cut.
        cut = np.flatnonzero(n > 1)
        while len(cut):
            points, first = _divided(a[cut], b[cut], n[cut])
            there = self._moved(points)
            bends = self._bend(points[:-1], points[1:], there[:-1], there[1:])
            bends[first[1:-1] - 1] = 0.0  # from edge to edge
            cut = cut[np.maximum.reduceat(bends, first[:-1]) > STRAY_PX]
            n[cut] *= 2
            endless = n[cut] > 2 + 2 * length[cut] / _FINEST
            if endless.any():
                raise self._refusal("are torn apart", a[cut[np.argmax(endless)]])
        return n

    def _bend(self, a: Floats, b: Floats, a_there: Floats, b_there: Floats) -> Floats:
        """(edge,) how far the middles of edges lie beside the straight lines between their ends, in pixels."""
        torn = np.abs(b_there - a_there)[:, 0] > self._turn / 2
        if torn.any():
            raise self._refusal("are torn apart", a[np.argmax(torn)])
        chord = np.maximum(np.hypot(*(b_there - a_there).T), np.finfo(np.float64).tiny)
        bend = np.hypot(*(self._moved((a + b) / 2) - (a_there + b_there) / 2).T)
        return np.asarray(bend / chord * np.hypot(*(b - a).T))

    def _moved(self, pixels: Floats) -> Floats:
        """(vertex, 2) pixels in the other CRS."""
        there = corner_xy(self.transform, *pixels.T)
        with np.errstate(invalid="ignore"):
            xy = np.column_stack(self.way.transform(*there.T))
        lost = ~np.isfinite(xy).all(axis=1)
        if lost.any():
            raise self._refusal("have no place", pixels[np.argmax(lost)])
        return xy

    def _refusal(self, what: str, pixel: Floats) -> InputError:
        col, row = pixel
        return InputError(
            f"--out-crs: polygons at column {col:g}, row {row:g} {what} in {self.target.name!r}: "
            f"choose a CRS made for this region, or leave the place out with --aoi."
        )


def carrier(transform: Affine, source: CRS, target: CRS) -> Carrier:
    """The way from a raster's pixels into another CRS.

    Polygons across the antimeridian or around a pole are refused where the other CRS has longitudes: they would need
    longitudes beyond 180° or to be cut, and most readers take neither.

    Args:
        transform: of the raster: pixel corner → source.
        source: CRS of the raster.
        target: CRS of the result, x (east or longitude) first.

    Raises:
        UsageError: no way leads from one to the other.
    """
    try:
        way = Transformer.from_crs(source, target, always_xy=True)
    except ProjError as error:
        raise UsageError(f"--out-crs: no way leads from {source.name!r} to {target.name!r}: choose another.") from error
    return Carrier(transform, way, target)


def _divided(a: Floats, b: Floats, n: Ints) -> tuple[Floats, Ints]:
    """Points that cut each edge into n equal pieces, both ends included.

    Returns:
        (point, 2), the same for an edge from b to a in the other order, and (edge + 1,) the first of each edge, then
        how many there are.
    """
    first = np.concatenate([[0], np.cumsum(n + 1)])
    edge = np.repeat(np.arange(len(n)), n + 1)
    step = np.arange(first[-1]) - first[edge]
    swap = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    low, high = np.where(swap[:, None], b, a), np.where(swap[:, None], a, b)
    step = np.where(swap[edge], n[edge] - step, step)
    return low[edge] + (high - low)[edge] * (step / n[edge])[:, None], first
