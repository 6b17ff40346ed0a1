"""What making polygons of a class raster will take, told before it is done: memory and disk."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geoseg.grid import Grid, Window
from geoseg.ground import area_model
from geoseg.io.class_raster import ClassRaster, open_class_raster, read_codes
from geoseg.io.early import MEMORY as EARLY_MEMORY
from geoseg.io.early import pays
from geoseg.io.legend_file import read_legend_file
from geoseg.io.machine import memory_room
from geoseg.polygons.basins import BYTES_PER_HILL, BYTES_PER_SADDLE
from geoseg.polygons.cut import BYTES_PER_COMPONENT as CUT_BYTES
from geoseg.polygons.density import Density, density
from geoseg.polygons.label import Codes
from geoseg.polygons.mmu import BYTES_PER_COMPONENT as MMU_BYTES
from geoseg.polygons.mmu import BYTES_PER_PAIR
from geoseg.polygons.objects import BYTES_PER_PIXEL
from geoseg.polygons.rings import BYTES_PER_ARC, BYTES_PER_VERTEX, BYTES_PER_WAITING_VERTEX
from geoseg.polygons.survey import BAND_PX, BYTES_PER_COMPONENT, THREADS
from geoseg.settings import VectorSettings
from geoseg.spelling import bytes_of
from geoseg.stories.objects import peak_rule
from geoseg.stories.prepare import grid_json
from geoseg.stories.regions import KEPT_PX
from geoseg.stories.vector_key import mapping_unit, skipped_codes, thing_codes

BASE_MEMORY = 900 * 2**20
"""Python with its libraries, a few bands of rows, batches of polygons on their way into a file, GDAL's caches."""
PAIRS_PER_COMPONENT = 3
"""Neighbors of a component, each pair counted once, as in any planar map."""
HILLS_PER_COMPONENT = 4
"""Maxima of a landscape; seen: 0.02 for crops of fields, 2 for noise, 4 for noise smoothed over a pixel."""
POOL_SLACK = 4
"""How much larger than what it needs the pool of open arcs may be: it is cleared and grows by halves."""
BLOCK_PX = 2048
BLOCKS_A_SIDE = 3
_ROW_BYTES, _VERTEX_BYTES = 140, 16
_COPIES = 2.6
"""The rows, and the file made of them with its index."""


@dataclass(frozen=True, kw_only=True)
class VectorPlan:
    """What vectorizing a class raster would need; nothing was done."""

    path: Path
    grid: Grid
    n_classes: int
    seen_px: int
    """Pixels by which the rest was judged."""
    polygons: int
    """Components before a minimum mapping unit; an upper estimate."""
    memory: int
    """Bytes: bound for the process, and the one that writes beside it, for a raster that is everywhere as where it was
    looked at."""
    room: int
    """Bytes that the process may come to now."""
    disk: int
    """Bytes needed in the output folder while running, for a GeoPackage."""

    @property
    def fits(self) -> bool:
        """Whether the memory suffices."""
        return self.memory <= self.room

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dicts."""
        return {
            "input": str(self.path),
            "grid": grid_json(self.grid),
            "classes": self.n_classes,
            "seen_px": self.seen_px,
            "polygons": self.polygons,
            "vector_memory_bytes": self.memory,
            "memory_room_bytes": self.room,
            "fits": self.fits,
            "disk_bytes": self.disk,
        }

    def lines(self) -> list[str]:
        """For people."""
        share = self.seen_px / (self.grid.width * self.grid.height)
        out = [
            f"grid     {self.grid.width} × {self.grid.height} px, {self.n_classes} classes",
            f"polygons up to {self.polygons:,}, judged by {share:.0%} of the pixels",
            f"memory   at most {self.memory / 1e9:.2f} GB of the {self.room / 1e9:.2f} GB that are allowed",
            f"disk     {self.disk / 1e9:.2f} GB while running",
        ]
        if not self.fits:
            out.append("warning: memory may not suffice; --max-vertices cuts large polygons, --mmu drops small ones.")
        return out


def plan_vectorize(
    raster: Path, settings: VectorSettings | None = None, *, max_memory: str | None = None
) -> VectorPlan:
    """Measure a class raster for `vectorize`, do nothing.

    Args:
        raster: class raster.
        settings: as for `vectorize`.
        max_memory: as for `vectorize`.

    Raises:
        GeosegError: vectorizing could not even start.
    """
    settings = settings or VectorSettings()
    legend = None if settings.legend is None else read_legend_file(settings.legend)
    found = open_class_raster(Path(raster), legend=legend)
    mapping_unit(settings, found.scheme, found.grid, area_model(found.grid))
    skipped = skipped_codes(found.scheme, settings.skip_classes)
    windows = list(sample_windows(found.grid))
    dense = density(_blocks(found, windows), found.nodata, skipped)
    polygons, disk = _stored(found.grid, dense)
    disk += object_disk(found.grid, settings, things=bool(thing_codes(found.scheme, settings.things)))
    early = pays(found.grid, dissolve=settings.dissolve, max_memory=max_memory)
    return VectorPlan(
        path=found.path,
        grid=found.grid,
        n_classes=len(found.scheme.classes),
        seen_px=sum(window.width * window.height for window in windows),
        polygons=polygons,
        memory=BASE_MEMORY + map_memory(found.grid, dense, settings) + (EARLY_MEMORY if early else 0),
        room=_allowed(max_memory),
        disk=disk,
    )


def map_memory(grid: Grid, dense: Density, settings: VectorSettings) -> int:
    """Bytes that vectorizing takes at most, besides the bare process, for a map of this density.

    The table of components is there from the first pass on; in the first pass it is held twice, a minimum mapping unit
    and cutting need more of it. In the second pass come the arcs of open polygons: of those that last, all; of the
    others those of the rows that a block has, on both sides of the sweep.
    """
    pixels = grid.width * grid.height
    each = BYTES_PER_COMPONENT
    if settings.mmu is not None or settings.mmu_class is not None:
        # The contacts of the bands, 12 bytes a pair, stand beside the graph that is made of them.
        each += MMU_BYTES + PAIRS_PER_COMPONENT * (BYTES_PER_PAIR + 12)
    if settings.max_vertices is not None:
        each += CUT_BYTES
    split = settings.splitting
    at_once = 0
    if split.method != "components":
        # The landscape of stretches of rows in work, and of each component some hills.
        halo = peak_rule(split, grid.gsd_m).halo if split.method == "peaks" else split.radius_px(grid.gsd_m) + 1
        at_once = min(pixels, (THREADS + 2) * (max(BAND_PX, halo * grid.width) + 2 * halo * grid.width))
        each += HILLS_PER_COMPONENT * (BYTES_PER_HILL + BYTES_PER_SADDLE + BYTES_PER_COMPONENT)
    near = min(pixels, 2 * BLOCK_PX * grid.width)
    cut = settings.max_vertices is not None
    lasting = 0 if cut else pixels
    arcs = near * dense.arcs + lasting * dense.lasting_arcs
    vertices = near * dense.vertices + lasting * dense.lasting_vertices
    open_arcs = POOL_SLACK * (arcs * BYTES_PER_ARC + vertices * BYTES_PER_WAITING_VERTEX)
    made = lasting * dense.lasting_vertices * BYTES_PER_VERTEX
    bits = pixels // 8 if settings.simplify or settings.smooth else 0
    runs = 8 * min(pixels, KEPT_PX) // 4
    return runs + bits + at_once * BYTES_PER_PIXEL + int(pixels * dense.components * each + open_arcs + made)


def object_disk(grid: Grid, settings: VectorSettings, *, things: bool) -> int:
    """Bytes on disk for objects: what divides them, then the spool of their raster and the raster."""
    if not things:
        return 0
    cells = 4 if settings.splitting.method != "components" else 0
    return grid.width * grid.height * (cells + 8)


def sample_windows(grid: Grid) -> Iterator[Window]:
    """Blocks of `BLOCK_PX`, evenly over the raster; of a small one all pixels."""
    rows, cols = (_stretches(side) for side in (grid.height, grid.width))
    for row, height in rows:
        for col, width in cols:
            yield Window(col, row, width, height)


def _stretches(side: int) -> list[tuple[int, int]]:
    """First pixel and length of the blocks along one side."""
    n = min(BLOCKS_A_SIDE, math.ceil(side / BLOCK_PX))
    shares = [(i * side // n, (i + 1) * side // n) for i in range(n)]
    lengths = [min(BLOCK_PX, end - first) for first, end in shares]
    return [((first + end - length) // 2, length) for (first, end), length in zip(shares, lengths, strict=True)]


def _blocks(raster: ClassRaster, windows: list[Window]) -> Iterator[Codes]:
    return (read_codes(raster, window) for window in windows)


def _stored(grid: Grid, dense: Density) -> tuple[int, int]:
    """Polygons and bytes on disk; every vertex of an arc belongs to two polygons."""
    pixels = grid.width * grid.height
    polygons = math.ceil(pixels * dense.components)
    return polygons, int(_COPIES * (polygons * _ROW_BYTES + 2 * pixels * dense.vertices * _VERTEX_BYTES))


def _allowed(max_memory: str | None) -> int:
    return memory_room() if max_memory is None else bytes_of(max_memory)
