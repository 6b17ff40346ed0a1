"""Objects of a class raster: what `--things` and `--split` ask for, between the regions and their polygons.

Order: components → minimum mapping unit → objects → the unit again, for what objects left over → polygons. An object's
class and its number are the panoptic pair: the class raster holds one, the instance raster the other, on one grid.

Objects that take pixels of other classes cut these into pieces; a piece below the unit is a sliver and goes to the
neighbor with the longest border, as the unit's law has it. Objects only receive: they never become one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Window
from geoseg.io.class_raster import CLASSES_TAG, ClassRaster
from geoseg.io.cog import write_instance_cog
from geoseg.io.machine import memory_room
from geoseg.io.score_raster import opened_class_scores, opened_scores
from geoseg.io.spool import RasterSpool
from geoseg.polygons.adjacency import component_sizes
from geoseg.polygons.arcs import NOTHING
from geoseg.polygons.label import Int32s
from geoseg.polygons.mmu_size import Scale, size_scale
from geoseg.polygons.objects import (
    Cells,
    Landcover,
    WriteRows,
    instance_ids,
    survey_cells,
    write_hills,
    write_outgrown,
    write_peaks,
)
from geoseg.polygons.peaks import PeakRule
from geoseg.polygons.survey import ReadRows
from geoseg.settings import VectorSettings
from geoseg.stories.class_changes import ClassChange, joined
from geoseg.stories.regions import KEPT_PX, Regions, generalized
from geoseg.stories.score_files import ScoreFiles
from geoseg.stories.vector_key import check_scored, mapping_unit, named_code, skipped_codes, thing_codes
from geoseg.things import Split

Bools = NDArray[np.bool_]
MOVERS = frozenset({"boundary", "peaks"})
"""Methods whose objects take pixels of other classes."""


@contextmanager
def objects_of(
    regions: Regions,
    scores: ScoreFiles,
    settings: VectorSettings,
    scratch: Path | None = None,
    max_memory: str | None = None,
) -> Iterator[Regions]:
    """Divide thing classes into objects, or let objects grow; the result is for use within the block.

    Memory: as for `find_regions`, 40 bytes a pixel of some bands, 32 a hill and 80 a saddle. Disk: 4 bytes a pixel
    where something is divided.

    Args:
        regions: components, small ones given away.
        scores: rasters on the same grid.
        settings: which classes are things, how they are divided.
        scratch: folder for a file; None: the system's.
        max_memory: as for `find_regions`.

    Yields:
        the regions with objects numbered 1, 2, … by first pixel; unchanged where there are no things. Regions of
        things that are no object (around no peak) have the number 0.

    Raises:
        UsageError: a class is unknown, or there are no scores to divide by.
        InputError: a raster cannot be read, or there are more objects than 32 bits can count.
        MemoryLimitError: tables are too large.
        OutputError: the disk refuses.
    """
    things, split = thing_codes(regions.raster.scheme, settings.things), settings.splitting
    check_scored(settings, regions.raster.scheme, scores.layers)
    with ExitStack() as stack:
        objects = np.isin(regions.table.code, list(things)) & (regions.table.n_pixels > 0)
        if things and split.method != "components":
            folder = scratch or Path(stack.enter_context(TemporaryDirectory()))
            spool = stack.enter_context(RasterSpool(folder / "cells", regions.raster.grid, np.int32, NOTHING))
            skipped = skipped_codes(regions.raster.scheme, settings.skip_classes)
            made = tuple(code for code in regions.raster.scheme.codes if code not in skipped)
            regions, objects = _divided(regions, _Division(things, split, scores, memory_room(max_memory)), spool, made)
            if split.method in MOVERS:
                regions, objects = _without_slivers(regions, objects, settings, skipped)
        if things:
            regions = replace(regions, facts=replace(regions.facts, instances=instance_ids(objects)))
        yield regions


def _without_slivers(
    regions: Regions, objects: Bools, settings: VectorSettings, skipped: frozenset[int]
) -> tuple[Regions, Bools]:
    """Give what objects left over and is below the minimum mapping unit to its neighbors.

    Returns:
        The regions, and (component,) which are objects now: one that took a sliver goes by the smaller number.
    """
    small = mapping_unit(settings, regions.raster.scheme, regions.raster.grid, regions.facts.model)
    if small is None:
        return regions, objects
    with regions.rows() as read_rows:
        filled = generalized(regions, read_rows, small, skipped, objects)
    if filled.final is None:
        raise AssertionError("a unit was applied")
    now = np.zeros_like(objects)
    now[filled.final[objects]] = True
    return filled, now


@dataclass(frozen=True)
class _Division:
    """How things are to be divided."""

    things: frozenset[int]
    """Class codes."""
    split: Split
    scores: ScoreFiles
    most_bytes: int
    """What tables may take."""


def _divided(
    regions: Regions, how: _Division, spool: RasterSpool, made: tuple[int, ...]
) -> tuple[Regions, NDArray[np.bool_]]:
    """Write cells and survey them.

    Args:
        regions: to be divided.
        how: by what.
        spool: for the cells.
        made: codes of the classes that get polygons.

    Returns:
        The new regions, and (component,) which of them are objects.
    """
    grid = regions.raster.grid

    def write(first: int, numbers: Int32s) -> None:
        spool.write(Window(0, first, grid.width, len(numbers)), numbers)

    def read(first: int, last: int) -> NDArray[np.int32]:
        return spool.read(Window(0, first, grid.width, last - first))

    with ExitStack() as stack:
        read_rows, read_scores = stack.enter_context(regions.rows()), None
        if how.scores.confidence is not None:
            read_scores = stack.enter_context(opened_scores(how.scores.confidence, grid))
        cover = Landcover(regions.surveyed, regions.table, regions.final, read_rows)
        areas, sizes = size_scale(grid, regions.facts.model, ()), dict[int, int]()
        moves = how.split.method in MOVERS
        if moves:
            sizes = _class_sizes(cover, areas)
        cells = _write_cells(cover, how, regions.raster, write, read_scores)
        kept, read_cells = grid.height * grid.width <= KEPT_PX, cells.reader(read)
        found, objects = survey_cells(
            cover, cells, read_cells, read_scores=read_scores, keep_runs=kept, most_bytes=how.most_bytes
        )
    divided = replace(regions, surveyed=found, table=found.components, final=None, read_cells=read_cells)
    return _with_areas(divided, sizes, areas, made) if moves else divided, objects


def _write_cells(
    cover: Landcover, how: _Division, raster: ClassRaster, write: WriteRows, read_scores: ReadRows | None
) -> Cells:
    """Cells by the method that was asked for."""
    split, gsd_m, things = how.split, raster.grid.gsd_m, cover.are(how.things)
    radius, named = split.radius_px(gsd_m), named_code(split, raster.scheme)
    if named is None:
        by_scores = read_scores if split.method == "scores" else None
        depth = split.depth_score if split.depth is None else split.depth.pixels(gsd_m)
        return write_hills(cover, things, radius, depth, write, read_scores=by_scores, most_bytes=how.most_bytes)
    if split.method == "boundary":
        return write_outgrown(cover, things, cover.are({named}), radius, write)
    if how.scores.probabilities is None:
        raise ValueError("peaks are those of a raster of probabilities.")
    rule = peak_rule(split, gsd_m)
    name = raster.scheme.by_code(named).name
    with opened_class_scores(how.scores.probabilities, raster.grid, name) as read_class:
        return write_peaks(cover, things, named, rule, write, read_scores=read_class)


def peak_rule(split: Split, gsd_m: float) -> PeakRule:
    """What peaks are and what belongs to them, in pixels of a raster.

    Raises:
        UsageError: a length is larger than it can be.
    """
    return PeakRule(split.smooth_px(gsd_m), split.apart_px(gsd_m), split.radius_px(gsd_m), split.least_score)


def _class_sizes(cover: Landcover, areas: Scale) -> dict[int, int]:
    """Steps of area by class code."""
    bands = cover.surveyed.painted_bands(cover.read_rows, cover.final)
    sizes = component_sizes(bands, len(cover.table), areas.by_row)
    codes, index = np.unique(cover.table.code, return_inverse=True)
    sums = np.zeros(len(codes), np.int64)
    np.add.at(sums, index, sizes)
    return dict(zip(codes.tolist(), sums.tolist(), strict=True))


def _with_areas(regions: Regions, before: dict[int, int], areas: Scale, made: tuple[int, ...]) -> Regions:
    """Areas of classes after objects took pixels of other classes, and what changed.

    Either one class gives (a boundary) or one class receives (that of the peaks).
    """
    with regions.rows() as read_rows:
        now = _class_sizes(Landcover(regions.surveyed, regions.table, None, read_rows), areas)
    scheme, step_m2 = regions.raster.scheme, float(areas.step_m2 or 0)
    area_m2 = {scheme.by_code(code).name: now.get(code, 0) * step_m2 for code in made}
    more = {code: now.get(code, 0) - before.get(code, 0) for code in sorted({*now, *before})}
    gave = {scheme.by_code(code).name: -steps for code, steps in more.items() if steps < 0}
    took = {scheme.by_code(code).name: steps for code, steps in more.items() if steps > 0}
    moved = [
        ClassChange(giver, taker, min(given, taken) * step_m2)
        for giver, given in gave.items()
        for taker, taken in took.items()
    ]
    return replace(regions, area_m2=area_m2, changed=joined([*regions.changed, *moved]))


def write_instances(regions: Regions, destination: Path) -> int:
    """Write the numbers of objects as a COG of int32, 0 where no object is.

    Args:
        regions: as `objects_of` yields them, with things.
        destination: the `.tif`, in an existing folder.

    Returns:
        The number of objects.

    Raises:
        InputError: the raster cannot be read any more.
        OutputError: the disk refuses, or what was written does not read back.
    """
    grid, ids = regions.raster.grid, regions.facts.instances
    if ids is None:
        raise ValueError("these regions have no objects.")
    number_of = np.append(ids, np.int32(0))
    with (
        RasterSpool(destination.with_suffix(".spool"), grid, np.int32, 0) as spool,
        regions.rows() as read_rows,
    ):
        for first, painted in regions.surveyed.painted_bands(read_rows, regions.final):
            numbers = painted[1:, 1:-1]
            spool.write(Window(0, first, grid.width, len(numbers)), number_of[numbers])
        kept = {
            key: text for key, text in regions.raster.tags.items() if key.startswith("GEOSEG_") and key != CLASSES_TAG
        }
        write_instance_cog(spool, destination, tags=kept)
    return int(ids.max(initial=0))
