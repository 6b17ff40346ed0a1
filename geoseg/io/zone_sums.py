"""Class rasters × zones: windows of bounded memory, every place counted once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.errors import InputError
from geoseg.grid import Grid, Window
from geoseg.ground import AreaModel, area_model
from geoseg.io.class_raster import ClassRaster, read_codes
from geoseg.io.recode import Recoding
from geoseg.zones.carry import transformer, turn_of
from geoseg.zones.placement import Placement
from geoseg.zones.shares import Edges, shares, window_of
from geoseg.zones.table import Zones, areas_m2

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SIDE = 1024
"""Side of a window in pixels; at most some 100 bytes a pixel are held."""
_LOOKUP_PX = 2**24
_TOUCH = 1e-3
"""Rasters that share a strip narrower than this part of a pixel are neighbors and do not overlap."""


@dataclass(frozen=True)
class Layer:
    """A class raster and what its codes mean in the table."""

    raster: ClassRaster
    index_of: Recoding
    """Code → index of the class; `n_classes` for codes that are none."""
    n_classes: int

    @property
    def grid(self) -> Grid:
        """The raster's grid."""
        return self.raster.grid

    @cached_property
    def area_model(self) -> AreaModel:
        """How the raster is measured."""
        return area_model(self.grid)

    def read(self, window: Window) -> Ints:
        """Indices (row, col) of a window; `n_classes` where there is no class."""
        return self.index_of(read_codes(self.raster, window))


@dataclass(frozen=True)
class Mosaic:
    """Class rasters over one another: a place belongs to the first that has a class there, else to the first there.

    A pixel belongs as a whole to the raster that its center belongs to (others are looked up at the nearest pixel):
    exact for rasters on one lattice, else to half a pixel along the borders of overlaps.
    """

    layers: tuple[Layer, ...]
    zones: Zones

    def sums(self, side: int = SIDE) -> tuple[Floats, Floats, Floats]:
        """What lies in each zone, in m² of ground as each raster measures it.

        Args:
            side: side of a window in pixels; never changes the result by more than rounding.

        Returns:
            (zone, class) with a class, (zone,) on rasters without one, (zone,) outside all rasters.

        Raises:
            InputError: a raster cannot be read, or a zone cannot be drawn on it.
        """
        n = self.layers[0].n_classes
        table = np.zeros((len(self.zones), n + 1))
        for number, layer in enumerate(self.layers):
            edges = self._edges(layer)
            if not edges:
                continue
            of_edges = np.array(list(edges))
            tree = shapely.STRtree(shapely.box(*np.array([e.bounds for e in edges.values()]).T))
            for window in layer.grid.window.split(side):
                box = shapely.box(window.col_off, window.row_off, window.col_end, window.row_end)
                here = {zone: edges[zone] for zone in of_edges[np.sort(tree.query(box))].tolist()}
                self._add(table, number, here, window)
        return table[:, :n], table[:, n], self._outside()

    def _edges(self, layer: Layer) -> dict[int, Edges]:
        """Outlines of the zones near a raster, by the zone's index."""
        placement = Placement(self.zones.crs, layer.grid)
        out = {}
        for zone, polygon in enumerate(self.zones.polygons):
            try:
                edges = placement.edges(polygon)
            except InputError as error:
                raise InputError(f"zone {self.zones.names[zone]!r} on {layer.raster.path}: {error}") from error
            if edges:
                out[zone] = edges
        return out

    def _add(self, table: Floats, number: int, edges: dict[int, Edges], window: Window) -> None:
        """Add one window of one raster to the zones that touch it."""
        boxes = {zone: box for zone, outline in edges.items() if (box := window_of(outline, window))}
        if not boxes:
            return
        layer = self.layers[number]
        frame = Window.around(list(boxes.values()))
        labels = self._owned(number, frame)
        rows = np.arange(frame.row_off, frame.row_end)
        pixel_m2 = layer.area_model.pixel_areas(layer.grid, rows)
        width = table.shape[1] + 1
        for zone, box in boxes.items():
            # Whole pixels add up exactly; areas come in once a row.
            part = labels[box.relative_to(frame).slices]
            key = part + width * np.arange(box.height)[:, None]
            covered = np.bincount(key.ravel(), shares(edges[zone], box).ravel(), width * box.height)
            top = box.row_off - frame.row_off
            m2 = pixel_m2[top : top + box.height] @ covered.reshape(box.height, width)
            table[zone] += m2[:-1]

    def _owned(self, number: int, window: Window) -> Ints:
        """Index of each pixel (row, col): its class, `n_classes` without one, `n_classes + 1` if another raster's."""
        layer = self.layers[number]
        labels = layer.read(window)
        nodata, foreign = layer.n_classes, layer.n_classes + 1
        for other in self._overlaps[number]:
            if other > number and not (labels == nodata).any():
                continue
            there, classed = _looked_up(self.layers[other], layer.grid, window)
            here = labels == nodata
            labels[(classed | (there & here)) if other < number else (classed & here)] = foreign
        return labels

    @cached_property
    def _frames(self) -> list[Any]:
        return [self._frame(layer) for layer in self.layers]

    def _frame(self, layer: Layer) -> Any:
        try:
            return Placement(self.zones.crs, layer.grid).frame(
                tuple(shapely.total_bounds(self.zones.polygons).tolist())
            )
        except InputError as error:
            raise InputError(
                f"the frame of {layer.raster.path} cannot be drawn in the zones' CRS {self.zones.crs.name!r}: "
                f"give the zones in the raster's."
            ) from error

    @cached_property
    def _overlaps(self) -> list[list[int]]:
        """Of each raster, those that overlap it."""
        tree = shapely.STRtree(self._frames)
        out = []
        for number, (frame, layer) in enumerate(zip(self._frames, self.layers, strict=True)):
            least = _TOUCH * frame.area / max(layer.grid.shape)
            near = [int(i) for i in np.sort(tree.query(frame)) if i != number]
            out.append([i for i in near if frame.intersection(self._frames[i]).area > least])
        return out

    def _outside(self) -> Floats:
        """(zone,) m² of ground outside all rasters, measured in the zones' own CRS."""
        rasters = shapely.union_all(self._frames)
        return areas_m2(np.asarray(shapely.difference(self.zones.polygons, rasters)), self.zones.crs)


def _looked_up(other: Layer, grid: Grid, window: Window) -> tuple[Bools, Bools]:
    """Where another raster reaches to, and where it has a class, at the centers of a window's pixels; (row, col)."""
    cols, rows = np.meshgrid(
        np.arange(window.col_off, window.col_end) + 0.5, np.arange(window.row_off, window.row_end) + 0.5
    )
    xs, ys = grid.transform @ (cols, rows)
    if other.grid.crs != grid.crs:
        xs, ys = transformer(grid.crs, other.grid.crs).transform(xs, ys)
    turn = turn_of(other.grid.crs)
    with np.errstate(invalid="ignore"):  # infinite: beyond the other CRS's domain, hence not there
        if turn is not None:
            xs = xs - turn * np.floor((xs - other.grid.bounds.left) / turn)
        cols, rows = ~other.grid.transform @ (xs, ys)
    there = (cols >= 0) & (cols < other.grid.width) & (rows >= 0) & (rows < other.grid.height)
    classed = np.zeros_like(there)
    cols, rows = (np.where(there, at, 0).astype(np.int64) for at in (cols, rows))
    _look_up(other, there, classed, cols, rows)
    return there, classed


def _look_up(other: Layer, there: Bools, classed: Bools, cols: Ints, rows: Ints) -> None:
    """Fill `classed` where `there`, reading windows of bounded size."""
    if not there.any():
        return
    left, right = int(cols[there].min()), int(cols[there].max()) + 1
    top, bottom = int(rows[there].min()), int(rows[there].max()) + 1
    window = Window.from_edges(left=left, top=top, right=right, bottom=bottom)
    if window.size > _LOOKUP_PX and there.size > 1:
        axis = int(there.shape[1] >= there.shape[0])
        halves = (np.array_split(array, 2, axis) for array in (there, classed, cols, rows))
        for half in zip(*halves, strict=True):
            _look_up(other, *half)
        return
    classed[there] = other.read(window)[rows[there] - top, cols[there] - left] < other.n_classes
