"""A class raster as regions and polygons: what `vectorize` and `run` share.

Pass A surveys the components, the minimum mapping unit gives small ones away, pass B traces the lines between what is
left, simplifies and smooths each once for both neighbors, and gives the polygons out band by band.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.ground import area_model
from geoseg.io.burn import rows_in
from geoseg.io.class_raster import CLASSES_TAG, ClassRaster, scene_name
from geoseg.io.cog import class_counts, write_class_cog
from geoseg.io.machine import memory_room
from geoseg.io.raster import parse_crs
from geoseg.io.score_raster import opened_scores
from geoseg.io.spool import RasterSpool
from geoseg.moment import Moment
from geoseg.polygons.adjacency import survey_neighbors
from geoseg.polygons.assemble import MapFacts, assemble
from geoseg.polygons.carry import carrier
from geoseg.polygons.clip import Clip
from geoseg.polygons.clip_area import Area
from geoseg.polygons.components import Components
from geoseg.polygons.coverage import coverage
from geoseg.polygons.cut import Parts, cut
from geoseg.polygons.mmu import generalize
from geoseg.polygons.mmu_size import Scale, Unit, size_scale
from geoseg.polygons.survey import ReadRows, Survey, run_ahead, survey
from geoseg.polygons.table import Polygons
from geoseg.settings import VectorSettings
from geoseg.stories.class_changes import ClassChange, changes_of, joined
from geoseg.stories.shaping import Shaper
from geoseg.stories.vector_key import mapping_unit, skipped_codes

Ints = NDArray[np.int64]

KEPT_PX = 1 << 26
"""Rasters up to this size keep their labeled runs between the passes, at most 8 bytes a pixel."""


@dataclass(frozen=True)
class Regions:
    """The components of a class raster, small ones given away."""

    raster: ClassRaster
    facts: MapFacts
    surveyed: Survey
    table: Components
    """What became of the surveyed components; those given away have no pixels."""
    final: Ints | None = None
    """(component,) component that each now belongs to; None: there is no minimum mapping unit."""
    area_m2: dict[str, float] | None = None
    """Ground area by class name, skipped classes left out; None: there is no minimum mapping unit."""
    changed: tuple[ClassChange, ...] = ()
    area: Area | None = None
    """Components are of the pixels that it touches, polygons are cut at its boundary; None: all is wanted."""
    read_cells: ReadRows | None = None
    """Gives what was surveyed where things were divided or grew, see `geoseg.stories.objects`; None: the raster."""

    @contextmanager
    def rows(self) -> Iterator[ReadRows]:
        """Reads what was surveyed.

        Raises:
            InputError: the raster cannot be opened; the function raises it when rows cannot be read.
        """
        if self.read_cells is not None:
            yield self.read_cells
            return
        with rows_in(self.raster, self.area) as read_rows:
            yield read_rows


def find_regions(
    raster: ClassRaster,
    confidence: Path | None,
    settings: VectorSettings,
    area: Area | None = None,
    max_memory: str | None = None,
) -> Regions:
    """Survey a class raster, band by band, and apply the minimum mapping unit.

    Memory: a few bands, about 80 bytes a component, with a minimum mapping unit 64 more and 16 for each pair of
    neighbors; runs up to `KEPT_PX`.

    Args:
        raster: class raster.
        confidence: raster of winning scores on the same grid; None: polygons get no score.
        settings: classes to skip, minimum mapping unit.
        area: where polygons are wanted, on the raster's grid; None: everywhere.
        max_memory: what the process may come to, as `4GB`; None: most of what the machine has left.

    Raises:
        UsageError: a class is unknown, or sizes cannot be compared.
        InputError: a raster cannot be read or the two do not fit.
        MemoryLimitError: there are too many components.
    """
    grid, scheme = raster.grid, raster.scheme
    facts = MapFacts(grid, scheme, area_model(grid), confidence is not None, scene_id(raster), _image_date(raster))
    small, skipped = mapping_unit(settings, scheme, grid, facts.model), skipped_codes(scheme, settings.skip_classes)
    with ExitStack() as stack:
        read_rows = stack.enter_context(rows_in(raster, area))
        surveyed = survey(
            read_rows,
            (grid.height, grid.width),
            nodata=raster.nodata,
            skip=skipped,
            read_scores=None if confidence is None else stack.enter_context(opened_scores(confidence, grid)),
            keep_runs=grid.height * grid.width <= KEPT_PX,
            most_bytes=memory_room(max_memory),
        )
        regions = Regions(raster, facts, surveyed, surveyed.components, area=area)
        return regions if small is None else generalized(regions, read_rows, small, skipped)


def generalized(
    regions: Regions,
    read_rows: ReadRows,
    small: tuple[Unit, Scale],
    skipped: frozenset[int],
    objects: NDArray[np.bool_] | None = None,
) -> Regions:
    """Apply a minimum mapping unit to regions that none was applied to since they were surveyed.

    Args:
        regions: as surveyed.
        read_rows: gives what was surveyed.
        small: the unit, and how sizes are counted.
        skipped: codes of classes without polygons.
        objects: (component,) which are objects: they only receive, and stay apart; None: none.
    """
    unit, scale = small
    raster, facts, before = regions.raster, regions.facts, regions.surveyed.components
    areas = size_scale(facts.grid, facts.model, ())
    adjacency, ground = survey_neighbors(
        regions.surveyed.painted_bands(read_rows), len(before), areas.by_row, diagonals=unit.connect == 8
    )
    size = before.n_pixels if scale.step_m2 is None else ground
    found = generalize(before.code, size, before.first, adjacency, unit, objects)
    if areas.step_m2 is None:
        raise AssertionError("areas are always counted in steps of some size")
    ground_m2 = np.multiply(ground, float(areas.step_m2), dtype=np.float64)
    codes, index = np.unique(found.code, return_inverse=True)
    by_code = dict(zip(codes.tolist(), np.bincount(index, weights=ground_m2).tolist(), strict=True))
    return replace(
        regions,
        table=before.absorbed(found.final, found.code),
        final=found.final,
        area_m2={c.name: by_code.get(c.code, 0.0) for c in raster.scheme.classes if c.code not in skipped},
        changed=joined([*regions.changed, *changes_of(before, found, ground_m2, raster.scheme)]),
    )


def polygons_of(
    regions: Regions, settings: VectorSettings, scratch: Path | None = None, max_memory: str | None = None
) -> Iterator[Polygons]:
    """The polygons with all attributes, band by band, each when the sweep has passed its last row.

    Memory: the arcs of open polygons, a batch, 8 bytes a component; with lines to shape 1 bit a pixel.

    Args:
        regions: what to outline.
        settings: how lines are shaped.
        scratch: folder for what should not stay in memory; None: all does.
        max_memory: as for `find_regions`.

    Raises:
        InputError: the raster cannot be read any more, or lies where its CRS has no place on the ground, or
            polygons have none in the CRS asked for.
        MemoryLimitError: open polygons, or one of them, are too large.
    """
    facts = regions.facts
    way = None
    if settings.out_crs is not None:
        way = carrier(facts.grid.transform, facts.grid.crs, parse_crs(settings.out_crs, "--out-crs"))
    with regions.rows() as read_rows:
        parts = _parts(regions, read_rows, settings)
        table = regions.table if parts is None else parts.table
        shaped = bool(settings.simplify or settings.smooth)
        shaper = Shaper(table.last_row, facts, settings, scratch) if shaped else None
        batches = coverage(
            read_rows if parts is None else parts.read_rows,
            regions.surveyed if parts is None else parts.surveyed,
            final=regions.final if parts is None else parts.final,
            code=(None if regions.final is None else regions.table.code) if parts is None else parts.code,
            shape_arcs=None if shaper is None else shaper.shape,
            see_vertices=None if shaper is None else shaper.bits.add,
            most_bytes=memory_room(max_memory),
        )
        clip = None if regions.area is None else Clip(regions.area)
        finish = partial(assemble, facts=facts, smoothed=settings.smooth, parts=parts, way=way, clip=clip)
        yield from run_ahead(finish, ((batch,) for batch in batches), threads=1)


def _parts(regions: Regions, read_rows: ReadRows, settings: VectorSettings) -> Parts | None:
    """The pieces of `--max-vertices`; None: nothing is to be cut."""
    if settings.max_vertices is None:
        return None
    # Smoothing puts two vertices where one was.
    most = settings.max_vertices // 2 if settings.smooth else settings.max_vertices
    code = None if regions.final is None else regions.table.code
    return cut(read_rows, regions.surveyed, most, final=regions.final, code=code)


def write_regions(regions: Regions, destination: Path) -> dict[str, int]:
    """Write the generalized class raster as a COG with its sidecars; skipped classes and nodata stay as they were.

    Args:
        regions: what is to be painted.
        destination: the `.tif`, in an existing folder.

    Returns:
        Pixels by class name.

    Raises:
        InputError: the raster cannot be read any more.
        OutputError: the disk refuses, or what was written does not read back.
    """
    raster, grid = regions.raster, regions.raster.grid
    kept = {key: text for key, text in raster.tags.items() if key.startswith("GEOSEG_") and key != CLASSES_TAG}
    with (
        RasterSpool(destination.with_suffix(".spool"), grid, raster.scheme.dtype, raster.nodata) as spool,
        rows_in(raster, regions.area) as read_codes,
        regions.rows() as read_rows,
    ):
        for first, painted in regions.surveyed.painted_bands(read_rows, regions.final):
            numbers = painted[1:, 1:-1]
            codes = read_codes(first, first + len(numbers))
            there = numbers >= 0
            codes[there] = regions.table.code[numbers[there]]
            spool.write(Window(0, first, grid.width, len(numbers)), codes)
        write_class_cog(spool, destination, scheme=raster.scheme, tags=kept)
        counts = class_counts(spool, raster.scheme)
    return dict(zip(raster.scheme.names, counts.values(), strict=True))


def scene_id(raster: ClassRaster) -> str:
    """Name of the scene that a class raster was made from: its stem without `.classes`."""
    return scene_name(raster.path)


def layer_name(raster: ClassRaster) -> str:
    """Layer name of the polygons: the model's, else the scene's."""
    return raster.tags.get("GEOSEG_MODEL") or scene_id(raster)


def _image_date(raster: ClassRaster) -> date | None:
    text = raster.tags.get("GEOSEG_DATETIME")
    return Moment.parse(text).day if text else None
