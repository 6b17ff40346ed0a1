"""Where chips and tiles lie. Integers only; nothing here reads a pixel.

Chips lie on one lattice anchored at the raster's first pixel, `step = chip − 2·margin` apart. Each chip
answers for its own cell of the lattice and reads `margin` pixels more on every side:

        read      ├─margin─┼────── step ──────┼─margin─┤        = chip, a multiple of the stride
        cell i             i·step        (i+1)·step

Chips at the right and bottom shrink to the next multiple of the stride. A tile is k × k cells: one task.
Since the lattice never moves, tile size, workers and order cannot change the result (law 2).

With `blend="taper"` a chip speaks for more than its cell: for all but the outer half of its margin, so that
neighbors overlap by a whole margin and the answer passes from one to the next (see `blend`). What a chip says
does not depend on the tile; a tile predicts every chip that reaches into its core, those of neighboring tiles anew.

When the model wants another pixel size, the lattice lies on the *network grid*, whose pixels are `zoom`
output pixels wide. Each output pixel belongs to the one cell in which its centre lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from geoseg.errors import ConfigError
from geoseg.grid import Grid, Window
from geoseg.model.spec import check_chip
from geoseg.settings import Blend


@dataclass(frozen=True, slots=True)
class Axis:
    """The lattice along one axis (columns or rows)."""

    size: int
    """Output pixels."""
    network_size: int
    """Network pixels; equals `size` when nothing is resampled."""
    zoom: float
    """Output pixels per network pixel."""
    chip: int
    margin: int
    stride: int
    fixed_chip: bool

    @property
    def ramp(self) -> int:
        """Network pixels over which tapered neighbors overlap."""
        return 2 * (self.margin - self.margin // 2)

    @property
    def step(self) -> int:
        """Network pixels from one cell to the next."""
        return self.chip - 2 * self.margin

    @property
    def count(self) -> int:
        """Number of cells."""
        cells = -(-self.network_size // self.step)
        while cells > 1 and self.edge(cells - 1) >= self.size:
            cells -= 1
        return cells

    def edge(self, cell: int) -> int:
        """First output pixel of a cell: the first whose centre lies at or beyond the cell's start."""
        return min(math.ceil(cell * self.step * self.zoom - 0.5), self.size)

    def core(self, cell: int) -> tuple[int, int]:
        """First and last + 1 output pixel of a cell."""
        return self.edge(cell), self.size if cell == self.count - 1 else self.edge(cell + 1)

    def read(self, cell: int) -> tuple[int, int]:
        """First and last + 1 network pixel that the cell's chip reads; may lie beyond the raster."""
        start = cell * self.step - self.margin
        if self.fixed_chip:
            return start, start + self.chip
        end = min((cell + 1) * self.step, self.network_size) + self.margin
        length = -(-(end - start) // self.stride) * self.stride
        return start, start + min(length, self.chip)

    def reach(self, cell: int) -> tuple[int, int]:
        """Where a tapered chip begins and ends to speak, in network pixels; may lie beyond the raster."""
        start, end = self.read(cell)
        return start + self.margin // 2, end - self.margin // 2

    def reaching(self, first: int, end: int) -> range:
        """Cells whose tapered chips reach into the cells first … end - 1."""
        around = -(-(self.ramp // 2) // self.step)
        return range(max(0, first - around), min(self.count, end + around))


@dataclass(frozen=True, slots=True)
class Cell:
    """One chip's work."""

    core: Window
    """Output pixels that it answers for."""
    read: Window
    """Network pixels that it sees."""
    row: int = 0
    """Its place on the lattice."""
    col: int = 0


@dataclass(frozen=True, slots=True)
class Tile:
    """One task: k × k cells."""

    number: int
    core: Window
    """Output pixels that the tile owns."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class TilePlan(Sequence[Tile]):
    """All tiles of a raster, computed when asked for; O(1) memory, picklable."""

    grid: Grid
    """Where results are wanted."""
    network_grid: Grid
    """Where the network sees the scene; the same as `grid` when nothing is resampled."""
    chip: int
    margin: int
    stride: int
    cells_per_side: int
    fixed_chip: bool = False
    blend: Blend = "trim"
    seam_pairs: int | None = None
    """Pairs of chips that are compared, as far as there are so many; None: see `geoseg.tiling.seam.usual_pairs`."""

    def __post_init__(self) -> None:
        check_chip(self.chip, self.margin, self.stride)
        if self.cells_per_side < 1:
            raise ValueError(f"a tile needs at least one cell a side, not {self.cells_per_side}.")
        if self.cols.step * self.cols.zoom < 1:
            raise ConfigError(f"chips of {self.chip} pixels with margin {self.margin} own less than one output pixel.")

    @property
    def resampled(self) -> bool:
        """True when the network sees other pixels than the output has."""
        return self.network_grid != self.grid

    @property
    def tapered(self) -> bool:
        """True when chips overlap where they speak; without a margin there is nothing to blend."""
        return self.blend == "taper" and self.margin > 0

    @cached_property
    def cols(self) -> Axis:
        """The lattice along a row."""
        return self._axis(self.grid.width, self.network_grid.width)

    @cached_property
    def rows(self) -> Axis:
        """The lattice along a column."""
        return self._axis(self.grid.height, self.network_grid.height)

    def _axis(self, size: int, network_size: int) -> Axis:
        zoom = math.sqrt(self.network_grid.pixel_area / self.grid.pixel_area) if self.resampled else 1.0
        return Axis(size, network_size, zoom, self.chip, self.margin, self.stride, self.fixed_chip)

    @property
    def tiles_across(self) -> int:
        """Tiles in a row of tiles."""
        return -(-self.cols.count // self.cells_per_side)

    @property
    def tiles_down(self) -> int:
        """Rows of tiles."""
        return -(-self.rows.count // self.cells_per_side)

    @property
    def chips(self) -> int:
        """Number of chips that are predicted in the whole plan, those of two tiles twice."""
        return math.prod(len(self._predicted(axis)) for axis in (self.rows, self.cols))

    @property
    def halo_factor(self) -> float:
        """Network pixels read per network pixel of the raster."""
        read = 1
        for axis in (self.rows, self.cols):
            read *= sum(stop - start for start, stop in map(axis.read, self._predicted(axis)))
        return read / (self.network_grid.width * self.network_grid.height)

    def _predicted(self, axis: Axis) -> list[int]:
        """Cells along an axis, tile by tile."""
        k, count = self.cells_per_side, axis.count
        if not self.tapered:
            return list(range(count))
        return [cell for first in range(0, count, k) for cell in axis.reaching(first, min(first + k, count))]

    def __len__(self) -> int:
        return self.tiles_across * self.tiles_down

    @overload
    def __getitem__(self, number: int) -> Tile: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Tile]: ...
    def __getitem__(self, number: int | slice) -> Tile | Sequence[Tile]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"tile {number} of {len(self)}")
        rows, cols = self._lattice(number % len(self))
        core = Window.from_edges(
            left=self.cols.core(cols[0])[0],
            top=self.rows.core(rows[0])[0],
            right=self.cols.core(cols[-1])[1],
            bottom=self.rows.core(rows[-1])[1],
        )
        return Tile(number % len(self), core, tuple(self.cell(row, col) for row in rows for col in cols))

    def _lattice(self, number: int) -> tuple[range, range]:
        """Rows and columns of the lattice that a tile owns."""
        row, col = divmod(number, self.tiles_across)
        k = self.cells_per_side
        return (
            range(row * k, min((row + 1) * k, self.rows.count)),
            range(col * k, min((col + 1) * k, self.cols.count)),
        )

    def cell(self, row: int, col: int) -> Cell:
        """The cell in a row and column of the lattice."""
        top, bottom = self.rows.core(row)
        left, right = self.cols.core(col)
        first_row, end_row = self.rows.read(row)
        first_col, end_col = self.cols.read(col)
        return Cell(
            core=Window.from_edges(left=left, top=top, right=right, bottom=bottom),
            read=Window.from_edges(left=first_col, top=first_row, right=end_col, bottom=end_row),
            row=row,
            col=col,
        )

    def reaching(self, tile: Tile) -> Iterator[Cell]:
        """Cells whose chips speak for pixels of a tile's core, row by row; when trimmed, the tile's own."""
        rows, cols = self._lattice(tile.number)
        if not self.tapered:
            yield from tile.cells
            return
        for row in self.rows.reaching(rows.start, rows.stop):
            for col in self.cols.reaching(cols.start, cols.stop):
                yield self.cell(row, col)


def plan_tiles(
    grid: Grid,
    *,
    chip: int,
    margin: int,
    stride: int,
    tile: int,
    network_gsd_m: float | None = None,
    fixed_chip: bool = False,
    blend: Blend = "trim",
) -> TilePlan:
    """Lay chips and tiles over a grid.

    Args:
        grid: where results are wanted.
        chip: side of a chip in network pixels, a multiple of the stride.
        margin: network pixels trimmed from each side, a multiple of the stride.
        stride: the network's total down-sampling.
        tile: wished side of a tile in output pixels.
        network_gsd_m: pixel size in metres that the network is to see; None: the grid's own.
        fixed_chip: never shrink chips.
        blend: how chips that overlap make one answer.

    Raises:
        ConfigError: chip, margin and stride do not go together.
    """
    zoom = 1.0 if network_gsd_m is None else network_gsd_m / grid.gsd_m
    network_grid = grid if network_gsd_m is None else grid.zoom(zoom)
    cells = max(1, int(tile / max(1.0, (chip - 2 * margin) * zoom)))
    return TilePlan(grid, network_grid, chip, margin, stride, cells, fixed_chip, blend)
